"""`python -m benchmarks [--full] [NAME ...]`: measure, print one table, write it as JSON and as a picture."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module

from benchmarks.picture import save_picture
from benchmarks.place import Place, Scale, open_place
from benchmarks.report import RESULTS, Row, print_rows, save_rows

NAMES = (
    "startup",
    "queries",
    "workbook",
    "customers",
    "reenrich",
    "unchanged",
    "throughput",
    "maximo",
    "memory",
    "soak",
    "rate",
    "continuous",
    "rest",
    "launches",
    "workers",
    "accounts",
)


def load(name: str) -> Callable[[Place, str], list[Row]]:
    """Return what a benchmark's module runs."""
    return import_module(f"benchmarks.{name}").run


def main() -> int:
    """Run the chosen benchmarks, all by default; 0 even where a target is missed: the table says so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="everything unscaled; takes about half an hour")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    arguments = parser.parse_args()
    scale = Scale.FULL if arguments.full else Scale.DEFAULT
    chosen = arguments.names or list(NAMES)
    rows: list[Row] = []
    with open_place() as place:
        for name in chosen:
            began = time.monotonic()
            rows += load(name)(place, scale)
            print(f"{name}: measured in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print_rows(rows)
    if chosen == list(NAMES):
        for path in (save_rows(rows, scale, RESULTS), save_picture(rows, scale, RESULTS)):
            print(f"written: {path.relative_to(RESULTS.parent.parent)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
