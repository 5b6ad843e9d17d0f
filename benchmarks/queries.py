"""Sensor facts, status, and the claim of a batch's due work, at up to a million CMMS assets, with EXPLAIN.

Four moments are measured: just imported (everything is due), in between (a hundredth is due, some failed),
after a pause (everything is due again but a few that Innomaint does not know), and nothing due; with a batch
under way, so that the time to finish is estimated. The worst of them counts.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import event, text

from benchmarks.place import BATCH_SIZE, Place, Scale
from benchmarks.report import Row, exponent, spread
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.innomaint.batches import assign_new_batches, find_last_batch_key
from innomaint_pipeline.store.innomaint.due_batches import load_sync_facts
from innomaint_pipeline.store.innomaint.states import find_targets
from innomaint_pipeline.store.innomaint.status import load_status

_SIZES = {
    Scale.TINY: (1_000,),
    Scale.DEFAULT: (10_000, 100_000, 1_000_000),
    Scale.FULL: (10_000, 100_000, 1_000_000),
}
_ROUNDS = {Scale.TINY: 1, Scale.DEFAULT: 5, Scale.FULL: 9}
_TARGET_MS = 50
_ACCOUNT = "https://vendor.invalid"

MOMENTS = {
    "just imported": "update innomaint_sync_state set state = 'never', error_class = null, "
    "last_success_at = null, next_due_at = now() - interval '1 minute'",
    "a hundredth due": "update innomaint_sync_state set "
    "state = case when asset_id % 500 = 0 then 'failed' else 'synced' end, "
    "error_class = case when asset_id % 1000 = 0 then 'transient' "
    "when asset_id % 500 = 0 then 'not_found' end, "
    "last_success_at = now() - interval '1 day', "
    "next_due_at = now() + (asset_id % 1000 - 9) * interval '1 minute'",
    "all but the missing due": "update innomaint_sync_state set "
    "state = case when asset_id % 100 = 0 then 'failed' else 'synced' end, "
    "error_class = case when asset_id % 100 = 0 then 'not_found' end, "
    "last_success_at = now() - interval '2 days', "
    "next_due_at = now() + case when asset_id % 100 = 0 then interval '5 days' else interval '-1 day' end",
    "nothing due": "update innomaint_sync_state set state = 'synced', error_class = null, "
    "last_success_at = now(), next_due_at = now() + interval '1 day'",
}

_VACUUMED = (
    "ic3_asset_master",
    "innomaint_sync_state",
    "innomaint_batch_count",
    "cmms_sync_log",
    "innomaint_response",
)
_FILL = (
    "alter table ic3_asset_master disable trigger user",
    """insert into ic3_asset_master (cmms_asset_id, report_seq_no, asset_name, make, model, customer_name,
           excel_attributes, api_attributes)
       select 'Station ' || i / 40 || '_BP_' || i, i, 'Pump', 'Make', 'Model', 'Water Works',
           '{"Remarks": "OK"}', '{"subcategory": "Pump"}' from generate_series(1, {size}) i""",
    """insert into innomaint_sync_state (asset_id, batch_key, state)
       select asset_id, 'batch_' || lpad(((asset_id - 1) / {batch_size} + 1)::text, 6, '0'), 'never'
       from ic3_asset_master""",
    "alter table ic3_asset_master enable trigger user",
    """insert into cmms_sync_log (sync_type, status, assets_synced, duration_ms, synced_at, batch_key)
       select 'api_sync', 'complete', 100, 20000, now() - i * interval '1 minute', 'batch_000001'
       from generate_series(1, {batches}) i""",
)


# No longer than a lease may be valid, and for so long that every outcome counts for the pace.
_HOLD = """insert into innomaint_lease (resource, owner, acquired_at, expires_at)
values (%s, 'measured', now() - interval '3 days', now() + interval '50 s')
on conflict (resource) do update set expires_at = excluded.expires_at"""


def fill(database: Database, size: int) -> None:
    """Put `size` CMMS assets with their states and batches into the tables, and log some batch rows."""
    names = {"{size}": size, "{batch_size}": BATCH_SIZE, "{batches}": max(size // BATCH_SIZE, 1)}
    with database.begin() as connection:
        for statement in _FILL:
            filled = statement
            for name, value in names.items():
                filled = filled.replace(name, str(value))
            connection.exec_driver_sql(filled)


def set_moment(database: Database, moment: str) -> None:
    """Bring the states to a moment, the table to what autovacuum makes of it, and a batch under way."""
    with database.begin() as connection:
        connection.execute(text(MOMENTS[moment]))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in _VACUUMED:
            connection.execute(text(f"vacuum (analyze) {table}"))
        connection.exec_driver_sql(_HOLD, (lease_name("batch_000001"),))


def read_facts(connection: Connection) -> object:
    """What the sensor asks PostgreSQL at every look."""
    assign_new_batches(connection, BATCH_SIZE)
    find_last_batch_key(connection)
    return load_sync_facts(connection, account=_ACCOUNT, batches_in_runs=[])


def claim(connection: Connection) -> object:
    """Read what a batch run asks for."""
    return find_targets(connection, "batch_000003", run_id="measured")


def read_status(database: Database) -> object:
    """Read the status."""
    with database.snapshot() as connection:
        status = load_status(connection, SourceAccount(_ACCOUNT, 1440, 5.0))
    if status.eta_seconds is None:
        raise RuntimeError("the time to finish was not estimated, so that its queries are not measured")
    return status


def operations(database: Database) -> dict[str, Callable[[], object]]:
    """Return the operations that are measured, by name."""

    def within(read: Callable[[Connection], object]) -> Callable[[], object]:
        def run() -> object:
            with database.begin() as connection:
                return read(connection)

        return run

    return {
        "sensor decision": within(read_facts),
        "status": lambda: read_status(database),
        "claim of due work": within(claim),
    }


def explain(database: Database, run: Callable[[], object], *, is_analyzed: bool = True) -> list[str]:
    """Return the plans of the statements that an operation sends, most expensive first.

    Without `is_analyzed` tables count as large: a scan of a whole one is planned only where no index helps.
    """
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        run()
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    plans = []
    option = "analyze, buffers, timing off" if is_analyzed else "costs off"
    for statement, parameters in seen:
        if not statement.lstrip().upper().startswith(("SELECT", "WITH")):
            continue
        with database.begin() as connection:
            if not is_analyzed:
                connection.exec_driver_sql("set local enable_seqscan = off")
            lines = connection.exec_driver_sql(f"explain ({option}) {statement}", parameters).scalars().all()
        plans.append("\n".join(str(line) for line in lines))
    return sorted(plans, key=_milliseconds, reverse=True)


def _milliseconds(plan: str) -> float:
    found = re.search(r"Execution Time: ([\d.]+)", plan)
    return float(found[1]) if found else 0.0


def run(place: Place, scale: str) -> list[Row]:
    """Measure each operation at each size and moment; show the most expensive plan at the largest size."""
    timings: dict[str, dict[str, dict[int, float]]] = {}
    plans: dict[str, str] = {}
    spreads: dict[str, list[float]] = {}
    for size in _SIZES[scale]:
        with place.database() as (_, database):
            fill(database, size)
            for moment in MOMENTS:
                set_moment(database, moment)
                for name, operation in operations(database).items():
                    values = _time(operation, _ROUNDS[scale])
                    timings.setdefault(name, {}).setdefault(moment, {})[size] = statistics.median(values)
                    worst = statistics.median(spreads.get(name, [0]))
                    if size == _SIZES[scale][-1] and statistics.median(values) >= worst:
                        spreads[name] = values
                        plans[name] = f"-- {name}, {moment}\n" + explain(database, operation)[0]
    for plan in plans.values():
        print(plan, end="\n\n")
    return [_row(name, timings[name], spreads[name], plans[name], scale) for name in timings]


def _time(operation: Callable[[], object], rounds: int) -> list[float]:
    operation()
    values = []
    for _ in range(rounds):
        began = time.perf_counter()
        operation()
        values.append((time.perf_counter() - began) * 1000)
    return values


def _row(name: str, timing: dict[str, dict[int, float]], values: list[float], plan: str, scale: str) -> Row:
    sizes = _SIZES[scale]
    worst = max(timing, key=lambda moment: timing[moment][sizes[-1]])
    by_size = [timing[worst][size] for size in sizes]
    growth = f"grows with n^{exponent(sizes, by_size):.2f}" if len(sizes) > 1 else "-"
    return Row(
        name,
        f"<= {_TARGET_MS} ms, on an index",
        f"{spread(values, ' ms', 1)}, {worst}",
        growth,
        f"{sizes[-1]:,} assets, {len(values)} rounds",
        statistics.median(values) <= _TARGET_MS,
        {"milliseconds": timing, "plan": plan.splitlines()},
    )
