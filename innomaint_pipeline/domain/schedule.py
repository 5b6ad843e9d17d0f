"""When something is looked at again, from what was noted at the last look."""

from __future__ import annotations

from math import isfinite


def parse_moment(cursor: str | None) -> float:
    """Return the Unix time that a sensor's cursor holds; 0, long ago, for a cursor that holds none.

    A cursor is kept for months and can be written by a person: one that cannot be read must silence nothing.
    """
    try:
        moment = float(cursor or 0)
    except ValueError:
        return 0.0
    return moment if isfinite(moment) else 0.0
