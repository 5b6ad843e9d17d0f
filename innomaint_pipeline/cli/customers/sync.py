"""`innomaint customers sync` and `release`: a run in this process, and its exit code."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import print_json, say
from innomaint_pipeline.defs.customers.opening import build_run, read_guards
from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.runs import Trigger
from innomaint_pipeline.errors import InnomaintPipelineError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.customers.applying import BusyError, release_list
from innomaint_pipeline.store.customers.overview import describe_answer
from innomaint_pipeline.store.customers.runs import load_run, require_schema
from innomaint_pipeline.store.database import Database, find_now
from innomaint_pipeline.sync.customers.judging import exit_code_of
from innomaint_pipeline.sync.customers.planning import plan_run
from innomaint_pipeline.sync.customers.running import ListRun, RunReport, sync_list

_POLL_SECONDS = 0.5


def run_sync(settings: Settings, *, file: Path | None, is_dry_run: bool, is_json: bool) -> int:
    """Run or plan; beside another run, wait for it and report that one."""
    if file is None:
        settings.require_customers()
    with open_database(settings, is_writing=not is_dry_run) as (database, _):
        with database.begin() as connection:
            require_schema(connection)
            asked_at = find_now(connection)
        run = build_run(settings, database, f"{SOURCE}-{uuid.uuid4()}", Trigger.MANUAL, file=file)
        if is_dry_run:
            plan = plan_run(run)
            return _report(plan.row, is_json=is_json, held=plan.held)
        try:
            report = _sync_in_turn(replace(run, asked_at=asked_at))
        except (InnomaintPipelineError, KeyboardInterrupt):
            _print_ended(database, run.run_id, is_json=is_json)
            raise
        if report.is_joined:
            said = f"{file} was not read: ask for it again" if file else "it has done what was asked for"
            say(f"Another run was under way, and {said}. It ended so:")
        held = report.figures.get("held", 0)
        return _report(report.row, is_json=is_json, held=held)


def read_into(settings: Settings, database: Database) -> dict[str, Any]:
    """Read the newest list of the inbox; return what `sync` prints as JSON."""
    run = build_run(settings, database, f"{SOURCE}-{uuid.uuid4()}", Trigger.MANUAL)
    return describe_answer(_sync_in_turn(run).row)


def _sync_in_turn(run: ListRun) -> RunReport:
    """Run as soon as no other run works."""
    is_told = False
    while (report := sync_list(run)) is None:
        if not is_told:
            say("Another run is under way; waiting for it.")
            is_told = True
        time.sleep(_POLL_SECONDS)
    return report


def _print_ended(database: Database, run_id: str, *, is_json: bool) -> None:
    """Print how a failed run ended, where its row could be written."""
    if not is_json:
        return
    try:
        with database.begin() as connection:
            row = load_run(connection, run_id)
    except InnomaintPipelineError:
        return
    if row is not None and row["outcome"] is not None:
        print_json(describe_answer(row))


def _report(row: dict[str, Any], *, is_json: bool, held: int) -> int:
    answer = describe_answer({**row, "held": held})
    say(answer["message"])
    if is_json:
        print_json(answer)
    return exit_code_of(row)


def run_release(settings: Settings, sha: str, reason: str, *, released_by: str, is_json: bool) -> None:
    """Release as soon as no run works."""
    is_told = False
    with open_database(settings) as (database, _):
        with database.begin() as connection:
            require_schema(connection)
        while True:
            try:
                row = release_list(database, sha.strip().lower(), reason, released_by, read_guards(settings))
                break
            except BusyError:
                if not is_told:
                    say("A run is under way; waiting for it.")
                    is_told = True
                time.sleep(_POLL_SECONDS)
    answer = describe_answer(row)
    say(f"Released: {answer['message']}")
    if is_json:
        print_json(answer)
