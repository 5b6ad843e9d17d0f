"""One batch in one run: who it is, and what it may ask for.

Belongs here: what the three steps fetch, enrich and settle share.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import RENEWAL_SECONDS
from innomaint_pipeline.store.rows import describe_refusals
from innomaint_pipeline.sync.holding import Claim

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """What a run asks for: by default the due CMMS assets of its batch.

    `cmms_asset_ids` narrows it to those named; `asked_before` widens it to every one not asked since that
    time.
    """

    cmms_asset_ids: tuple[str, ...] = ()
    asked_before: datetime | None = None


@dataclass(frozen=True)
class BatchRun:
    """One run of one batch.

    `run_id` owns the batch's lease, renewed every `renewal_seconds`; `is_cancelled` is asked as often.
    """

    database: Database
    batch_key: str
    run_id: str
    refresh_minutes: int
    selection: Selection = field(default_factory=Selection)
    is_cancelled: Callable[[], bool] = lambda: False
    repeat_after_seconds: float | None = None
    renewal_seconds: float = RENEWAL_SECONDS

    @property
    def claim(self) -> Claim:
        """The claim to the batch's lease."""
        return Claim(
            self.database,
            lease_name(self.batch_key),
            self.run_id,
            self.is_cancelled,
            self.repeat_after_seconds,
            self.renewal_seconds,
        )


def tell_refusals(refused: Mapping[str, str], table: str) -> Mapping[str, str]:
    """Warn of what the database refused of a table, where it did; return it."""
    if refused:
        logger.warning("%s", describe_refusals(refused, table))
    return refused
