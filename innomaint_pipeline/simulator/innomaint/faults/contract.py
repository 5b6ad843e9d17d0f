"""Faults of the contract: readable JSON in a 200 that is not the answer asked for.

Belongs here: what the client's checks of shape and meaning must catch. Unreadable bytes are `body`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from innomaint_pipeline.simulator.innomaint.exchange import Exchange, encode_json, encode_with_escapes
from innomaint_pipeline.simulator.innomaint.faults.base import AlteredAnswer, register, require

_ODD_VALUES: dict[str, Any] = {
    "nul": "90\x00KW",
    "surrogate": "90\ud800KW",
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus_infinity": float("-inf"),
}


@register
@dataclass(frozen=True, slots=True)
class StatusFalse(AlteredAnswer):
    """`status: false` inside a 200; everything else is in order."""

    kind: ClassVar[str] = "status_false"

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        return answer | {"status": False, "message": "This request could not be processed."}


@register
@dataclass(frozen=True, slots=True)
class ResponseCode(AlteredAnswer):
    """A `response_code` other than 200 inside a 200; everything else is in order."""

    kind: ClassVar[str] = "response_code"
    code: int = 500

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        return answer | {"response_code": self.code}


@register
@dataclass(frozen=True, slots=True)
class NullResponse(AlteredAnswer):
    """`response: null`."""

    kind: ClassVar[str] = "null_response"

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        return answer | {"response": None}


@register
@dataclass(frozen=True, slots=True)
class DataEmptyList(AlteredAnswer):
    """`data: []`."""

    kind: ClassVar[str] = "data_empty_list"

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        return answer | {"response": answer["response"] | {"data": []}}


@register
@dataclass(frozen=True, slots=True)
class DataEmptyObject(AlteredAnswer):
    """`data: {}`."""

    kind: ClassVar[str] = "data_empty_object"

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        return answer | {"response": answer["response"] | {"data": {}}}


@register
@dataclass(frozen=True, slots=True)
class ListForObject(AlteredAnswer):
    """A list of one object where the object itself belongs.

    `place` is "answer" (the whole), "response", or the name of a section in it.
    """

    kind: ClassVar[str] = "list_for_object"
    place: str = "data"

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        if self.place == "answer":
            return [answer]
        holder = answer if self.place == "response" else answer["response"]
        holder[self.place] = [holder.get(self.place)]
        return answer


@register
@dataclass(frozen=True, slots=True)
class OtherSerial(AlteredAnswer):
    """A complete, honest answer under another serial number: `serial`, or by None the next one in the report.

    If the world does not know that one (or is a world of one), the answer asked for is sent with only its
    number changed.
    """

    kind: ClassVar[str] = "other_serial"
    serial: str | None = None

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        asked = str(exchange.serial)
        serial = self.serial or exchange.world.find_next_serial(asked)
        other = exchange.world.answer(serial)
        if other is not None and serial != asked:
            return other
        answer["response"]["data"]["serialnumber"] = serial if serial != asked else f"{asked} (other)"
        return answer


@register
@dataclass(frozen=True, slots=True)
class OddValue(AlteredAnswer):
    """A value in `data` that Python's JSON accepts and a database may not.

    `value`: "nul" and "surrogate" (text with an escaped NUL, with a lone surrogate), "nan", "infinity" and
    "minus_infinity" (bare words). `field`: where it is put.
    """

    kind: ClassVar[str] = "odd_value"
    value: str = "nul"
    field: str = "capacity_rating"

    def __post_init__(self) -> None:
        require(
            self,
            is_met=self.value in _ODD_VALUES,
            expectation=f"the value is one of {', '.join(_ODD_VALUES)}",
        )

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        del exchange
        answer["response"]["data"][self.field] = _ODD_VALUES[self.value]
        return answer

    def _encode(self, value: Any) -> bytes:
        return encode_with_escapes(value)


@register
@dataclass(frozen=True, slots=True)
class DuplicateKeys(AlteredAnswer):
    """`data` names a field twice: first with `first`, later with its honest value."""

    kind: ClassVar[str] = "duplicate_keys"
    field: str = "criticality"
    first: str = "Duplicate"

    def _encode(self, value: Any) -> bytes:
        duplicate = encode_json({self.field: self.first})[1:-1]
        return encode_json(value).replace(b'"data":{', b'"data":{' + duplicate + b",", 1)
