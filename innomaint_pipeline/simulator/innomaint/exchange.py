"""One request under way: what an answer, honest or faulty, needs in order to be sent.

Belongs here: ASGI messages and the reach below them, down to the TCP connection. Which answer is sent is
decided in `app` and `faults`.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from innomaint_pipeline.simulator.asgi import Receive, Send
from innomaint_pipeline.simulator.innomaint.world import World

Headers = tuple[tuple[bytes, bytes], ...]

JSON_TYPE = "application/json"
_SERVER = (b"server", b"innomaint-simulator")
_WITHOUT_BODY = frozenset({204, 304})
_PHRASES = {int(status): status.phrase for status in HTTPStatus}

encode_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode_json(value: Any) -> bytes:
    """Encode as the vendor's server does: compact UTF-8."""
    return encode_text(value).encode()


def encode_with_escapes(value: Any) -> bytes:
    """Encode in ASCII: NUL and lone surrogates as escapes, NaN and the infinities as bare words."""
    return json.dumps(value, separators=(",", ":")).encode()


def encode_refusal(status: int, message: str | None = None) -> bytes:
    """Encode the body of an error; invented, since no error body of the vendor is known."""
    if message is None:
        message = _PHRASES.get(status, f"Status {status}")
    return encode_json({"status": False, "response_code": status, "message": message})


def build_retry_after(value: float | str | None, *, as_date: bool = False) -> Headers:
    """Return the header `Retry-After`, or none for None.

    A number is sent as seconds, or as the HTTP date so many seconds ahead; text is sent as it is. A date is
    rounded up to its next whole second, so that nobody who obeys it comes too early.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        text = value
    elif as_date:
        text = format_datetime(datetime.now(UTC) + timedelta(seconds=value + 1), usegmt=True)
    else:
        text = f"{value:g}"
    return ((b"retry-after", text.encode("latin-1")),)


class Exchange:
    """A request on its way to an answer; `serial` is None where its body named none."""

    __slots__ = ("_receive", "_send", "serial", "world")

    def __init__(self, receive: Receive, send: Send, *, world: World, serial: str | None = None) -> None:
        self._receive = receive
        self._send = send
        self.world = world
        self.serial = serial

    def read_answer(self) -> dict[str, Any] | None:
        """Return the honest answer, made now; None if Innomaint does not know the serial number."""
        return None if self.serial is None else self.world.answer(self.serial)

    async def reply_honestly(self) -> None:
        """Send the honest answer, or 404."""
        answer = self.read_answer()
        if answer is None:
            await self.reply(404, encode_refusal(404, "No CMMS asset has this serial number."))
        else:
            await self.reply(200, encode_json(answer))

    async def reply(
        self, status: int, body: bytes, *, content_type: str = JSON_TYPE, headers: Headers = ()
    ) -> None:
        """Send a whole answer with its true Content-Length; 204 and 304 have no body in HTTP."""
        if status in _WITHOUT_BODY:
            body = b""
        await self.start(status, content_type=content_type, length=len(body), headers=headers)
        await self._send({"type": "http.response.body", "body": body})

    async def start(
        self, status: int, *, content_type: str = JSON_TYPE, length: int | None = None, headers: Headers = ()
    ) -> None:
        """Send the status line and the headers; without a length the body goes in chunks."""
        lines = [_SERVER, (b"content-type", content_type.encode("latin-1")), *headers]
        if length is not None:
            lines.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a piece of the body after `start`."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def is_gone_within(self, seconds: float) -> bool:
        """Wait so long; True at once if the client leaves or the server stops: then nothing can be sent."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), rest)
            except TimeoutError:
                return False
            if message["type"] == "http.disconnect":
                return True
        return False

    async def wait_until_gone(self) -> None:
        """Wait until the client leaves or the server stops."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def close(self) -> None:
        """Close the connection in an orderly way, whatever was promised; what was written arrives."""
        self._find_transport().close()
        await self.wait_until_gone()

    async def reset(self) -> None:
        """Abort the connection: the client's system sees a TCP reset, not an end."""
        transport = self._find_transport()
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
        await self.wait_until_gone()

    def _find_transport(self) -> asyncio.Transport:
        # ASGI knows no way to break a connection; uvicorn's `send` is bound to the cycle that holds the
        # transport.
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(
                "A fault that breaks connections needs a real one: run the simulator with SimulatorServer, "
                f"not with {type(self._send).__name__!r} as send."
            )
        return transport
