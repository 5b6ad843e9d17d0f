"""What every request passes first: host, size, who asks; and what every answer carries.

Outside of the routes, so that a new one cannot forget it.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innomaint_pipeline.api.access import Access
from innomaint_pipeline.api.answers import AdminError, fault

logger = logging.getLogger(__name__)
access_log = logging.getLogger("innomaint_pipeline.api.access")

LARGEST_BODY_BYTES = 16 * 1024
WITHOUT_TOKEN = {"/healthz", "/readyz", "/sync"}
SESSION_PATH = "/sync/session"
STATIC_PREFIX = "/sync/static/"
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_WILDCARDS = {"0.0.0.0", "::"}  # noqa: S104 # compared, not bound
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Guard:
    """Stands before the application."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        *,
        host: str,
        trusted_proxies: Sequence[Network] = (),
        count: Callable[[Scope, int, float], None],
    ) -> None:
        self.app = app
        self._access = access
        self._count = count
        self._trusted_proxies = trusted_proxies
        self._names = {*_LOOPBACK_NAMES, host.lower()}
        # Nobody knows by which names a machine is reached; an address in figures cannot be rebound.
        self._takes_addresses = host in _WILDCARDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send)
        began = time.monotonic()
        try:
            try:
                self._check(scope)
                await self.app(scope, await _read_whole(receive), answer.send)
            except AdminError as error:
                await answer.fail(error, scope, receive)
            except Exception:  # whatever it is, the client gets JSON and the log gets the traceback
                logger.exception("%s failed", scope["path"])
                await answer.fail(fault(), scope, receive)
        finally:
            seconds = time.monotonic() - began
            self._count(scope, answer.status, seconds)
            # As it was sent: percent signs keep control characters out of the log; no query, which may tell.
            path = (scope.get("raw_path") or scope["path"].encode()).split(b"?")[0].decode("ascii", "replace")
            client = scope.get("state", {}).get("client", "unknown")
            access_log.info(
                "%s %s %s %d %.0f ms", client, scope["method"], path[:300], answer.status, seconds * 1000
            )

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        scope.setdefault("state", {}).update(self._find_caller(scope, headers))
        if not scope["state"]["is_proxied"]:
            self._check_host(headers.get("host", ""))
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
            raise _too_large()
        path, method = scope["path"], scope["method"]
        if path == SESSION_PATH and method == "POST":
            if "origin" in headers:
                self._check_origin(scope, headers)
        elif not (path in WITHOUT_TOKEN or path.startswith(STATIC_PREFIX)):
            self._check_access(scope, headers)

    def _find_caller(self, scope: Scope, headers: Headers) -> dict[str, Any]:
        """Return who asks, and under which address: a proxy that is trusted tells whom it forwards."""
        client = scope["client"][0] if scope.get("client") else "unknown"
        is_proxied = self._is_trusted(client)
        scheme, host = scope["scheme"], headers.get("host", "")
        if is_proxied:
            scheme = headers.get("x-forwarded-proto", scheme)
            host = headers.get("x-forwarded-host", host)
            # Each proxy adds the address that it saw; what stands before those of trusted ones anybody wrote.
            for address in reversed(headers.get("x-forwarded-for", "").split(",")):
                if not self._is_trusted(client):
                    break
                client = address.strip() or client
        return {"client": client, "is_proxied": is_proxied, "own_address": f"{scheme}://{host}"}

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted_proxies)

    def _check_host(self, given: str) -> None:
        try:
            name = urlsplit(f"//{given}").hostname or ""
        except ValueError:
            name = ""
        if name in self._names or (self._takes_addresses and _is_address(name)):
            return
        raise AdminError(
            400, "this service does not go by that host name; use the address that innomaint up prints"
        )

    def _check_access(self, scope: Scope, headers: Headers) -> None:
        client = scope["state"]["client"]
        given = headers.get("authorization")
        if given is not None:
            kind, _, token = given.partition(" ")
            check_token(self._access, token.strip() if kind.lower() == "bearer" else "", client)
            scope["state"]["asked_by"] = f"admin service {client}"
            return
        session = Request(scope).cookies.get(self._access.cookie)
        if session is None or not self._access.is_session(session):
            raise unauthorized(
                "this needs the admin token: send Authorization: Bearer <INNOMAINT_ADMIN_TOKEN>, "
                "or sign in at /sync"
            )
        if scope["method"] not in _SAFE_METHODS:
            self._check_origin(scope, headers)
        scope["state"]["asked_by"] = "page"

    @staticmethod
    def _check_origin(scope: Scope, headers: Headers) -> None:
        """Refuse what another site makes a browser send; the cookie alone does not tell."""
        site = headers.get("sec-fetch-site")
        own = scope["state"]["own_address"]
        is_own = site == "same-origin" if site is not None else headers.get("origin") == own
        if "origin" in headers and headers["origin"] != own:
            is_own = False
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not is_own or kind != "application/json":
            raise unauthorized(
                "with the page's session a change must come from the page itself, as application/json; "
                "programs send Authorization: Bearer <INNOMAINT_ADMIN_TOKEN>"
            )


def check_token(access: Access, token: str, client: str) -> None:
    """Raise unless a token is right: 401, or 429 where its client has sent too many wrong ones."""
    if access.is_right(token):
        return
    seconds = access.limit.count_wrong(client)
    if seconds > 0:
        raise AdminError(
            429,
            f"too many wrong tokens came from this address: send the right one, or wait {seconds:.0f} s",
            headers={"Retry-After": str(int(seconds) + 1)},
        )
    raise unauthorized("the admin token is wrong: use that of INNOMAINT_ADMIN_TOKEN, or the printed link")


def unauthorized(message: str) -> AdminError:
    """Return the answer to who may not ask."""
    return AdminError(401, message, headers={"WWW-Authenticate": "Bearer"})


def _too_large() -> AdminError:
    return AdminError(413, f"the body is too large: send at most {LARGEST_BODY_BYTES} bytes")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _read_whole(receive: Receive) -> Receive:
    """Read a body, which is small here, and return what gives it once more, as one piece."""
    body, has_more = b"", True
    while has_more:
        message = await receive()
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
        if len(body) > LARGEST_BODY_BYTES:
            raise _too_large()
    is_given = False

    async def give() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


class _Answer:
    """The answer under way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def fail(self, error: AdminError, scope: Scope, receive: Receive) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.status == 0:
            await error.to_response()(scope, receive, self.send)
