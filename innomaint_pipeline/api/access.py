"""Who may ask: the admin token, the page's session, and the limit on wrong tokens.

A right token is refused only while its client, or a client that never had it right, is over the limit: for a
minute at most, because refused attempts count for nothing. A signed session is not subject to it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import SecretStr

SESSION_SECONDS = 7 * 24 * 3600
WINDOW_SECONDS = 60.0
WRONG_PER_CLIENT = 10
WRONG_OVERALL = 200
_REMEMBERED_CLIENTS = 1000

Value = TypeVar("Value")


@dataclass
class _Window:
    began_at: float = 0.0
    wrong: int = 0


class WrongTokenLimit:
    """Counts wrong tokens in windows of a minute, for each client and for all that never had a right one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._clients: OrderedDict[str, _Window] = OrderedDict()
        self._overall = _Window()
        self._known: OrderedDict[str, None] = OrderedDict()

    def _current(self, window: _Window) -> _Window:
        now = self._clock()
        if now - window.began_at >= WINDOW_SECONDS:
            window.began_at, window.wrong = now, 0
        return window

    def refused_seconds(self, client: str) -> float:
        """Return for how long a client's tokens are not looked at, 0 when they are."""
        own = self._current(self._clients.get(client, _Window()))
        overall = self._current(self._overall)
        if own.wrong >= WRONG_PER_CLIENT:
            return own.began_at + WINDOW_SECONDS - self._clock()
        if overall.wrong >= WRONG_OVERALL and client not in self._known:
            return overall.began_at + WINDOW_SECONDS - self._clock()
        return 0.0

    def note(self, client: str, *, is_right: bool) -> None:
        """Count a token that was looked at."""
        if is_right:
            _remember(self._known, client, None)
            return
        window = self._current(self._clients.get(client, _Window()))
        window.wrong += 1
        _remember(self._clients, client, window)
        self._current(self._overall).wrong += 1


def _remember(entries: OrderedDict[str, Value], key: str, value: Value) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > _REMEMBERED_CLIENTS:
        entries.popitem(last=False)


class Access:
    """Compares tokens in constant time, and signs the page's sessions with a key made from the token.

    A signed session outlives a restart of the service, ends with the token, and does not tell it.
    """

    def __init__(self, token: SecretStr, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._token = token.get_secret_value().encode()
        self._key = hashlib.sha256(b"innomaint session\0" + self._token).digest()
        self._wall_clock = wall_clock
        self._ended: OrderedDict[str, None] = OrderedDict()
        self.limit = WrongTokenLimit()

    def is_right(self, given: str, client: str) -> bool:
        """Tell whether a token is the admin token, and count it if not."""
        is_right = hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token)
        self.limit.note(client, is_right=is_right)
        return is_right

    def open_session(self) -> str:
        """Return a new session: when it ends, a random part, and the signature of both."""
        content = f"{self._wall_clock() + SESSION_SECONDS:.0f}.{secrets.token_urlsafe(18)}"
        return f"{content}.{self._sign(content)}"

    def is_session(self, value: str) -> bool:
        """Tell whether a cookie is a session that was opened here and has not ended."""
        content, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), self._sign(content).encode()):
            return False
        return value not in self._ended and float(content.partition(".")[0]) > self._wall_clock()

    def end_session(self, value: str) -> None:
        """End a session before its time."""
        if self.is_session(value):
            _remember(self._ended, value, None)

    def _sign(self, content: str) -> str:
        return hmac.new(self._key, content.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
