"""The simulated Maximo as an ASGI application: object structures, whoami, native login, control endpoints.

Belongs here: taking a request, refusing it as Maximo would, sending the answer or the fault. What a query of
an object structure finds is in `collection`.

Under `/_simulator/`: `GET requests`, `GET` and `POST faults`, `POST behaviour`, `POST change` (`structure`,
`id`, `values`; without values the row is removed), `POST reset`.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.asgi import Message, Receive, Send, read_body
from innomaint_pipeline.simulator.limit import Latency
from innomaint_pipeline.simulator.maximo.collection import CollectionQuery
from innomaint_pipeline.simulator.maximo.faults import Behaviour, Fault, FaultScript
from innomaint_pipeline.simulator.maximo.query import OffsetRefusedError, QueryError
from innomaint_pipeline.simulator.maximo.world import IDS, World

CONTEXT = "/maximo"
CONTROL_PATH = "/_simulator/"
_LOGIN_PAGE = b"<!DOCTYPE html><html><title>Login</title><form action='j_security_check'></form></html>"
_ROUTES = ("api", "oslc")
LONG_NUMBER = b"987654321987654321"
_SESSION = "JSESSIONID=0000simulated"
_USER, _PASSWORD = "maxadmin", "canary-token-native-password"  # invented


@dataclass(frozen=True)
class Asked:
    """One request as it arrived, without its headers; `fault` is the kind of a scripted fault."""

    wall_seconds: float
    structure: str
    parameters: tuple[tuple[str, str], ...]
    status: int | None
    fault: str | None
    has_cookie: bool
    has_key: bool

    def value(self, name: str) -> str | None:
        """Return a parameter."""
        return dict(self.parameters).get(name)


@dataclass
class MaximoApp:
    """The application; its parts may be changed at any time."""

    world: World
    key: str | None = None
    faults: FaultScript = field(default_factory=FaultScript)
    behaviour: Behaviour = field(default_factory=Behaviour)
    record: list[Asked] = field(default_factory=list)
    latency: Latency | None = None
    default_site: str | None = "KDFAC"
    insert_site: str | None = "KDFAC"
    on_page: Callable[[str, int], None] | None = None
    """Told the structure and how many pages of it were sent, before each page: rows may change meanwhile."""
    long_number: str | None = None
    """Digits that stand for `LONG_NUMBER` in answers: more than Python writes."""
    has_other_key: bool = False
    refuses_second_key: bool = True
    made_keys: list[str] = field(default_factory=list)
    pages: dict[str, int] = field(default_factory=dict)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise TypeError(f"The simulator serves http, not {scope['type']!r}.")
        body = await read_body(receive)
        path: str = scope["path"]
        parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if path.startswith(CONTROL_PATH):
            status, value = self._control(path.removeprefix(CONTROL_PATH), scope["method"], body)
            await _reply(send, status, _encode(value), self._headers())
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        parts = path.removeprefix(CONTEXT).strip("/").split("/")
        name = parts[2] if len(parts) > 2 and parts[1] == "os" else "/".join(parts[1:])
        fault = self.faults.take(name)
        if self.latency is not None:
            await asyncio.sleep(self.latency())
        if fault is not None:
            self._note(
                name, parameters, headers, fault.status if fault.kind == "status" else None, fault.kind
            )
            await self._play(fault, send)
            return
        status, value, extra = self._answer(parts, parameters, headers, scope["method"], body)
        self._note(name, parameters, headers, status, None)
        content = value if isinstance(value, bytes) else _encode(value)
        if self.long_number is not None:
            content = content.replace(LONG_NUMBER, self.long_number.encode())
        kind = b"text/html" if isinstance(value, bytes) else b"application/json"
        await _reply(send, status, content, [*self._headers(), *extra], kind)

    def _note(
        self,
        name: str,
        parameters: list[tuple[str, str]],
        headers: dict[str, str],
        status: int | None,
        fault: str | None,
    ) -> None:
        self.record.append(
            Asked(
                time.time(), name, tuple(parameters), status, fault, "cookie" in headers, "apikey" in headers
            )
        )

    def _headers(self) -> list[tuple[bytes, bytes]]:
        moment = datetime.now(UTC) + timedelta(seconds=self.behaviour.clock_error_seconds)
        return [
            (b"date", format_datetime(moment, usegmt=True).encode()),
            (b"set-cookie", f"{_SESSION}; Path=/; HttpOnly".encode()),
        ]

    def _error(self, status: int, code: str, message: str) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        if self.behaviour.sends_prefixed_errors:
            inner = {
                "oslc:message": message,
                "spi:reasonCode": code,
                "oslc:statusCode": str(status),
            }
            return status, {"oslc:Error": inner}, []
        return status, {"Error": {"message": message, "reasonCode": code, "statusCode": str(status)}}, []

    def _answer(  # noqa: PLR0911 # a refusal a line
        self,
        parts: list[str],
        parameters: list[tuple[str, str]],
        headers: dict[str, str],
        method: str,
        body: bytes,
    ) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        if parts[0] not in _ROUTES:
            return 404, b"<html>not found</html>", []
        if parts[1:] in (["login"], ["logout"], ["apitoken", "create"]):
            return self._log_in(parts[1:], headers, body)
        if self.behaviour.login_page == "html":
            return 200, _LOGIN_PAGE, []
        if self.behaviour.login_page == "redirect":
            return 302, b"", [(b"location", b"/maximo/webclient/login/login.jsp")]
        if "cookie" in headers:
            return self._error(401, "BMXAA7901E", "You cannot log in at this time.")
        if headers.get("apikey") not in self._keys():
            return self._error(400, "BMXAA9549E", "The API key is not valid.")
        if parts[1:] == ["apitoken", "revoke"] and method == "POST":
            self.made_keys = [item for item in self.made_keys if item != headers["apikey"]]
            self.key = None if self.key == headers["apikey"] else self.key
            return 200, {}, []
        if parts[1:] == ["whoami"]:
            user = {"userName": _USER, "defaultSite": self.default_site, "insertSite": self.insert_site}
            return 200, {**user, "querywithsite": True}, []
        if len(parts) == 3 and parts[1] == "os" and parts[2] in IDS:
            return self._collection(parts[2], dict(parameters))
        return self._error(404, "BMXAA9301E", "The object structure is not there.")

    def _keys(self) -> set[str | None]:
        return {self.key, *self.made_keys} - {None}

    def _log_in(  # noqa: PLR0911 # a refusal a line
        self, parts: list[str], headers: dict[str, str], body: bytes
    ) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        if not self.behaviour.has_native_login:
            return 302, b"", [(b"location", b"https://sso.example/login")]
        if parts == ["login"]:
            expected = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
            if headers.get("maxauth") != expected:
                return self._error(401, "BMXAA7901E", "You cannot log in at this time.")
            return 200, {"userName": _USER}, []
        if _SESSION not in headers.get("cookie", ""):
            return self._error(401, "BMXAA7901E", "You are not logged in.")
        if parts == ["logout"]:
            return 200, {}, []
        if not isinstance(json.loads(body or b"{}").get("expiration"), int):
            return self._error(400, "BMXAA0000E", "The expiration is not a number.")
        if self.has_other_key and self.refuses_second_key:
            return self._error(400, "BMXAA10051E", "The user has an API key.")
        made = f"canary-token-made-{len(self.made_keys) + 1}"
        self.made_keys.append(made)
        self.has_other_key = True
        return 200, {"apikey": made}, []

    # collections

    def _collection(
        self, name: str, parameters: dict[str, str]
    ) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        query = CollectionQuery(self.world, self.behaviour, name, parameters)
        if not query.is_count:
            self.pages[name] = self.pages.get(name, 0) + 1
            if self.on_page is not None:
                self.on_page(name, self.pages[name])
            if query.is_too_large:
                return self._error(self.behaviour.too_large_status, "BMXAA0000E", "The page is too large.")
        try:
            value, headers = query.answer(shuffle=len(self.record))
        except OffsetRefusedError:
            return self._error(400, "BMXAA4179E", "The date is not valid.")
        except QueryError:
            return self._error(400, "BMXAA8744E", "The query cannot be parsed.")
        return 200, value, headers

    # what is wrong, and control

    async def _play(self, fault: Fault, send: Send) -> None:
        headers = self._headers()
        if fault.retry_after is not None:
            headers.append((b"retry-after", fault.retry_after.encode()))
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
            return
        if fault.kind == "break_off":
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]}
            )
            await send({"type": "http.response.body", "body": b'{"mem', "more_body": True})
            return
        if fault.kind == "error":
            status, value, _ = self._error(fault.status, fault.code, "A scripted error.")
            await _reply(send, status, _encode(value), headers)
            return
        content = {
            "html": _LOGIN_PAGE,
            "redirect": b"",
            "cut_off": b'{"member":[{"assetuid":1,',
            "not_json": b"Service unavailable",
        }.get(fault.kind, b"")
        status = {"html": 200, "redirect": 302, "cut_off": 200, "not_json": 200}.get(fault.kind, fault.status)
        kind = b"text/html" if fault.kind in {"html", "redirect"} else b"application/json"
        await _reply(send, status, content, headers, kind)

    def _control(  # noqa: PLR0911 # an address a line
        self, name: str, method: str, body: bytes
    ) -> tuple[int, Any]:
        try:
            value = json.loads(body) if body else None
            if name == "requests" and method == "GET":
                return 200, {"requests": [asdict(item) for item in self.record]}
            if name == "faults":
                if method == "POST":
                    self.faults.load(value)
                return 200, self.faults.to_json()
            if name == "behaviour" and method == "POST":
                self.behaviour.load(value)
                return 200, asdict(self.behaviour)
            if name == "change" and method == "POST":
                return 200, self._change(value)
            if name == "reset" and method == "POST":
                self.faults.clear()
                self.record.clear()
                self.pages.clear()
                self.behaviour = Behaviour()
                return 200, {"status": "reset"}
        except (ConfigurationError, ValueError) as error:
            return 400, {"error": str(error)}
        return 404, {"error": "There are requests, faults, behaviour, change and reset."}

    def _change(self, value: Any) -> Any:
        try:
            structure, identifier = value["structure"], value["id"]
            if "values" not in value:
                return self.world.remove(structure, identifier)
            return self.world.change(structure, identifier, **value["values"])
        except (KeyError, TypeError) as error:
            raise ConfigurationError(f"A change names structure, id and values: {error!r}.") from error


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _reply(
    send: Send,
    status: int,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
    kind: bytes = b"application/json",
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-type", kind), length],
        }
    )
    await send({"type": "http.response.body", "body": body})
