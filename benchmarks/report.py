"""A measured figure, the table of all of them on the terminal, and the JSON beside it."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import log
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One figure.

    `is_met` None: nothing was promised. `scale` says what was measured, `details` are for the JSON alone.
    """

    measure: str
    target: str
    figure: str
    ratio: str
    scale: str
    is_met: bool | None
    details: dict[str, Any] = field(default_factory=dict)


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """Return the median, and in brackets the least and the greatest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f}{unit} [{low:.{digits}f} to {high:.{digits}f}]"


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return k of seconds = c * size**k fitted over all sizes."""
    return statistics.linear_regression(
        [log(size) for size in sizes], [log(value) for value in seconds]
    ).slope


def load_average() -> list[float] | None:
    """Return the load of the machine over 1, 5 and 15 minutes, where the system tells it."""
    return [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title="innomaint_pipeline: what it costs", title_justify="left")
    for name in ("measure", "target", "figure", "ratio", "scale", "met"):
        table.add_column(name, overflow="fold")
    words = {True: "yes", False: "NO", None: "-"}
    for row in rows:
        table.add_row(row.measure, row.target, row.figure, row.ratio, row.scale, words[row.is_met])
    Console().print(table)
    print(f"load of the machine over 1, 5 and 15 minutes: {load_average()}, cores: {os.cpu_count()}")


def save_rows(rows: Sequence[Row], scale: str, folder: Path) -> Path:
    """Write the rows as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "latest.json"
    content = {"scale": scale, "load_average": load_average(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
