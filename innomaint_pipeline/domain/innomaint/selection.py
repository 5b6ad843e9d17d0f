"""What a person asks Innomaint's sync for, and what became of it.

Belongs here: the selection of CMMS assets, its words, and the result's JSON. What a selection finds in the
tables is `store`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.states import ErrorClass

SYNC_REQUESTS = f"{SOURCE}/sync"
"""The kind of the requests that ask for a sync."""

SINGLE_RUNS = "single-"
"""What the run ids begin with of CMMS assets that are synced at once, which are no runs of Dagster."""
AT_ONCE = 10
"""So many named CMMS assets, or fewer, are synced at once instead of as Dagster runs."""


@dataclass(frozen=True)
class SyncOptions:
    """A selection of CMMS assets; as it is, everything that is due.

    `limit` and `offset` count in report order, among the retryable failures where `is_retry_failed`;
    `is_due_only` narrows a partition to what is due or worth retrying; alone it is everything that is due,
    and its runs ask for nothing else.
    """

    everything: bool = False
    limit: int | None = None
    offset: int = 0
    partition_key: str | None = None
    is_retry_failed: bool = False
    cmms_asset_ids: tuple[str, ...] = ()
    is_due_only: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the selection in a form by which the same request is recognized."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if value
        }

    def describe(self) -> str:
        """Return the selection in words."""
        if self.partition_key is not None:
            return f"batch {self.partition_key}" + (", what is due or failed" if self.is_due_only else "")
        if self.cmms_asset_ids:
            return ", ".join(self.cmms_asset_ids)
        if self.limit is not None:
            what = "retryable failures" if self.is_retry_failed else "assets"
            return f"{self.limit} {what} from position {self.offset}"
        if self.is_retry_failed:
            return "retry failed"
        return "everything" if self.everything else "what is due"


@dataclass
class SyncResult:
    """The result of a sync, and why it stopped early if it did.

    `has_fault` tells that a run ended for a reason that is neither of its CMMS assets nor of everybody.
    """

    total: int = 0
    success: int = 0
    failed: int = 0
    unchanged: int = 0
    errors: list[str] = field(default_factory=list)
    duration_ms: int = 0
    stop_code: int | None = None
    stop_message: str | None = None
    has_fault: bool = False
    failed_by_class: dict[ErrorClass, int] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        """Those of the selection that were not asked for."""
        return self.total - self.success - self.failed

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `sync`."""
        return {
            "total": self.total,
            "success": self.success,
            "failed": self.failed,
            "skipped": self.skipped,
            "unchanged": self.unchanged,
            "errors": self.errors,
            "duration_ms": self.duration_ms,
        }

    @property
    def exit_code(self) -> int:
        """0 nothing failed, 1 some failed, else why it stopped."""
        return self.stop_code or (1 if self.failed or self.has_fault else 0)


def is_due_only(options: Mapping[str, Any]) -> bool:
    """Tell from a stored selection whether its runs ask only for what is due or worth retrying."""
    return bool(options.get("is_due_only"))


def is_of_everything(options: Mapping[str, Any]) -> bool:
    """Tell from a stored selection whether every CMMS asset that is asked for meanwhile belongs to it."""
    return bool(options.get("everything")) or dict(options) == SyncOptions(is_due_only=True).to_json()


def waiting_seconds(total: int) -> float:
    """Return how long a caller may wait for so many CMMS assets."""
    return total * 0.3 + 30.0
