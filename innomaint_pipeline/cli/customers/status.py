"""`innomaint customers status` and `quarantine`, for people and as JSON."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import is_heard, people, print_json, say
from innomaint_pipeline.domain.customers.checks import WHAT_TO_DO
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.customers.overview import load_quarantine, load_status
from innomaint_pipeline.store.customers.runs import require_schema
from innomaint_pipeline.store.database import Database

_REFRESH_SECONDS = 5


def run_status(settings: Settings, *, is_watch: bool, is_json: bool) -> None:
    """Show the status once, or again and again until interrupted."""
    with open_database(settings, is_writing=False) as (database, _):
        is_live = is_watch and people.is_terminal and not is_json
        with Live(console=people, auto_refresh=False) if is_live else nullcontext() as live:
            while True:
                status = _read(settings, database)
                if is_json:
                    if not print_json(status, is_one_line=is_watch):
                        return
                elif live is not None:
                    live.update(_render(status), refresh=True)
                else:
                    people.print(_render(status))
                if not is_watch or not (is_json or is_heard()):
                    return
                time.sleep(_REFRESH_SECONDS)


def _read(settings: Settings, database: Database) -> dict[str, Any]:
    with database.snapshot() as connection:
        require_schema(connection)
        return load_status(
            connection, settings.customers_interval_minutes, is_set=settings.customers_inbox is not None
        )


def describe_age(seconds: int | None) -> str:
    """Return an age in words."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _local(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment else "-"


def _render(status: dict[str, Any]) -> RenderableType:
    lines: list[RenderableType] = [Text(f"health: {status['health']}. {status['message']}")]
    if status["inProgress"]:
        total = "-" if status["total"] is None else status["total"]
        since = _local(status["startedAt"])
        lines.append(Text(f"syncing: {status['stage']}, {status['current']} of {total}, since {since}"))
    lines.append(
        Text(
            f"customers {status['totalCustomersInDb']}, data {describe_age(status['dataAgeSeconds'])} old, "
            f"last sync {_local(status['lastSyncTime'])}, every {status['intervalMinutes']} min, "
            f"next due {_local(status['nextDueAt'])}"
        )
    )
    last = status["lastRun"]
    if last is not None:
        lines.append(
            Text(
                f"last run: {last['outcome']}, {last['trigger']}, began {_local(last['startedAt'])}, "
                f"{last['attempts']} attempts, run {last['runId']}"
            )
        )
    return Group(*lines)


def run_quarantine(settings: Settings, *, is_json: bool) -> None:
    """Show what waits for a person."""
    with open_database(settings, is_writing=False) as (database, _), database.snapshot() as connection:
        require_schema(connection)
        found = load_quarantine(connection, keep_days=settings.customers_keep_days)
    if is_json:
        print_json({"quarantined": found})
        return
    if not found:
        say("Nothing is in quarantine, and no removal waits.")
        return
    for item in found:
        table = Table(title=item["sha256"], title_justify="left", box=None, pad_edge=False, show_header=False)
        table.add_column()
        table.add_column(overflow="fold")
        table.add_row("exported", _local(item["exportedAt"]))
        table.add_row("received", _local(item["receivedAt"]))
        table.add_row("rows", str(item["rows"]))
        for failed in item["failedChecks"]:
            table.add_row(failed["check"], failed["message"])
            table.add_row("", f"what to do: {WHAT_TO_DO[failed['check']]}")
        if item["held"]:
            table.add_row("held", f"{item['held']} removals")
        table.add_row("releasable", "yes" if item["releasable"] else "no")
        people.print(table)
