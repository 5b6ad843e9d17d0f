"""The partitions: one for each batch, membership stored in the database (docs/how-it-works.md)."""

from collections.abc import Sequence

import dagster as dg

from innomaint_pipeline.defs.account import partitions_of
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import find_batch_keys, find_last_batch_key

BATCHES = partitions_of("innomaint_batches")
_NAME = str(BATCHES.name)


def register_batches(instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Make every batch of the database a Dagster partition; return the keys, in order. Repeatable."""
    with database.begin() as connection:
        keys = find_batch_keys(connection)
    missing = set(keys) - set(instance.get_dynamic_partitions(_NAME))
    if missing:
        instance.add_dynamic_partitions(_NAME, sorted(missing))
    return keys


def register_new_batches(instance: dg.DagsterInstance, database: Database) -> None:
    """Do the same where a batch is new, at the price of one look: batches are numbered as they are opened.

    Ten thousand keys are too many to compare every half minute.
    """
    with database.begin() as connection:
        newest = find_last_batch_key(connection)
    if newest is not None and not instance.has_dynamic_partition(_NAME, newest):
        register_batches(instance, database)


def ensure_partitions(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    """Make these batches partitions again where a person has deleted them: a run needs its partition."""
    missing = [key for key in keys if not instance.has_dynamic_partition(_NAME, key)]
    if missing:
        instance.add_dynamic_partitions(_NAME, missing)
