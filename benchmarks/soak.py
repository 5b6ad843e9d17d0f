"""Batch run after batch run in accelerated time: what levels off, and whether every count adds up."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from pydantic import SecretStr
from sqlalchemy import text

from benchmarks.answers import ZONE
from benchmarks.place import Place, Scale, Simulator, import_serials
from benchmarks.report import Row
from innomaint_pipeline.simulator.innomaint.control import CONTROL_PATH
from innomaint_pipeline.simulator.innomaint.faults import (
    TRANSIENT_FAULTS,
    DataEmptyList,
    FaultScript,
    OtherSerial,
    Status,
    StatusFalse,
)
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.housekeeping import delete_old_rows
from innomaint_pipeline.store.innomaint.batch_rows import RETENTIONS
from innomaint_pipeline.store.innomaint.batches import find_batch_keys
from innomaint_pipeline.store.innomaint.invariants import count_orphans, count_violations
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline.sync.innomaint.steps import enrich_batch, fetch_batch, settle_batch

# Rounds over all batches; each round stands for a day.
_ROUNDS = {Scale.TINY: 6, Scale.DEFAULT: 40, Scale.FULL: 240}
_BATCHES = {Scale.TINY: 2, Scale.DEFAULT: 25, Scale.FULL: 25}
_BATCH_SIZE = 4
_RETENTION_ROUNDS = 3
_FAULTS = 0.01
# What no attempt repeats, beside what is transient: mixed kinds.
_LASTING_FAULTS = (Status(404), Status(422), StatusFalse(), OtherSerial(), DataEmptyList())
# Arenas, caches of plans and statements; pages that a table keeps for the next rows.
_LEVEL = 1.1


@dataclass
class _Soak:
    """What was counted and sampled while batch followed batch."""

    runs: int = 0
    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    deleted: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[float]] = field(default_factory=dict)


def run(place: Place, scale: str) -> list[Row]:
    """Run batches in one process, with housekeeping between the rounds, and compare the two halves."""
    rounds, batches = _ROUNDS[scale], _BATCHES[scale]
    size = batches * _BATCH_SIZE
    serials = World(size).serials
    with place.database() as (_, database), place.simulator(size) as simulator:
        import_serials(database, serials, batch_size=_BATCH_SIZE)
        chance = FaultScript().by_chance(_FAULTS, faults=(*TRANSIENT_FAULTS, *_LASTING_FAULTS))
        _set_faults(simulator, chance)
        soak = _soak(database, simulator, rounds)
        wrong = find_wrong_counts(database, simulator.requests()["requests"], soak, size)
    growth = {name: growth_of(values) for name, values in soak.samples.items()}
    scaled = f"{soak.runs:,} batch runs of {_BATCH_SIZE} in one process, {_FAULTS:.0%} faults of mixed kinds"
    # Too few rounds to level off.
    is_judged = scale != Scale.TINY
    return [
        Row(
            f"growth of {words} while batch follows batch",
            f"level: <= {_LEVEL:g}x",
            ", ".join(f"{name} {growth[name]:.2f}x" for name in names),
            "second half against the first",
            scaled,
            all(growth[name] <= _LEVEL for name in names) if is_judged else None,
            {
                "growth": {name: growth[name] for name in names},
                "samples": {n: soak.samples[n] for n in names},
            },
        )
        for words, names in (
            ("what the process holds", ("memory", "file descriptors", "connections")),
            ("the tables", ("rows of the logs", "size of the tables")),
        )
    ] + [
        Row(
            "counts that do not add up after a soak",
            "0",
            str(len(wrong)) if not wrong else f"{len(wrong)}: {'; '.join(wrong)}"[:300],
            "-",
            f"{scaled}; against the simulator's record",
            not wrong,
            {"wrong": wrong, "requests": soak.requests, "success": soak.succeeded, "failed": soak.failed},
        )
    ]


def _soak(database: Database, simulator: Simulator, rounds: int) -> _Soak:
    soak = _Soak()
    began: list[float] = []
    with database.begin() as connection:
        keys = find_batch_keys(connection)
    for number in range(rounds):
        began.append(time.time())
        for key in keys:
            _sync(database, simulator, key, soak)
        if number >= _RETENTION_ROUNDS:
            # Time runs fast: what is older than a few rounds is older than the retention.
            age = timedelta(seconds=time.time() - began[number - _RETENTION_ROUNDS + 1])
            soak.deleted.update(delete_old_rows(database, RETENTIONS, older_than=age))
        _sample(database, soak)
    return soak


def _sync(database: Database, simulator: Simulator, key: str, soak: _Soak) -> None:
    def open_client(owner: str) -> InnomaintClient:
        pacing = SharedPacing(database, simulator.url, owner=owner, rate_ms=0)
        policy = RequestPolicy(retry_base_seconds=0.001)
        return InnomaintClient(simulator.url, SecretStr("invented"), pacing, policy)

    batch = BatchRun(database, key, f"run-{soak.runs}", 1440, Selection(asked_before=datetime.now(UTC)))
    fetched = fetch_batch(batch, open_client, ZONE, is_last_step=False)
    enrich_batch(batch, ZONE, is_rebuild=False, is_last_step=False)
    settled = settle_batch(batch, open_client, ZONE)
    soak.runs += 1
    soak.requests += fetched.passed.requests + settled.second_pass.requests
    soak.succeeded += settled.counts.success
    soak.failed += settled.counts.failed


def _sample(database: Database, soak: _Soak) -> None:
    # What autovacuum does once a minute; a round lasts a second or two.
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("vacuum")
    with database.begin() as connection:
        row = connection.execute(
            text(
                "select (select count(*) from pg_stat_activity where datname = current_database()),"
                " (select count(*) from ic3_sync_log) + (select count(*) from cmms_sync_log),"
                " (select sum(pg_total_relation_size(relid)) from pg_stat_user_tables)"
            )
        ).one()
    process = psutil.Process()
    values = {
        "memory": process.memory_info().rss,
        "file descriptors": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
        "connections": row[0],
        "rows of the logs": row[1],
        "size of the tables": row[2],
    }
    for name, value in values.items():
        soak.samples.setdefault(name, []).append(float(value))


def growth_of(samples: list[float]) -> float:
    """Return the median of the second half of the samples against that of the first, its start left out.

    The start, a quarter, is when caches fill and the logs reach their retention.
    """
    half = len(samples) // 2
    return statistics.median(samples[half:]) / statistics.median(samples[half // 2 : half])


def find_wrong_counts(
    database: Database, requests: list[dict[str, Any]], soak: _Soak, size: int
) -> list[str]:
    """Return in words which counts disagree: reports, tables, and the simulator's own record."""
    with database.begin() as connection:
        violations = {**count_violations(connection), **count_orphans(connection)}
        logged = Counter(
            dict(
                connection.execute(
                    text("select sync_type || ' ' || status, count(*) from ic3_sync_log group by 1")
                )
                .tuples()
                .all()
            )
        )
        states = dict(
            connection.execute(
                text(
                    "select cmms_asset_id, coalesce(error_class, state)"
                    " from innomaint_sync_state join ic3_asset_master using (asset_id)"
                )
            )
            .tuples()
            .all()
        )
        batch_rows = connection.execute(text("select count(*) from cmms_sync_log")).scalar_one()
    told = {str(item["serial"]): find_outcome(item) for item in requests}
    differing = {name for name, state in states.items() if told.get(name) != state}
    written = sum(logged.values()) + soak.deleted["ic3_sync_log"]
    pairs = {
        "requests reported and requests the simulator saw": (soak.requests, len(requests)),
        "outcomes and CMMS assets asked for": (soak.succeeded + soak.failed, soak.runs * _BATCH_SIZE),
        "log rows, kept and deleted, and outcomes with the import": (
            written,
            soak.succeeded + soak.failed + size,
        ),
        "batch rows, kept and deleted, and runs": (batch_rows + soak.deleted["cmms_sync_log"], soak.runs),
        "states that are not what the simulator answered last": (len(differing), 0),
        **{f"rows that break {name}": (count, 0) for name, count in violations.items()},
    }
    return [f"{words}: {one} and {other}" for words, (one, other) in pairs.items() if one != other]


def find_outcome(request: dict[str, Any]) -> str:
    """Return the state, or the class, that the last request for a CMMS asset must leave."""
    kind, status = request["fault"], request["status"]
    if kind is None:
        return "synced" if status == 200 else "not_found"
    by_kind = {"status_false": "contract", "other_serial": "contract", "data_empty_list": "contract"}
    return by_kind.get(kind) or {404: "not_found", 422: "data"}.get(status, "transient")


def _set_faults(simulator: Simulator, script: FaultScript) -> None:
    origin = "/".join(simulator.url.split("/", 3)[:3])
    body = json.dumps(script.to_json()).encode()
    request = urllib.request.Request(f"{origin}{CONTROL_PATH}faults", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
