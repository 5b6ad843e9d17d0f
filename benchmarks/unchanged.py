"""A sync in which nothing has changed: what it writes, and how long it takes beside the first."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from pydantic import SecretStr
from sqlalchemy import text

from benchmarks.answers import ZONE
from benchmarks.place import Place, Scale, Simulator, import_serials
from benchmarks.report import Row, spread
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import find_batch_keys
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline.sync.innomaint.steps import enrich_batch, fetch_batch, settle_batch

_SIZES = {Scale.TINY: (20, 1), Scale.DEFAULT: (1000, 3), Scale.FULL: (2957, 5)}
# Rows for each CMMS asset. docs/how-it-works.md names the state, the log, last_synced_at and the
# volatile columns. It does not name innomaint_response, of which the program writes each row twice: an answer
# that was fetched, and that it waits no longer. Allowed here because raw answers are stored first; the figure
# shows it.
_ALLOWED_UPDATES = {
    "innomaint_response": 2,
    "innomaint_sync_state": 1,
    "ic3_asset_master": 1,
    "ic3_asset_performance": 1,
}
_ALLOWED_INSERTS = {"ic3_sync_log": 1}
# Rows of runs and batches, not of CMMS assets.
_OF_BATCHES = {
    "innomaint_lease",
    "innomaint_batch_count",
    "cmms_sync_log",
    "innomaint_rate_limit",
    "innomaint_setting",
}
_TARGET = 2.0


def run(place: Place, scale: str) -> list[Row]:
    """Sync twice, without a change in between but the clock's."""
    size, rounds = _SIZES[scale]
    enriching, whole = [], []
    excess: dict[str, int] = {}
    written: dict[str, int] = {}
    with place.simulator(size) as simulator:
        for _ in range(rounds):
            with place.database() as (_, database):
                import_serials(database, World(size).serials)
                first = _sync(database, simulator, "first")
                before = _counts(database)
                second = _sync(database, simulator, "second")
                after = _counts(database)
                excess |= find_excess(before, after, size)
                written = count_written(before, after)
                whole.append(sum(first.values()) / sum(second.values()))
                enriching.append(first["enrich"] / second["enrich"])
    scaled = f"{size:,} assets, {rounds} rounds"
    return [
        Row(
            "an unchanged sync writes only what it may",
            "no other row",
            _words(written, size) if not excess else f"too many: {excess}",
            "-",
            scaled,
            not excess,
            {"excess": excess, "rows_written": written},
        ),
        Row(
            "an unchanged sync against the first",
            f">= {_TARGET:g}x as fast",
            spread(whole, "x"),
            f"without the requests {spread(enriching, 'x')}",
            f"{scaled}, unthrottled, requests included",
            sorted(whole)[len(whole) // 2] >= _TARGET,
            {"enrich": enriching, "whole": whole},
        ),
    ]


def _sync(database: Database, simulator: Simulator, run_id: str) -> dict[str, float]:
    def open_client(owner: str) -> InnomaintClient:
        pacing = SharedPacing(database, simulator.url, owner=owner, rate_ms=0)
        return InnomaintClient(simulator.url, SecretStr("invented"), pacing)

    seconds = {"fetch": 0.0, "enrich": 0.0, "settle": 0.0}
    everything = Selection(asked_before=datetime.now(UTC))
    with database.begin() as connection:
        keys = find_batch_keys(connection)
    for key in keys:
        batch = BatchRun(database, key, f"{run_id}-{key}", 1440, everything)
        moments = [time.perf_counter()]
        fetch_batch(batch, open_client, ZONE, is_last_step=False)
        moments.append(time.perf_counter())
        enrich_batch(batch, ZONE, is_rebuild=False, is_last_step=False)
        moments.append(time.perf_counter())
        settle_batch(batch, open_client, ZONE)
        moments.append(time.perf_counter())
        for name, begin, end in zip(seconds, moments, moments[1:], strict=False):
            seconds[name] += end - begin
    return seconds


def _counts(database: Database) -> dict[str, tuple[int, int]]:
    query = "select relname, n_tup_upd, n_tup_ins from pg_stat_user_tables"
    # The numbers of other sessions arrive when they are idle or end.
    database.engine.dispose()
    time.sleep(0.3)
    with database.begin() as connection:
        return {name: (updated, added) for name, updated, added in connection.execute(text(query))}


def _words(written: dict[str, int], size: int) -> str:
    shares = sorted(written.items(), key=lambda item: (-item[1], item[0]))
    return "an asset: " + ", ".join(f"{name} {count / size:.2f}" for name, count in shares)


def count_written(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Return by table how many rows were inserted or updated; tables of runs and batches are left out."""
    written = {
        name: sum(counts) - sum(before.get(name, (0, 0)))
        for name, counts in after.items()
        if name not in _OF_BATCHES
    }
    return {name: count for name, count in written.items() if count}


def find_excess(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], size: int
) -> dict[str, int]:
    """Return by table how many rows more were written than an unchanged sync of `size` CMMS assets may."""
    excess = {}
    for name, count in count_written(before, after).items():
        surplus = count - (_ALLOWED_UPDATES.get(name, 0) + _ALLOWED_INSERTS.get(name, 0)) * size
        if surplus > 0:
            excess[name] = surplus
    return excess
