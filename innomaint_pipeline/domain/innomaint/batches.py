"""Which CMMS asset is in which batch: a batch is given once and never changes.

Belongs here: the numbering. Who is not yet in a batch is a question for `store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from innomaint_pipeline.domain.innomaint import SOURCE

LEASES = f"{SOURCE}/"
"""What the names of the leases of batches begin with."""

BATCH_PREFIX = "batch_"


def batch_key(number: int) -> str:
    """Return the key of a batch, which is also its Dagster partition key: 1 -> batch_000001."""
    return f"{BATCH_PREFIX}{number:06d}"


def batch_number(key: str) -> int:
    """Return the number of a batch key; raise `ValueError` for anything else."""
    digits = key.removeprefix(BATCH_PREFIX)
    number = int(digits) if len(digits) < 20 and digits.isascii() and digits.isdigit() else 0
    # Another spelling of the same number would be another partition.
    if number < 1 or key != batch_key(number):
        raise ValueError(f"{key!r} is no batch key: expected one like {batch_key(1)}")
    return number


def describe_unknown_batch(key: str, known: Sequence[str]) -> str:
    """Return what is wrong with a key that is none of the known ones, in their order, and what to give."""
    form = f"partitions are named like {batch_key(1)}"
    if not known:
        return f"there is no partition {key!r}: {form}, and no asset is imported yet"
    return f"there is no partition {key!r}: {form}, and there are {known[0]} to {known[-1]}"


def lease_name(key: str) -> str:
    """Return the name of the lease that the run of a batch holds: batch_000001 -> innomaint/batch_000001."""
    return f"{LEASES}{key}"


@dataclass(frozen=True)
class LastBatch:
    """The batch with the highest number and how many CMMS assets are in it; number 0 when there is none."""

    number: int
    size: int


def assign_batches(asset_ids: Sequence[int], last: LastBatch, batch_size: int) -> Iterator[tuple[int, str]]:
    """Yield (asset_id, batch key) for new CMMS assets, in the order given.

    They fill the last batch while it holds fewer than `batch_size`, then open new ones. CMMS assets that
    already have a batch are not touched, whatever the batch size was when they got it.
    """
    number, size = last.number, last.size
    for asset_id in asset_ids:
        if number == 0 or size >= batch_size:
            number, size = number + 1, 0
        size += 1
        yield asset_id, batch_key(number)


@dataclass(frozen=True)
class BatchDemand:
    """How many CMMS assets of a batch are due: never synced, failed and worth retrying, and others."""

    batch_key: str
    never: int
    retryable: int
    stale: int
    oldest_due_at: datetime

    @property
    def due(self) -> int:
        """All that are due."""
        return self.never + self.retryable + self.stale


class BatchState(StrEnum):
    """A batch at a glance; the first that applies."""

    RUNNING = "running"
    FAILED = "failed"
    PARTIAL = "partial"
    NEVER = "never"
    COMPLETE = "complete"


STATE_MEANINGS = {
    BatchState.RUNNING: "a run works on it",
    BatchState.FAILED: "its last run was stopped, or none of its assets is synced",
    BatchState.PARTIAL: "some of its assets are failed or not synced yet",
    BatchState.NEVER: "nothing of it is synced yet",
    BatchState.COMPLETE: "every asset is synced",
}


def batch_state(
    *, is_leased: bool, failed: int, synced: int, never: int, last_status: str | None
) -> BatchState:
    """Return the state of a batch from its counts and the status of its last run.

    The words are those of a run: a batch with 97 of 100 is partial, whatever the 3 failed of.
    """
    if is_leased:
        return BatchState.RUNNING
    if last_status == "failed" or (failed and not synced):
        return BatchState.FAILED
    if failed:
        return BatchState.PARTIAL
    if synced == 0:
        return BatchState.NEVER
    # Some of it is still missing, like CMMS assets that an import has just added.
    return BatchState.PARTIAL if never else BatchState.COMPLETE
