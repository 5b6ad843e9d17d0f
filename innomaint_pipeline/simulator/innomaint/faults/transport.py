"""Faults of the way: another status than 200, late or missing answers, broken connections.

Belongs here: what the client's HTTP layer must survive. A 200 that ends is in `body` or `contract`.
"""

from dataclasses import dataclass
from typing import ClassVar

from innomaint_pipeline.simulator.innomaint.exchange import (
    JSON_TYPE,
    Exchange,
    Headers,
    build_retry_after,
    encode_json,
    encode_refusal,
)
from innomaint_pipeline.simulator.innomaint.faults.base import Fault, register, require

# Long enough for the client's system to hand over the first piece before the connection breaks.
_BEFORE_RESET_SECONDS = 0.05


@register
@dataclass(frozen=True, slots=True)
class Status(Fault):
    """Any final status, 200 to 599. `body` None: a JSON refusal; `location` for redirects.

    `retry_after` is seconds (as a date with `retry_after_as_date`) or, as text, sent as it is, sense or
    nonsense.
    """

    kind: ClassVar[str] = "status"
    code: int
    retry_after: int | float | str | None = None
    retry_after_as_date: bool = False
    body: str | None = None
    content_type: str = JSON_TYPE
    location: str | None = None

    def __post_init__(self) -> None:
        require(self, is_met=200 <= self.code <= 599, expectation="a final status lies between 200 and 599")

    @property
    def status_sent(self) -> int:
        """The code."""
        return self.code

    async def play(self, exchange: Exchange) -> None:
        """Send the status."""
        headers: Headers = build_retry_after(self.retry_after, as_date=self.retry_after_as_date)
        if self.location is not None:
            headers += ((b"location", self.location.encode("latin-1")),)
        body = encode_refusal(self.code) if self.body is None else self.body.encode()
        await exchange.reply(self.code, body, content_type=self.content_type, headers=headers)


@register
@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """The request is taken and never answered; with `after_headers` the headers of a 200 still come."""

    kind: ClassVar[str] = "hang"
    after_headers: bool = False

    @property
    def status_sent(self) -> int | None:
        """200 where headers are sent."""
        return 200 if self.after_headers else None

    async def play(self, exchange: Exchange) -> None:
        """Keep silent until the client gives up."""
        if self.after_headers:
            await exchange.start(200, length=2000)
            await exchange.write(b"")
        await exchange.wait_until_gone()


@register
@dataclass(frozen=True, slots=True)
class Slow(Fault):
    """The honest answer, whole, after so many seconds."""

    kind: ClassVar[str] = "slow"
    seconds: float

    def __post_init__(self) -> None:
        require(self, is_met=self.seconds >= 0, expectation="seconds are not negative")

    async def play(self, exchange: Exchange) -> None:
        """Wait, then answer honestly."""
        if not await exchange.is_gone_within(self.seconds):
            await exchange.reply_honestly()


@register
@dataclass(frozen=True, slots=True)
class Trickle(Fault):
    """A 200 whose body comes byte by byte, one each `interval_seconds`.

    Ends well, with the rest of the honest answer, after `bytes_before_end` bytes; None: never, blanks follow
    the JSON.
    """

    kind: ClassVar[str] = "trickle"
    interval_seconds: float = 0.1
    bytes_before_end: int | None = None

    def __post_init__(self) -> None:
        # Below the clock's tick the loop would never wait, and nobody else would be served.
        require(self, is_met=self.interval_seconds >= 0.001, expectation="an interval is at least 0.001 s")

    async def play(self, exchange: Exchange) -> None:
        """Send bytes until the end, or until the client gives up."""
        answer = exchange.read_answer()
        if answer is None:
            await exchange.reply_honestly()
            return
        body = encode_json(answer)
        await exchange.start(200)
        sent = 0
        while sent != self.bytes_before_end:
            await exchange.write(body[sent : sent + 1] or b" ")
            sent += 1
            if await exchange.is_gone_within(self.interval_seconds):
                return
        await exchange.write(body[sent:], more=False)


@register
@dataclass(frozen=True, slots=True)
class ResetBeforeAnswer(Fault):
    """The connection is reset before one byte of the answer."""

    kind: ClassVar[str] = "reset_before_answer"

    @property
    def status_sent(self) -> None:
        """Nothing is sent."""
        return

    async def play(self, exchange: Exchange) -> None:
        """Reset the connection."""
        await exchange.reset()


@register
@dataclass(frozen=True, slots=True)
class ResetInBody(Fault):
    """The connection is reset after the headers and some bytes of the body."""

    kind: ClassVar[str] = "reset_in_body"
    after_bytes: int = 200

    async def play(self, exchange: Exchange) -> None:
        """Send a part, then reset the connection."""
        answer = exchange.read_answer()
        if answer is None:
            await exchange.reply_honestly()
            return
        body = encode_json(answer)
        await exchange.start(200, length=len(body))
        await exchange.write(body[: self.after_bytes])
        if not await exchange.is_gone_within(_BEFORE_RESET_SECONDS):
            await exchange.reset()
