"""The partitions: one for each batch, membership stored in the database (spec 03, "Importing")."""

import dagster as dg

from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.master import find_batch_keys

BATCHES = dg.DynamicPartitionsDefinition(name="innomaint_batches")
_NAME = "innomaint_batches"


def register_batches(instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Make every batch of the database a Dagster partition; return the keys, in order. Repeatable."""
    with database.begin() as connection:
        keys = find_batch_keys(connection)
    missing = set(keys) - set(instance.get_dynamic_partitions(_NAME))
    if missing:
        instance.add_dynamic_partitions(_NAME, sorted(missing))
    return keys
