"""`innomaint status`: the numbers of the tables, for people or as JSON (spec 04)."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import people, print_json
from innomaint_pipeline.domain.states import WHAT_TO_DO, ErrorClass
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.status import load_status

_REFRESH_SECONDS = 5
_COLOURS = {"healthy": "green", "unknown": "dim", "paused": "yellow", "stale": "yellow"}


def read_status(settings: Settings, database: Database) -> dict[str, Any]:
    """Return the JSON of `status`."""
    rate_ms = settings.innomaint_rate_ms
    return load_status(
        database,
        account=settings.innomaint_api_url,
        refresh_start_minutes=settings.innomaint_refresh_minutes,
        configured_rate_per_second=1000 / rate_ms if rate_ms else 0.0,
    )


def run_status(settings: Settings, *, is_watch: bool, is_json: bool) -> None:
    """Print the status once, or again and again until interrupted."""
    with open_database(settings) as (database, _):
        status = read_status(settings, database)
        if is_json:
            print_json(status)
        elif not is_watch:
            people.print(render_status(status))
        if is_watch:
            with Live(render_status(status), console=people, auto_refresh=False) as live:
                while True:
                    time.sleep(_REFRESH_SECONDS)
                    live.update(render_status(read_status(settings, database)), refresh=True)


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def render_status(status: dict[str, Any]) -> Group:
    """Return the status as people read it."""
    counts = Table(show_header=False, box=None, pad_edge=False)
    counts.add_column()
    counts.add_column(justify="right")
    for label, name in (
        ("synced", "synced_assets"),
        ("failed", "failed_assets"),
        ("never synced", "never_synced"),
        ("total", "total_assets"),
    ):
        counts.add_row(label, str(status[name]))
    health = status["health"]
    parts: list[Any] = [
        Text.assemble("health: ", (health, _COLOURS.get(health, "red"))),
        counts,
        Text(
            f"rate {status['rate_per_second']}/s, time left {_duration(status['eta_seconds'])}, "
            f"last sync {status['last_sync_at'] or '-'}, refresh every {status['refresh_minutes']} min"
        ),
    ]
    if status["failed_by_class"]:
        failures = Table(title="failed, by class", title_justify="left", box=None, pad_edge=False)
        failures.add_column("class")
        failures.add_column("assets", justify="right")
        failures.add_column("what to do")
        for name, count in status["failed_by_class"].items():
            failures.add_row(name, str(count), WHAT_TO_DO[ErrorClass(name)])
        parts.append(failures)
    if status["in_progress"]:
        running = ", ".join(
            f"{row['batch_key']} {row['done']}/{row['total']}" for row in status["in_progress"]
        )
        parts.append(Text(f"in progress: {running}"))
    if status["last_batch"]:
        batches = Table(title="last batches", title_justify="left", box=None, pad_edge=False)
        names = (
            "batch_key",
            "status",
            "total",
            "assets_synced",
            "unchanged",
            "failed",
            "skipped",
            "duration_ms",
        )
        for name in names:
            is_text = name in {"batch_key", "status"}
            batches.add_column(name, justify="left" if is_text else "right", no_wrap=is_text)
        for row in status["last_batch"]:
            batches.add_row(*(str(row[name]) for name in names))
        parts.append(batches)
    return Group(*parts)
