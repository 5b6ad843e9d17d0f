"""The vendor's side of pacing: how long an answer takes, and when there are too many requests.

Belongs here: latencies and the simulated vendor's rate limit.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.dice import build_dice

Latency = Callable[[], float]
"""Returns the seconds that the next answer takes."""


def build_fixed_latency(seconds: float) -> Latency:
    """Return a latency that is always the same."""
    return lambda: seconds


def build_exponential_latency(mean_seconds: float, *, seed: int = 1) -> Latency:
    """Return exponentially distributed latencies: many short, a few several times the mean."""
    dice = build_dice(seed, "latency")
    return lambda: dice.expovariate(1 / mean_seconds)


class VendorLimit:
    """At most `per_second` accepted requests within any second; a refused one does not count.

    None: no limit. `retry_after` and `retry_after_as_date` say what the 429 carries, as in `faults.Status`.
    """

    def __init__(
        self,
        per_second: int | None = None,
        *,
        retry_after: float | str | None = None,
        retry_after_as_date: bool = False,
    ) -> None:
        if per_second is not None and per_second < 1:
            raise ConfigurationError(
                f"A limit of {per_second} requests a second answers nobody: give 1 or more, or none."
            )
        self.per_second = per_second
        self.retry_after = retry_after
        self.retry_after_as_date = retry_after_as_date
        self._accepted: deque[float] = deque()

    def accepts(self, monotonic_seconds: float) -> bool:
        """Return whether a request that begins now is within the limit, and count it if it is."""
        if self.per_second is None:
            return True
        while self._accepted and monotonic_seconds - self._accepted[0] >= 1:
            self._accepted.popleft()
        if len(self._accepted) >= self.per_second:
            return False
        self._accepted.append(monotonic_seconds)
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the limit as `read_limit` takes it."""
        return {
            "per_second": self.per_second,
            "retry_after": self.retry_after,
            "retry_after_as_date": self.retry_after_as_date,
        }


def read_limit(value: Any) -> VendorLimit:
    """Return the limit in a JSON object with the names of `VendorLimit.to_json`, each optional."""
    names = {"per_second": int | None, "retry_after": int | float | str | None, "retry_after_as_date": bool}
    if not isinstance(value, dict) or not value.keys() <= names.keys():
        raise ConfigurationError(f"A limit is an object that may hold {', '.join(names)}, found {value!r}.")
    for name, field in value.items():
        if not isinstance(field, names[name]) or (name != "retry_after_as_date" and isinstance(field, bool)):
            raise ConfigurationError(f"{name!r} of a limit is {field!r}, not {names[name]}.")
    fields = dict(value)
    return VendorLimit(fields.pop("per_second", None), **fields)
