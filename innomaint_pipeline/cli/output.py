"""What commands print: one JSON object on standard output, everything for people on standard error.

Who reads may be gone, and a stream closed, full or of another encoding: that ends no work, and changes no
exit code but where a result that was asked for could not be written.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from io import TextIOBase
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table

from innomaint_pipeline.errors import ConfigurationError

json_option = click.option(
    "--json", "is_json", is_flag=True, help="Print one JSON object on standard output."
)


class _PeopleStream(TextIOBase):
    """Standard error for people; once nobody reads there, what is said is lost and nothing else."""

    is_gone = False

    def write(self, text: str, /) -> int:
        try:
            sys.stderr.write(text)
        except (OSError, ValueError):
            self.is_gone = True
        return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            self.is_gone = True

    def isatty(self) -> bool:
        # Asked before the streams are prepared, too, when there may be none.
        return not self.is_gone and sys.stderr is not None and sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] # an attribute there
        return sys.stderr.encoding if sys.stderr is not None else "utf-8"


_stream = _PeopleStream()
people = Console(file=_stream, highlight=False)  # pyright: ignore[reportArgumentType] # all that it uses


def write_output_to(log: Path) -> None:
    """Send what a process of Dagster prints to a file: the terminal belongs to the command."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def is_heard() -> bool:
    """Tell whether anybody may still read what is said to people."""
    return not _stream.is_gone


def prepare_streams() -> None:
    """Give the process all three streams, and let no character end it.

    A closed one would be opened anew by the next file or socket, which then got what was meant for people.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one that is closed.
            os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def print_json(value: Mapping[str, Any], *, is_one_line: bool = False) -> bool:
    """Print one JSON object on standard output; return whether anybody may still read there.

    Raise `ConfigurationError` where it cannot be written although somebody wants it, as on a full disk.
    """
    indent = None if is_one_line else 2
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") in {"utf8", "utf8sig"}
    text = json.dumps(value, ensure_ascii=not is_unicode, indent=indent, default=_plain) + "\n"
    if is_unicode and not _is_encodable(text):
        text = json.dumps(value, indent=indent, default=_plain) + "\n"
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        if error.errno == errno.EPIPE:
            return False
        raise ConfigurationError(
            f"the result could not be written to standard output ({error.strerror}): what was done is kept; "
            "make room there, then ask again, as with innomaint status --json"
        ) from error
    return True


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def silence(stream: TextIO) -> None:
    """Let a stream that nobody reads take the rest of what is written, so that its end raises nothing."""
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 # no path, a device
        os.dup2(nothing.fileno(), stream.fileno())
    stream.flush()


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def end_streams() -> None:
    """Write what is left; where nobody reads, Python would make an exit code of its own of it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(stream)


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
