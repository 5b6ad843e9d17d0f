"""The rows as a picture: how each figure stands to its target, as SVG without a library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.report import Row

_WIDTH, _LINE, _TOP = 1180, 46, 60
_FONT = 'font-family="system-ui, sans-serif" font-size="14"'
_COLOURS = {True: "#1a7f37", False: "#b42318", None: "#667085"}
_WORDS = {True: "met", False: "not met", None: "no target"}


def save_picture(rows: Sequence[Row], scale: str, folder: Path) -> Path:
    """Write the picture: one line for each row, its figure, target and ratio."""
    height = _TOP + _LINE * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="20" y="34" font-size="20" fill="#101828">What it costs ({escape(scale)} scale)</text>',
    ]
    for number, row in enumerate(rows):
        top = _TOP + number * _LINE
        colour = _COLOURS[row.is_met]
        promise = f"{_WORDS[row.is_met]}; target {row.target}"
        ratio = "" if row.ratio == "-" else f" · {row.ratio}"
        parts += [
            f'<rect x="20" y="{top + 4}" width="6" height="{_LINE - 10}" fill="{colour}"/>',
            f'<text x="36" y="{top + 18}" fill="#101828">{escape(row.measure)}</text>',
            f'<text x="36" y="{top + 36}" fill="#667085" font-size="12">{escape(row.scale)}</text>',
            f'<text x="560" y="{top + 18}" fill="{colour}">{escape(row.figure + ratio)}</text>',
            f'<text x="560" y="{top + 36}" fill="#667085" font-size="12">{escape(promise)}</text>',
        ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "latest.svg"
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")
    return path
