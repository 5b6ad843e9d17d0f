"""`innomaint maximo status`: how each structure stands, once or again and again."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import people, print_json
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.maximo.overview import count_dangling, load_drift, load_overview
from innomaint_pipeline.store.maximo.schema import require_schema


def run_status(settings: Settings, *, is_watch: bool, refresh_seconds: int, is_json: bool) -> None:
    """Show the status; with `is_watch` until Ctrl-C, in place on a terminal."""
    is_set = settings.maximo_base_url is not None
    with open_database(settings) as (database, _):
        if not is_watch:
            status, shown = _read(database, is_set=is_set)
            people.print(shown)
            if is_json:
                print_json(status)
            return
        with Live(console=people, auto_refresh=False) as live:
            while True:
                status, shown = _read(database, is_set=is_set)
                if people.is_terminal:
                    live.update(shown, refresh=True)
                else:
                    people.print(shown)
                if is_json:
                    print_json(status, is_one_line=True)
                time.sleep(refresh_seconds)


def _read(database: Database, *, is_set: bool) -> tuple[dict[str, Any], RenderableType]:
    with database.snapshot() as connection:
        require_schema(connection)
        status = load_overview(connection, is_set=is_set)
        drift, dangling = load_drift(connection), count_dangling(connection)
    return status, Group(_states(status), _counts(status["tables"], dangling), *_drift(drift))


def _states(status: dict[str, Any]) -> Table:
    table = Table(title=f"Maximo: {status['health']}", box=None, pad_edge=False, title_justify="left")
    for name in ("structure", "status", "records", "last sync", "message"):
        is_message = name == "message"
        justify = "right" if name == "records" else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=not is_message)
    for row in status["status"].values():
        last = f"{row['last_sync'].astimezone():%Y-%m-%d %H:%M:%S}" if row["last_sync"] else "never"
        table.add_row(row["endpoint"], row["status"], str(row["record_count"]), last, row["message"] or "")
    for item in status["in_progress"]:
        table.add_row(item["resource"], "reading", f"{item['done']} of {item['total']}", "", "")
    return table


def _counts(tables: dict[str, int], dangling: dict[str, int]) -> Table:
    table = Table(title="Rows", box=None, pad_edge=False, show_header=False, title_justify="left")
    for name, count in tables.items():
        table.add_row(name, str(count))
    for name, count in dangling.items():
        table.add_row(f"{name} leads nowhere", str(count))
    return table


def _drift(found: list[dict[str, Any]]) -> list[Table]:
    if not found:
        return []
    table = Table(title="Drift", box=None, pad_edge=False, show_header=False, title_justify="left")
    for item in found:
        place = ".".join(filter(None, (item["endpoint"], item["path"], item["attribute"])))
        table.add_row(place, item["kind"], item["detail"])
    return [table]
