"""What a run would do, without doing it: no row, no customer, no copy that stays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from innomaint_pipeline.domain.customers.lists import Finding
from innomaint_pipeline.domain.customers.runs import Outcome
from innomaint_pipeline.sources.customers.inbox import Nothing, TooLarge
from innomaint_pipeline.store.customers.applying import plan_list
from innomaint_pipeline.store.customers.lists import find_list
from innomaint_pipeline.sync.customers.judging import (
    check_list,
    describe_failed,
    describe_known,
    find_oversize,
    name_rejection,
)
from innomaint_pipeline.sync.customers.running import ListRun, await_result, make_private

_COUNTS = ("rows", "new", "updated", "unchanged", "missing", "deleted", "restored", "rehashed")


@dataclass(frozen=True)
class Plan:
    """The row that a run would write, its checks' findings, and how many removals it would hold."""

    row: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    held: int = 0


def plan_run(run: ListRun) -> Plan:
    """Do what a run does up to the writing. Raises what the attempt raises; nothing is tried again."""
    began = time.monotonic()
    make_private(run.kept.folder)
    with TemporaryDirectory(dir=run.kept.folder) as folder:
        plan = _plan(run, Path(folder))
    row = {
        "run_id": None,
        "error_class": None,
        "error_message": None,
        **dict.fromkeys(_COUNTS),
        "stage_ms": {"plan": round((time.monotonic() - began) * 1000)},
        **plan.row,
    }
    return Plan(row, plan.findings, plan.held)


def _plan(run: ListRun, folder: Path) -> Plan:
    arrival = await_result(lambda: run.fetch(folder))
    if isinstance(arrival, Nothing):
        return Plan({"outcome": Outcome.SKIPPED, "error_message": arrival.reason})
    if isinstance(arrival, TooLarge):
        finding = find_oversize(arrival)
        return Plan(_reject(finding.check, (finding,)), (finding,))
    with run.database.begin() as connection:
        known = find_list(connection, arrival.sha256)
    if known is not None and not (run.is_chosen and known.is_refused_for_bounds):
        return Plan({"outcome": Outcome.SKIPPED, "error_message": describe_known(arrival, known)})
    content = await_result(lambda: run.read(arrival, lambda _done, _total: None))
    findings = check_list(run.database, arrival, content, run.guards)
    failed = tuple(item for item in findings if not item.passed)
    if failed:
        row = _reject(name_rejection(arrival, failed), failed)
        return Plan({**row, "rows": len(content.rows)}, findings)
    with run.database.begin() as connection:
        delta = plan_list(connection, content.rows, arrival.exported_at, run.guards)
    outcome = Outcome.CHANGED if delta.is_changed else Outcome.UNCHANGED
    return Plan({"outcome": outcome, **delta.counts()}, findings, len(delta.held))


def _reject(word: str, failed: tuple[Finding, ...]) -> dict[str, Any]:
    return {
        "outcome": Outcome.REJECTED,
        "error_class": word,
        "error_message": describe_failed(failed),
    }
