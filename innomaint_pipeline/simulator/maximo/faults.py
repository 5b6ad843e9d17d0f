"""How the simulated Maximo goes wrong: by script, at random, and by what kind of server it is.

Belongs here: faults as data, and `Behaviour`, the traits of an installation.
"""

import random
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, fields
from typing import Any

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.dice import build_dice

EVERY = "*"
"""Stands in a script for whatever structure, or path, is asked for."""

KINDS = ("status", "error", "html", "redirect", "cut_off", "hang", "break_off", "not_json")


@dataclass(frozen=True)
class Fault:
    """One request that goes wrong.

    `status` with a `kind` of `status` sends that status alone; `error` sends Maximo's own error with `code`;
    `html` a page; `redirect` to a login; `cut_off` half of the JSON; `hang` for `seconds`; `break_off` ends
    the connection; `not_json` sends text. `retry_after` goes with a status.
    """

    kind: str
    status: int = 503
    code: str = "BMXAA0000E"
    seconds: float = 60.0
    retry_after: str | None = None


def read_fault(value: Any) -> Fault:
    """Return the fault that a JSON object describes; raise `ConfigurationError` for what is none."""
    known = {item.name for item in fields(Fault)}
    if not isinstance(value, dict) or value.get("kind") not in KINDS or not value.keys() <= known:
        raise ConfigurationError(
            f"A fault is an object with a kind ({', '.join(KINDS)}) and some of {', '.join(sorted(known))}."
        )
    return Fault(**value)


class FaultScript:
    """Faults for each structure, taken in order; those at random come where no scripted one is left."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Fault | None]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._share = 0.0
        self._dice: random.Random = build_dice(1, "maximo faults")

    def add(self, name: str, *faults: Fault | None) -> None:
        """Let the next requests for a structure go wrong; None: one that goes well."""
        self._waiting[name].extend(faults)

    def always(self, name: str, fault: Fault) -> None:
        """Let each request for a structure go wrong."""
        self._always[name] = fault

    def by_chance(self, share: float, *, seed: int = 1) -> None:
        """Let a share of all requests fail in ways that pass."""
        self._share, self._dice = share, build_dice(seed, "maximo faults")

    def clear(self) -> None:
        """Forget every fault."""
        self._waiting.clear()
        self._always.clear()
        self._share = 0.0

    def take(self, name: str) -> Fault | None:
        """Return the fault of this request, if it has one."""
        for key in (name, EVERY):
            if self._waiting[key]:
                return self._waiting[key].popleft()
        always = self._always.get(name, self._always.get(EVERY))
        if always is None and self._share and self._dice.random() < self._share:
            return self._dice.choice((Fault("status", 503), Fault("cut_off"), Fault("break_off")))
        return always

    def load(self, value: Any) -> None:
        """Replace the script by a JSON object: a list of faults for each structure."""
        if not isinstance(value, dict) or not all(isinstance(item, list) for item in value.values()):
            raise ConfigurationError("A script of faults is an object: structure -> list of faults.")
        read = {
            name: [None if item is None else read_fault(item) for item in items]
            for name, items in value.items()
        }
        self.clear()
        for name, faults in read.items():
            self.add(name, *faults)

    def to_json(self) -> dict[str, Any]:
        """Return the faults that wait."""
        return {
            name: [None if fault is None else asdict(fault) for fault in waiting]
            for name, waiting in self._waiting.items()
            if waiting
        }


@dataclass
class Behaviour:
    """What kind of server it is; a test turns on what it wants to see survived."""

    ignores_internal_status: bool = False
    ignores_delta: bool = False
    ignores_order: bool = False
    ignores_filter: bool = False
    ignores_site: bool = False
    ignores_lean: bool = False
    ignores_count: bool = False
    refuses_offsets: bool = False
    is_delta_of_page: bool = False
    sends_nulls: bool = True
    sends_prefixed_errors: bool = False
    largest_page: int | None = None
    too_large_status: int = 500
    clock_error_seconds: float = 0.0
    next_page_host: str = "https://maximo-internal.example"
    has_native_login: bool = True
    login_page: str | None = None
    """`html` or `redirect`: every request, whoami too, ends at a login page."""
    site_lost: str | None = None
    """Rows of this site are not there any more."""

    def load(self, value: Any) -> None:
        """Change some of it from a JSON object."""
        known = {item.name for item in fields(self)}
        if not isinstance(value, dict) or not value.keys() <= known:
            raise ConfigurationError(f"A behaviour is an object with some of {', '.join(sorted(known))}.")
        for name, item in value.items():
            setattr(self, name, item)
