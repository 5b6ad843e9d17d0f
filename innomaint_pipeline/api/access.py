"""Who may ask: the admin token, the page's session, and the limit on wrong tokens.

The right token and a session always work, whoever else at the same address guesses.
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

SESSION_COOKIE = "innomaint_session"
SESSION_SECONDS = 7 * 24 * 3600
WINDOW_SECONDS = 60.0
WRONG_PER_CLIENT = 10
_REMEMBERED_CLIENTS = 1000

Value = TypeVar("Value")


@dataclass
class _Window:
    began_at: float = -WINDOW_SECONDS
    wrong: int = 0


class WrongTokenLimit:
    """Counts the wrong tokens of each client in windows of a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._clients: OrderedDict[str, _Window] = OrderedDict()

    def count_wrong(self, client: str) -> float:
        """Count a wrong token; return for how long the client is over the limit, 0 while it is not."""
        now = self._clock()
        window = self._clients.get(client, _Window())
        if now - window.began_at >= WINDOW_SECONDS:
            window = _Window(now)
        window.wrong += 1
        _remember(self._clients, client, window)
        return window.began_at + WINDOW_SECONDS - now if window.wrong > WRONG_PER_CLIENT else 0.0


def _remember(entries: OrderedDict[str, Value], key: str, value: Value) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > _REMEMBERED_CLIENTS:
        entries.popitem(last=False)


class Access:
    """Compares tokens in constant time, and signs the page's sessions with a key made from the token.

    A signed session outlives a restart of the service, ends with the token, and does not tell it. Its cookie
    is named after the account: a browser gives the cookies of a host to every port of it.
    """

    def __init__(
        self,
        token: SecretStr,
        *,
        account: str | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.cookie = SESSION_COOKIE if account is None else f"{SESSION_COOKIE}_{account}"
        self._token = token.get_secret_value().encode()
        self._key = hashlib.sha256(b"innomaint session\0" + self._token).digest()
        self._wall_clock = wall_clock
        self._ended: OrderedDict[str, None] = OrderedDict()
        self.limit = WrongTokenLimit()

    def is_right(self, given: str) -> bool:
        """Tell whether a token is the admin token."""
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token)

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
