"""The world that the simulated Innomaint knows: every CMMS asset, its answer now, and changes made by a test.

Belongs here: looking up and changing. Facts are `estate`, wording is `payload`, misbehaviour is `faults`.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.innomaint.estate import (
    EARLIEST_NOW,
    Equipment,
    build_equipment,
    build_serial,
    load_example,
)
from innomaint_pipeline.simulator.innomaint.payload import build_answer


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""As a value in `World.change`: the field is left out of the answer."""


def read_utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


class World:
    """An invented utility of `size` CMMS assets that follows from `seed` alone; `now` returns an aware time.

    The first CMMS asset is that of the vendor's example answer, and answers it word for word at any time.
    Answers are made when asked for, so that a large world costs no more than its serial numbers. Reading from
    one thread while another changes the world is safe: an answer is either the old or the new one.

    Raises ConfigurationError where the clock stands before 2026: some break-downs would be longer than the
    lives.
    """

    def __init__(self, size: int = 2957, seed: int = 1, now: Callable[[], datetime] = read_utc_now) -> None:
        if size < 1:
            raise ConfigurationError(f"A simulated world has {size} CMMS assets; it needs at least 1.")
        if now() < EARLIEST_NOW:
            raise ConfigurationError(
                f"The clock of the simulated world stands at {now():%Y-%m-%d}, before its histories end: "
                f"give it a time from {EARLIEST_NOW:%Y-%m-%d} on."
            )
        self.seed = seed
        self.now = now
        self.serials: tuple[str, ...] = tuple(build_serial(position, seed) for position in range(size))
        self._positions = {serial: position for position, serial in enumerate(self.serials)}
        self._changes: dict[str, dict[str, Any]] = {}
        self._removed: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.serials)

    def __contains__(self, serial: object) -> bool:
        return serial in self._positions and serial not in self._removed

    def find_equipment(self, serial: str) -> Equipment:
        """Return the facts behind a serial number; ConfigurationError if this world never held it."""
        return build_equipment(self._find_position(serial), self.seed)

    def find_next_serial(self, serial: str) -> str:
        """Return the serial number that follows in the report; after the last comes the first."""
        return self.serials[(self._find_position(serial) + 1) % len(self.serials)]

    def answer(self, serial: str) -> dict[str, Any] | None:
        """Return the whole answer for a serial number, for the caller to keep; None: unknown.

        The serial number is compared exactly: no trimming, no folding of case.
        """
        position = self._positions.get(serial)
        if position is None or serial in self._removed:
            return None
        if position == 0:
            answer = json.loads(load_example())
        else:
            answer = build_answer(build_equipment(position, self.seed), self.seed, self.now())
        changes = self._changes.get(serial)
        return answer if changes is None else answer | {"response": _merge(answer["response"], changes)}

    def change(self, serial: str, sections: Mapping[str, Any]) -> None:
        """Change what is answered from now on: `{"data": {"criticality": "Low"}}`, merged into `response`.

        Objects are merged field by field, anything else replaces what stood there, `ABSENT` removes it; later
        changes add to earlier ones. Values are taken as they are: the vendor's arithmetic is not redone
        around them.
        """
        self._find_position(serial)
        self._changes[serial] = _merge(self._changes.get(serial, {}), sections, keep_absent=True)

    def remove(self, serial: str) -> None:
        """Let Innomaint forget a CMMS asset: its answer is None from now on, its place in `serials` stays."""
        self._find_position(serial)
        self._removed |= {serial}

    def restore(self) -> None:
        """Undo every change and every removal."""
        self._changes = {}
        self._removed = frozenset()

    def _find_position(self, serial: str) -> int:
        position = self._positions.get(serial)
        if position is None:
            raise ConfigurationError(
                f"The simulated world of {len(self)} CMMS assets holds no serial number {serial!r}: "
                "take one from World.serials."
            )
        return position


def _merge(old: Any, new: Any, *, keep_absent: bool = False) -> Any:
    if not isinstance(new, Mapping):
        return deepcopy(new)
    merged = dict(old) if isinstance(old, Mapping) else {}
    for name, value in new.items():
        if value is ABSENT and not keep_absent:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value, keep_absent=keep_absent)
    return merged
