"""`innomaint status`: the numbers of the tables, for people or as JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from innomaint_pipeline.api.innomaint.models import StatusAnswer
from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import is_heard, people, print_json
from innomaint_pipeline.domain.innomaint.progress import BatchProgress
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.domain.states import WHAT_TO_DO, ErrorClass
from innomaint_pipeline.domain.words import STATE_WORDS, Tone
from innomaint_pipeline.errors import ConfigurationError, InnomaintPipelineError
from innomaint_pipeline.redaction import redact
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batch_runs import BatchRun
from innomaint_pipeline.store.innomaint.failure_groups import load_failure_groups
from innomaint_pipeline.store.innomaint.overview import count_tables
from innomaint_pipeline.store.innomaint.progress import Progress
from innomaint_pipeline.store.innomaint.status import Status, load_status

_REFRESH_SECONDS = 5
_COLOURS = {
    Tone.COMPLETE: "green",
    Tone.PARTIAL: "yellow",
    Tone.FAILED: "red",
    Tone.RUNNING: "blue",
    Tone.NEVER: "dim",
}


def innomaint_account(settings: Settings) -> SourceAccount:
    """Return the account of the settings."""
    rate_ms = settings.innomaint_rate_ms
    return SourceAccount(
        settings.innomaint_api_url,
        settings.innomaint_refresh_minutes,
        configured_rate_per_second=1000 / rate_ms if rate_ms else 0.0,
        sync_interval_start_seconds=settings.innomaint_sync_interval_s,
        is_set=settings.has_innomaint,
    )


def read_status(settings: Settings, database: Database) -> Status:
    """Return the status."""
    with database.snapshot() as connection:
        return load_status(connection, innomaint_account(settings))


def as_json(status: Status) -> dict[str, object]:
    """Return the JSON of `status`, the same object that the admin service answers."""
    return StatusAnswer.model_validate(status).model_dump()


def run_status(settings: Settings, *, is_watch: bool, is_json: bool) -> None:
    """Print the status once, or again and again until interrupted."""
    with open_database(settings, is_writing=False) as (database, _):
        if is_watch:
            _watch(settings, database, is_json=is_json)
        elif is_json:
            print_json(as_json(read_status(settings, database)))
        else:
            people.print(render_status(read_status(settings, database)))


def run_status_of_all(accounts: Sequence[Settings], *, is_json: bool) -> int:
    """Print the status of each account; return 0, or the exit code of the first that could not be read.

    Raise `ConfigurationError` where there are no accounts.
    """
    found: dict[str, object] = {}
    code = 0
    for settings in accounts:
        name = settings.innomaint_account
        if name is None:
            raise ConfigurationError("INNOMAINT_ACCOUNTS is not set: innomaint status tells of the only one")
        try:
            with open_database(settings, is_writing=False) as (database, _):
                status = read_status(settings, database)
        except InnomaintPipelineError as error:
            code = code or error.exit_code
            found[name] = {"error": redact(str(error))}
            people.print(Text(f"{name}\n{redact(str(error))}\n"))
            continue
        found[name] = as_json(status)
        people.print(Text(name), render_status(status), Text())
    if is_json:
        print_json({"accounts": found})
    return code


def _watch(settings: Settings, database: Database, *, is_json: bool) -> None:
    """Show the status again and again: in place on a terminal, else a block or a JSON line each time."""
    is_live = people.is_terminal and not is_json
    with Live(console=people, auto_refresh=False) if is_live else nullcontext() as live:
        while True:
            status = read_status(settings, database)
            if is_json:
                if not print_json(as_json(status), is_one_line=True):
                    return
            else:
                shown = Group(render_status(status), *_render_tables(database))
                if live is not None:
                    live.update(shown, refresh=True)
                else:
                    people.print(shown, Text())
            if not is_json and not is_heard():
                return
            time.sleep(_REFRESH_SECONDS)


def _render_tables(database: Database) -> list[RenderableType]:
    """Return the failures in groups and the counts of all tables, for people."""
    with database.begin() as connection:
        groups, counts = load_failure_groups(connection), count_tables(connection)
    parts: list[RenderableType] = []
    if groups:
        failures = Table(title="failed, in groups", title_justify="left", box=None, pad_edge=False)
        for name in ("what", "where", "failed since", "due again"):
            failures.add_column(name)
        for group in groups:
            where = ", ".join(f"{place.count} in {place.location_name or '-'}" for place in group.places[:2])
            moments = (group.failed_since, group.next_due_at)
            failures.add_row(group.title, where, *map(_describe_moment, moments))
        parts.append(failures)
    tables = Table(title="rows", title_justify="left", box=None, pad_edge=False)
    tables.add_column("table")
    tables.add_column("rows", justify="right")
    for name, count in counts.items():
        tables.add_row(name, str(count))
    return [*parts, tables]


def describe_seconds(seconds: int | None) -> str:
    """Return a duration in words, a dash for one that is not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _describe_moment(moment: datetime | None) -> str:
    """Return a moment in local time to the second, a dash for none."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment else "-"


def _as_word(state: str) -> Text:
    """Return a state as every surface calls it, in its colour."""
    word = STATE_WORDS.get(state)
    return Text(state) if word is None else Text(word.word, style=_COLOURS[word.tone])


def _reasons(runs: Sequence[BatchRun]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.reason:
            keys = found.setdefault(run.reason, [])
            keys += [run.batch_key] if run.batch_key and run.batch_key not in keys else []
    return found


def _render_progress(progress: Progress) -> Text:
    batches = ", ".join(
        f"{batch.batch_key} "
        + (batch.state if batch.state is BatchProgress.WAITING else f"{batch.done}/{batch.total}")
        for batch in progress.batches
    )
    return Text(
        f"syncing: {progress.done} of {progress.total} asked for, "
        f"since {_describe_moment(progress.since)}\n"
        f"in progress: {batches or 'the next batch is about to start'}"
    )


def render_status(status: Status) -> Group:
    """Return the status as people read it."""
    counts = Table(show_header=False, box=None, pad_edge=False)
    counts.add_column()
    counts.add_column(justify="right")
    for label, count in (
        ("synced", status.synced_assets),
        ("failed", status.failed_assets),
        ("never synced", status.never_synced),
        ("total", status.total_assets),
    ):
        counts.add_row(label, str(count))
    parts: list[RenderableType] = [
        Text.assemble("health: ", _as_word(status.health), f". {status.health_reason}"),
        *([Text(f"what to do: {status.what_to_do}")] if status.what_to_do != "nothing" else []),
        counts,
        Text(
            f"rate {status.rate_per_second}/s, time left {describe_seconds(status.eta_seconds)}, "
            f"last sync {_describe_moment(status.last_sync_at)}, refresh every {status.refresh_minutes} min"
        ),
        Text(
            f"last answer {_describe_moment(status.last_answer_at)}, "
            f"last different one {_describe_moment(status.last_change_at)}"
        ),
    ]
    if status.failed_by_class:
        failures = Table(title="failed, by class", title_justify="left", box=None, pad_edge=False)
        failures.add_column("class")
        failures.add_column("assets", justify="right")
        failures.add_column("since", no_wrap=True)
        failures.add_column("what to do")
        for name, count in status.failed_by_class.items():
            since = _describe_moment(status.failed_since.get(name))
            failures.add_row(name, str(count), since, WHAT_TO_DO[ErrorClass(name)])
        parts.append(failures)
    if status.progress is not None:
        parts.append(_render_progress(status.progress))
    if status.last_batch:
        batches = Table(title="last batches", title_justify="left", box=None, pad_edge=False)
        for name in ("batch", "status", "total", "synced", "unchanged", "failed", "skipped", "took"):
            is_text = name in {"batch", "status"}
            batches.add_column(name, justify="left" if is_text else "right", no_wrap=True)
        for row in status.last_batch:
            counts_of_row = (row.total, row.assets_synced, row.unchanged, row.failed, row.skipped)
            took = describe_seconds(None if row.duration_ms is None else round(row.duration_ms / 1000))
            shown = ("-" if value is None else str(value) for value in counts_of_row)
            batches.add_row(row.batch_key or "-", _as_word(row.status or "unknown"), *shown, took)
        parts.append(batches)
        # The same reason of several batches is told once.
        for reason, keys in _reasons(status.last_batch).items():
            parts.append(Text(f"{', '.join(keys)}: {reason}"))
    return Group(*parts)
