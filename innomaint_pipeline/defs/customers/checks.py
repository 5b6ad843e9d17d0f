"""The stand-alone asset checks of the customer list: how old it is, whether it is kept, what waits."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg

from innomaint_pipeline.defs.customers.assets import CUSTOMER, SNAPSHOT
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.domain.customers.runs import STALE_AFTER_INTERVALS
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.store.customers.lists import count_waiting
from innomaint_pipeline.store.customers.overview import count_differences
from innomaint_pipeline.store.customers.runs import has_schema, load_facts
from innomaint_pipeline.store.database import Connection

Result = tuple[bool, dict[str, Any]]


def _build(
    key: dg.AssetKey,
    name: str,
    description: str,
    severity: dg.AssetCheckSeverity,
    look: Callable[[Connection], Result],
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key, name=name, description=description)
    def check(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
        """Look."""
        passed, metadata = True, {"is_read": False}
        with ic3.open() as database, database.begin() as connection:
            # Where no list is read there is nothing that could be wrong.
            if load_settings().customers_inbox is not None and has_schema(connection):
                passed, metadata = look(connection)
        return dg.AssetCheckResult(passed=passed, severity=severity, metadata=metadata)

    return check


def _look_at_age(connection: Connection) -> Result:
    facts = load_facts(connection, load_settings().customers_interval_minutes)
    limit = STALE_AFTER_INTERVALS * facts.interval / timedelta(seconds=1)
    if facts.accepted_at is None:
        return True, {"limit_seconds": limit}
    age = (facts.judged_at - facts.accepted_at).total_seconds()
    return not facts.is_stale, {"limit_seconds": limit, "age_seconds": round(age)}


def _look_at_customers(connection: Connection) -> Result:
    counts = count_differences(connection)
    return not any(counts.values()), dict(counts)


def _look_at_quarantine(connection: Connection) -> Result:
    counts = count_waiting(connection, keep_days=load_settings().customers_keep_days)
    return not any(counts.values()), dict(counts)


CHECKS = [
    _build(
        SNAPSHOT,
        "data_is_fresh",
        "The last accepted list was exported within three intervals.",
        dg.AssetCheckSeverity.WARN,
        _look_at_age,
    ),
    _build(
        CUSTOMER,
        "customers_equal_last_snapshot",
        "The active customers are those of the last accepted list, with its values.",
        dg.AssetCheckSeverity.ERROR,
        _look_at_customers,
    ),
    _build(
        SNAPSHOT,
        "nothing_is_quarantined",
        "No list that was refused since the last accepted one, and no removal, waits for a person.",
        dg.AssetCheckSeverity.WARN,
        _look_at_quarantine,
    ),
]
