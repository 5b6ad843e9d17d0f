"""What people ask Maximo's sync for by HTTP, its parts, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME, find_structures
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.domain.requests import RequestState

READ_REQUESTS = f"{SOURCE}/read"
"""The kind of the requests that ask for a read."""

TASK_WORDS = {
    RequestState.WAITING: "pending",
    RequestState.RUNNING: "in_progress",
    RequestState.DONE: "completed",
    RequestState.FAILED: "failed",
}


def part_name(structure: Structure, site: str | None) -> str:
    """Return what one run reads: assets/KDFAC."""
    return structure.short if site is None else f"{structure.short}/{site}"


def read_part(part: str) -> tuple[Structure, str | None]:
    """Return the structure and the site that a part names."""
    short, _, site = part.partition("/")
    return BY_SHORT_NAME[short], site or None


def list_parts(endpoint: str, sites: Sequence[str]) -> list[str]:
    """Return the parts of a request for a structure, or for all, at these sites."""
    return [
        part_name(structure, site)
        for structure in find_structures((endpoint,))
        for site in (sites if structure.has_site else (None,))
    ]


def compute_progress(states: Mapping[str, str], shares: Mapping[str, float]) -> int:
    """Return how far a request is, 0 to 100, from its parts; `shares` are those under way, from 0 to 1."""
    if not states:
        return 100
    closed = {RequestState.DONE, RequestState.FAILED}
    done = sum(1.0 if state in closed else min(shares.get(part, 0.0), 1.0) for part, state in states.items())
    return int(100 * done / len(states))


def describe_run(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the row of a run as a message with its level."""
    level = {"success": "info", "partial": "warning"}.get(row["status"], "error")
    name = part_name(BY_SHORT_NAME[row["endpoint"]], row["site"])
    total = "" if row["server_total"] is None else f" of {row['server_total']}"
    text = f"{name}: {row['status']}, {row['fetched']}{total} rows"
    return {"level": level, "text": f"{text}: {row['message']}" if row["message"] else text}
