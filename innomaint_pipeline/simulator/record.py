"""The simulator's own record of the requests that reached it: the witness for rates, limits and attempts.

Belongs here: what was seen, and arithmetic on it. The record never holds a header, and so never a token.
"""

from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestStart:
    """One request as it arrived.

    `monotonic_seconds` orders requests of one process; `wall_seconds` is the Unix time. `serial` is None
    where the request named none. `status` is the status line it gets, None if it gets none. `fault` is the
    kind of a scripted fault, "rate_limit" for the simulator's own 429, else None.
    """

    monotonic_seconds: float
    wall_seconds: float
    serial: str | None
    status: int | None
    fault: str | None

    @property
    def at(self) -> datetime:
        """The time of arrival, aware, in UTC."""
        return datetime.fromtimestamp(self.wall_seconds, UTC)

    def to_json(self) -> dict[str, Any]:
        """Return the start as the control endpoint shows it."""
        return {
            "at": self.at.isoformat(),
            "monotonic_seconds": self.monotonic_seconds,
            "serial": self.serial,
            "status": self.status,
            "fault": self.fault,
        }


class RequestRecord:
    """Every request for a CMMS asset, in order of arrival; may be read from any thread at any time."""

    def __init__(self) -> None:
        self._starts: list[RequestStart] = []

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def starts(self) -> tuple[RequestStart, ...]:
        """The requests so far, a copy."""
        return tuple(self._starts)

    def add(self, start: RequestStart) -> None:
        """Append a request."""
        self._starts.append(start)

    def clear(self) -> None:
        """Forget every request."""
        self._starts = []

    def count(self, serial: str) -> int:
        """Return how many requests asked for a serial number."""
        return sum(start.serial == serial for start in self.starts)

    def count_by_serial(self) -> Counter[str | None]:
        """Return how many requests asked for each serial number."""
        return Counter(start.serial for start in self.starts)

    def max_within(self, seconds: float) -> int:
        """Return the most requests that began within any so many seconds, their end not counted."""
        window: deque[float] = deque()
        most = 0
        for moment in sorted(start.monotonic_seconds for start in self.starts):
            window.append(moment)
            while moment - window[0] >= seconds:
                window.popleft()
            most = max(most, len(window))
        return most

    def rate(self) -> float:
        """Return the requests a second, (n - 1) / (last - first); 0 for fewer than two moments."""
        moments = [start.monotonic_seconds for start in self.starts]
        seconds = max(moments) - min(moments) if moments else 0
        return (len(moments) - 1) / seconds if seconds else 0.0

    def summarize(self) -> dict[str, Any]:
        """Return counts and rates, JSON types only; `by_status` has "none" where no status line was sent."""
        starts = self.starts
        return {
            "requests": len(starts),
            "serials": len({start.serial for start in starts}),
            "by_status": dict(
                Counter("none" if start.status is None else str(start.status) for start in starts)
            ),
            "by_fault": dict(Counter(start.fault for start in starts if start.fault is not None)),
            "rate_per_second": self.rate(),
            "max_in_any_second": self.max_within(1),
        }
