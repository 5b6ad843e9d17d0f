"""The script: which request meets which fault, from lists, from rules, or by chance.

Belongs here: choosing. What a fault does is its own affair.
"""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.dice import build_dice
from innomaint_pipeline.simulator.innomaint.faults.base import Fault, Healthy, read_fault
from innomaint_pipeline.simulator.innomaint.faults.body import EmptyBody, Html, Truncated
from innomaint_pipeline.simulator.innomaint.faults.transport import ResetBeforeAnswer, Status

TRANSIENT_FAULTS: tuple[Fault, ...] = (
    Status(500), Status(502), Status(503), Status(504), Status(408),
    ResetBeforeAnswer(), Truncated(), Html(), EmptyBody(),
)  # fmt: skip
"""What `FaultScript.by_chance` draws from: what is transient and takes no time."""


class FaultScript:
    """The faults to come; of several the first is taken: everywhere, the serial number's own, chance.

    Within each, a list is used up first, one fault a request; then what holds always. `Healthy()` in a list
    is a request that goes well. Every method adds to the script and returns it, so that calls can be chained.
    """

    def __init__(self) -> None:
        self._clear()

    def next(self, serial: str, *faults: Fault) -> "FaultScript":
        """Add faults for the next requests of a serial number, one each."""
        self._next.setdefault(serial, deque()).extend(faults)
        return self

    def always(self, serial: str, fault: Fault) -> "FaultScript":
        """Let every request of a serial number meet the fault, once its list is used up."""
        self._always[serial] = fault
        return self

    def next_everywhere(self, *faults: Fault) -> "FaultScript":
        """Add faults for the next requests, whatever they ask for."""
        self._next_everywhere.extend(faults)
        return self

    def always_everywhere(self, fault: Fault | None) -> "FaultScript":
        """Let every request meet the fault: an outage, a refused token; None ends it."""
        self._always_everywhere = fault
        return self

    def by_chance(
        self, probability: float, *, seed: int = 1, faults: Iterable[Fault] = TRANSIENT_FAULTS
    ) -> "FaultScript":
        """Let a share of the requests meet one of the faults.

        Which ones depends on seed, serial number and how often it was asked for, not on the order among
        serial numbers: the same script hits the same requests however many are under way at once.
        """
        pool = tuple(faults)
        if not 0 <= probability <= 1:
            raise ConfigurationError(f"A probability lies from 0 to 1, found {probability!r}.")
        if not pool:
            raise ConfigurationError("Chance has no faults to draw from: name at least one.")
        self._chance = (probability, seed, pool)
        return self

    def clear(self) -> None:
        """Let every request go well from now on."""
        self._clear()

    def take(self, serial: str | None) -> Fault | None:
        """Return the fault of the request that arrives now, and use it up; None if it goes well."""
        fault = self._take_scripted(serial)
        if fault is None and serial is not None:
            fault = self._draw(serial)
        return None if isinstance(fault, Healthy) else fault

    def count_left(self, serial: str) -> int:
        """Return how many faults of a serial number's list were not met yet."""
        return len(self._next.get(serial, ()))

    def to_json(self) -> dict[str, Any]:
        """Return what is still to come, as `load` takes it."""
        probability, seed, faults = self._chance
        return {
            "serials": {
                serial: {
                    "next": [fault.to_json() for fault in self._next.get(serial, ())],
                    "always": _write(self._always.get(serial)),
                }
                for serial in dict.fromkeys((*self._next, *self._always))
            },
            "everywhere": {
                "next": [fault.to_json() for fault in self._next_everywhere],
                "always": _write(self._always_everywhere),
            },
            "chance": {
                "probability": probability,
                "seed": seed,
                "faults": [fault.to_json() for fault in faults],
            },
        }

    def load(self, value: Any) -> "FaultScript":
        """Replace the script by one in JSON, each part optional; on ConfigurationError the old stays."""
        read = FaultScript()
        parts = _read_object(value, "A script", {"serials", "everywhere", "chance"})
        for serial, entry in _read_object(parts.get("serials", {}), "serials").items():
            lists = _read_object(entry, f"The script of {serial!r}", {"next", "always"})
            read.next(serial, *_read_faults(lists.get("next", [])))
            if lists.get("always") is not None:
                read.always(serial, read_fault(lists["always"]))
        everywhere = _read_object(parts.get("everywhere", {}), "everywhere", {"next", "always"})
        read.next_everywhere(*_read_faults(everywhere.get("next", [])))
        if everywhere.get("always") is not None:
            read.always_everywhere(read_fault(everywhere["always"]))
        chance = _read_object(parts.get("chance", {}), "chance", {"probability", "seed", "faults"})
        if chance:
            faults = _read_faults(chance["faults"]) if "faults" in chance else TRANSIENT_FAULTS
            probability = chance.get("probability")
            if isinstance(probability, bool) or not isinstance(probability, int | float):
                raise ConfigurationError(
                    f'"chance" needs "probability", a number from 0 to 1, found {probability!r}.'
                )
            read.by_chance(probability, seed=chance.get("seed", 1), faults=faults)
        self.__dict__.update(read.__dict__)
        return self

    def _clear(self) -> None:
        self._next: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._next_everywhere: deque[Fault] = deque()
        self._always_everywhere: Fault | None = None
        self._chance: tuple[float, int, tuple[Fault, ...]] = (0.0, 1, TRANSIENT_FAULTS)
        self._draws: Counter[str] = Counter()

    def _take_scripted(self, serial: str | None) -> Fault | None:
        if self._next_everywhere:
            return self._next_everywhere.popleft()
        if self._always_everywhere is not None:
            return self._always_everywhere
        if serial is None:
            return None
        own = self._next.get(serial)
        if not own:
            return self._always.get(serial)
        fault = own.popleft()
        if not own:
            del self._next[serial]
        return fault

    def _draw(self, serial: str) -> Fault | None:
        probability, seed, faults = self._chance
        if probability == 0:
            return None
        self._draws[serial] += 1
        dice = build_dice(seed, "fault", serial, self._draws[serial])
        return dice.choice(faults) if dice.random() < probability else None


def _write(fault: Fault | None) -> dict[str, Any] | None:
    return None if fault is None else fault.to_json()


def _read_faults(value: Any) -> list[Fault]:
    if not isinstance(value, list):
        raise ConfigurationError(f"A list of faults is expected, found {value!r}.")
    return [read_fault(fault) for fault in value]


def _read_object(value: Any, name: str, known: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} is an object, found {value!r}.")
    if known is not None and not value.keys() <= known:
        raise ConfigurationError(f"{name} holds {sorted(value.keys() - known)}; it may hold {sorted(known)}.")
    return value
