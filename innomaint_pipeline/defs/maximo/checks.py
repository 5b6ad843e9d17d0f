"""Asset checks of Maximo: whether what was read is whole, and how good it is. Cheap: a query or two each."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from innomaint_pipeline.defs.maximo.assets import fetch_key, table_key
from innomaint_pipeline.defs.maximo.opening import read_settings
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.domain.maximo.declarations import REFERENCES, STRUCTURES
from innomaint_pipeline.domain.maximo.structures import Growth, Structure
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.maximo.conditions import (
    count_dangling_of,
    count_duplicate_ids,
    count_open,
    count_placeholders,
    count_secrets,
    find_oldest_sync,
    has_schema,
    load_newest_runs,
)

STALE_AFTER_INTERVALS = 2
_WARN = dg.AssetCheckSeverity.WARN
_ERROR = dg.AssetCheckSeverity.ERROR

Outcome = tuple[bool, dict[str, Any]]


def _build(
    key: dg.AssetKey,
    name: str,
    description: str,
    severity: dg.AssetCheckSeverity,
    look: Callable[[Connection], Outcome],
    *,
    after: dg.AssetKey | None = None,
) -> dg.AssetChecksDefinition:
    # What a fetch brought is judged when it is merged.
    later = [after] if after is not None else None

    @dg.asset_check(asset=key, name=name, description=description, additional_deps=later)
    def check(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
        """Look."""
        with ic3.open() as database, database.begin() as connection:
            # Where Maximo is not read there is nothing that could be wrong.
            passed, metadata = look(connection) if has_schema(connection) else (True, {"is_read": False})
        return dg.AssetCheckResult(passed=passed, severity=severity, metadata=metadata)

    return check


def _compare_counts(structure: Structure) -> Callable[[Connection], Outcome]:
    def look(connection: Connection) -> Outcome:
        runs = load_newest_runs(connection, structure)
        bad = {
            row["site"] or "all": row["message"] or row["status"]
            for row in runs
            if row["status"] != "success"
        }
        return not bad, {"sites": len(runs), "not_whole": dg.MetadataValue.json(bad)}

    return look


def _count(name: str, count: Callable[[Connection], int]) -> Callable[[Connection], Outcome]:
    def look(connection: Connection) -> Outcome:
        found = count(connection)
        return found == 0, {name: found}

    return look


def _resolve(table: str) -> Callable[[Connection], Outcome]:
    def look(connection: Connection) -> Outcome:
        found = count_dangling_of(connection, table)
        return not found, {"dangling": sum(found.values()), "by_column": dg.MetadataValue.json(found)}

    return look


def _build_freshness(structure: Structure) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=fetch_key(structure),
        additional_deps=[table_key(structure.root.table.name)],
        name="data_is_fresh",
        description="Every site was brought up to date within two intervals.",
    )
    def check(ic3: Ic3DatabaseResource) -> dg.AssetCheckResult:
        """Look at the site that is furthest behind."""
        with ic3.open() as database:
            limit = STALE_AFTER_INTERVALS * read_settings(load_settings(), database).interval_minutes * 60
            with database.begin() as connection:
                _, age = find_oldest_sync(connection, structure) if has_schema(connection) else (None, None)
        metadata: dict[str, Any] = {"limit_seconds": limit}
        if age is not None:
            metadata["oldest_seconds"] = round(age)
        return dg.AssetCheckResult(passed=age is None or age <= limit, severity=_WARN, metadata=metadata)

    return check


def _of_structure(structure: Structure) -> list[dg.AssetChecksDefinition]:
    root, fetch = table_key(structure.root.table.name), fetch_key(structure)
    return [
        _build(
            fetch,
            "read_equals_server_count",
            "The newest read of each site is whole: its rows equal the server's count, nothing is held back.",
            _ERROR,
            _compare_counts(structure),
            after=root,
        ),
        _build(
            root,
            "no_rejects",
            "The database refuses no row; those that it does stand in maximo.reject.",
            _ERROR,
            _count("rejects", lambda connection: count_open(connection, structure)["rejects"]),
        ),
        _build(
            root,
            "ids_are_unique",
            "No unique id of Maximo stands in two rows.",
            _ERROR,
            _count("duplicates", lambda connection: count_duplicate_ids(connection, structure)),
        ),
        _build(
            fetch,
            "no_new_drift",
            "No attribute or child is new, gone or of another type, that nobody accepted.",
            _WARN,
            _count("drift", lambda connection: count_open(connection, structure)["drift"]),
            after=root,
        ),
        _build(
            fetch,
            "no_secret_stored",
            "No stored answer, and no attribute without a column, bears the name of a secret.",
            _ERROR,
            _count("secrets", lambda connection: count_secrets(connection, structure)),
            after=root,
        ),
        _build_freshness(structure),
        *(
            _build(
                table_key(node.table.name),
                "no_placeholders",
                "Every row that others name was delivered.",
                _WARN,
                _count(
                    "placeholders", lambda connection, n=node.table.name: count_placeholders(connection, n)
                ),
            )
            for _, node in structure.nodes()
            if node.growth is Growth.SHARED
        ),
    ]


CHECKS = [
    *(check for structure in STRUCTURES for check in _of_structure(structure)),
    *(
        _build(
            table_key(table),
            "references_resolve",
            "What its rows refer to is there; maximo.dangling_reference lists what is not.",
            _WARN,
            _resolve(table),
        )
        for table in dict.fromkeys(item.table for item in REFERENCES)
    ),
]
