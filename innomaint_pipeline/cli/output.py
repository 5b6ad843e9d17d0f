"""What commands print: one JSON object on standard output, everything for people on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

json_option = click.option(
    "--json", "is_json", is_flag=True, help="Print one JSON object on standard output."
)

people = Console(stderr=True, highlight=False)


def print_json(value: Mapping[str, Any], *, is_one_line: bool = False) -> None:
    """Print one JSON object on standard output."""
    indent = None if is_one_line else 2
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent, default=_plain) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def say(text: str) -> None:
    """Tell people something, as it is: brackets are no markup."""
    people.print(text, markup=False, soft_wrap=True)


def print_counts(title: str, rows: Mapping[str, Any]) -> None:
    """Print names and numbers, one a line."""
    # A title of the table's own would be wrapped at the width of the numbers.
    say(title)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    people.print(table)


def configure_logging() -> None:
    """Send warnings to standard error."""
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
