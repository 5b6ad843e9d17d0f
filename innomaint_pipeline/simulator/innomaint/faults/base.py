"""What every fault shares: it is frozen data, converts to and from JSON, and can be played on a request.

Belongs here: the base class, its registry, and the fault that is none.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar, get_type_hints

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.innomaint.exchange import Exchange, encode_json

_KINDS: "dict[str, type[Fault]]" = {}
_FaultClass = TypeVar("_FaultClass", bound="type[Fault]")


@dataclass(frozen=True, slots=True)
class Fault:
    """A way for one request to go wrong. JSON: `{"kind": …}` and the fields, those with defaults optional."""

    kind: ClassVar[str]

    @property
    def status_sent(self) -> int | None:
        """The status line that the client gets to see; None if it gets none."""
        return 200

    async def play(self, exchange: Exchange) -> None:
        """Do to the request what the fault says."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is played.")

    def to_json(self) -> dict[str, Any]:
        """Return the fault as `read_fault` takes it."""
        return {"kind": self.kind, **asdict(self)}


def register(fault: _FaultClass) -> _FaultClass:
    """Make a class of faults known to `read_fault` under its `kind`."""
    _KINDS[fault.kind] = fault
    return fault


@register
@dataclass(frozen=True, slots=True)
class Healthy(Fault):
    """No fault: within a list, this one request is answered honestly."""

    kind: ClassVar[str] = "healthy"

    async def play(self, exchange: Exchange) -> None:
        """Answer honestly."""
        await exchange.reply_honestly()


@dataclass(frozen=True, slots=True)
class AlteredAnswer(Fault):
    """A fault that alters the honest answer; 404 where there is none to alter."""

    async def play(self, exchange: Exchange) -> None:
        """Alter, encode, send."""
        answer = exchange.read_answer()
        if answer is None:
            await exchange.reply_honestly()
        else:
            await self._send(exchange, self._encode(self._alter(answer, exchange)))

    def _alter(self, answer: dict[str, Any], exchange: Exchange) -> Any:
        """Return what is sent instead of the answer, which may be changed in place."""
        del exchange
        return answer

    def _encode(self, value: Any) -> bytes:
        return encode_json(value)

    async def _send(self, exchange: Exchange, body: bytes) -> None:
        await exchange.reply(200, body)


def read_fault(value: Any) -> Fault:
    """Return the fault that `Fault.to_json` wrote; ConfigurationError says what does not fit."""
    if not isinstance(value, dict) or "kind" not in value:
        raise ConfigurationError(f'A fault is an object with "kind", found {value!r}.')
    found = _KINDS.get(str(value["kind"]))
    if found is None:
        raise ConfigurationError(
            f"No fault is called {value['kind']!r}: take one of {', '.join(sorted(_KINDS))}."
        )
    fields = {name: field for name, field in value.items() if name != "kind"}
    hints = get_type_hints(found)
    for name, field in fields.items():
        if name not in found.__dataclass_fields__:
            known = ", ".join(found.__dataclass_fields__) or "no field at all"
            raise ConfigurationError(f"The fault {found.kind!r} has no field {name!r}: it takes {known}.")
        # JSON does not tell 2 from 2.0.
        wanted = hints[name] | int if hints[name] is float else hints[name]
        if not isinstance(field, wanted):
            raise ConfigurationError(
                f"Field {name!r} of the fault {found.kind!r} is {field!r}, not {wanted}."
            )
    try:
        return found(**fields)
    except TypeError as error:
        raise ConfigurationError(f"The fault {found.kind!r} lacks a field: {error}.") from error


def require(fault: Fault, *, is_met: bool, expectation: str) -> None:
    """Raise ConfigurationError for a fault whose values make no sense."""
    if not is_met:
        raise ConfigurationError(f"The fault {fault} cannot be played: {expectation}.")
