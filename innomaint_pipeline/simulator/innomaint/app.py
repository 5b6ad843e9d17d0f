"""The simulated Innomaint as an ASGI application: one endpoint, and control endpoints beside it.

Belongs here: taking a request, refusing it as the vendor would, and handing it to its fault or its honest
answer. Plain ASGI, without a framework: the simulator is a peer in benchmarks, and must not be what they
measure.
"""

import json
import time
from typing import Any

from innomaint_pipeline.simulator.asgi import Message, Receive, Send, read_body
from innomaint_pipeline.simulator.innomaint.control import CONTROL_PATH, ControlledParts, control
from innomaint_pipeline.simulator.innomaint.exchange import (
    Exchange,
    build_retry_after,
    encode_json,
    encode_refusal,
)
from innomaint_pipeline.simulator.innomaint.faults import FaultScript
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import Latency, VendorLimit
from innomaint_pipeline.simulator.record import RequestRecord, RequestStart

BASE_PATH = "/api/public/api/restapicontroller"
ENDPOINT_PATH = "/assetmanagement/getAssetIDDetailByAssetID"


def build_app(
    world: World,
    faults: FaultScript | None = None,
    record: RequestRecord | None = None,
    *,
    token: str | None = None,
    latency: Latency | None = None,
    limit_per_second: int | None = None,
    retry_after: float | str | None = None,
    retry_after_as_date: bool = False,
) -> "SimulatorApp":
    """Build the application; what is not given is made, and found on the result.

    `token` None: any non-empty bearer token is right. `latency` returns the seconds before each answer
    (`limit`).
    """
    limit = VendorLimit(limit_per_second, retry_after=retry_after, retry_after_as_date=retry_after_as_date)
    # Not `or`: an empty record counts as false.
    parts = ControlledParts(
        world,
        FaultScript() if faults is None else faults,
        RequestRecord() if record is None else record,
        limit,
    )
    return SimulatorApp(parts, token=token, latency=latency)


class SimulatorApp:
    """Serves any path that ends as the vendor's does, and `/_simulator/…`; everything else is 404."""

    def __init__(self, parts: ControlledParts, *, token: str | None, latency: Latency | None) -> None:
        self.parts = parts
        self.latency = latency
        self._token = token

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise TypeError(f"The simulator serves http, not {scope['type']!r}.")
        monotonic_seconds, wall_seconds = time.monotonic(), time.time()
        path: str = scope["path"]
        body = await read_body(receive)
        exchange = Exchange(receive, send, world=self.parts.world)
        if path.startswith(CONTROL_PATH):
            status, value = control(self.parts, scope["method"], path.removeprefix(CONTROL_PATH), body)
            await exchange.reply(status, encode_json(value))
        elif not path.endswith(ENDPOINT_PATH):
            await exchange.reply(
                404, encode_refusal(404, f"The simulator has no such path; see {ENDPOINT_PATH}.")
            )
        else:
            exchange.serial, refusal = self._read_request(scope, body)
            await self._serve(exchange, refusal, monotonic_seconds, wall_seconds)

    async def _serve(
        self,
        exchange: Exchange,
        refusal: tuple[int, str] | None,
        monotonic_seconds: float,
        wall_seconds: float,
    ) -> None:
        parts, serial = self.parts, exchange.serial

        def note(status: int | None, fault: str | None = None) -> None:
            parts.record.add(RequestStart(monotonic_seconds, wall_seconds, serial, status, fault))

        if refusal is not None:
            status, message = refusal
            note(status)
            headers = ((b"allow", b"POST"),) if status == 405 else ()
            await exchange.reply(status, encode_refusal(status, message), headers=headers)
            return
        if not parts.limit.accepts(monotonic_seconds):
            note(429, "rate_limit")
            headers = build_retry_after(parts.limit.retry_after, as_date=parts.limit.retry_after_as_date)
            await exchange.reply(429, encode_refusal(429), headers=headers)
            return
        fault = parts.faults.take(serial)
        if fault is None:
            note(200 if serial is not None and serial in parts.world else 404)
        else:
            note(fault.status_sent, fault.kind)
        if self.latency is not None and await exchange.is_gone_within(self.latency()):
            return
        await (exchange.reply_honestly() if fault is None else fault.play(exchange))

    def _read_request(self, scope: Message, body: bytes) -> tuple[str | None, tuple[int, str] | None]:
        """Return the serial number asked for, if one is named, and the refusal, if there is one."""
        serial, refusal = _read_serial(body)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if scope["method"] != "POST":
            return serial, (405, "Only POST is served here.")
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token or self._token not in (None, token):
            return serial, (401, "Unauthenticated.")
        if not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
            return serial, (400, "The Content-Type is not application/json.")
        return serial, refusal


def _read_serial(body: bytes) -> tuple[str | None, tuple[int, str] | None]:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None, (400, "The body is not JSON.")
    serial = value.get("serialnumber") if isinstance(value, dict) else None
    if not isinstance(serial, str) or not serial:
        return None, (422, 'The body needs "serialnumber", a text that is not empty.')
    return serial, None
