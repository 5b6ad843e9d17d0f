"""Triggers of other programs, each of which refuses rows of a table in its own way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Place(Protocol):
    """Where statements are executed."""

    def execute(self, statement: str) -> None: ...


SPOKEN = ("42501", "55000", "0A000", "42P01", "40001", "P0001")
SILENT = "in silence"
AT_COMMIT = "at the commit"


@contextmanager
def refusing(
    place: Place, table: str, event: str, condition: str, how: str, *, name: str = "refuse"
) -> Iterator[None]:
    """Let a trigger refuse rows with an SQLSTATE, leave them out in silence, or speak at the commit."""
    if how == SILENT:
        body, kind = "return null;", f"trigger {name} before"
    else:
        code = "P0001" if how == AT_COMMIT else how
        body, kind = f"raise exception 'made' using errcode = '{code}';", f"trigger {name} before"
    deferred = ""
    if how == AT_COMMIT:
        kind, deferred = f"constraint trigger {name} after", "deferrable initially deferred"
    place.execute(
        f"create function {name}() returns trigger language plpgsql as $$ begin if {condition} then {body}"
        f" end if; return coalesce(new, old); end $$; create {kind} {event} on {table} {deferred}"
        f" for each row execute function {name}()"
    )
    try:
        yield
    finally:
        place.execute(f"drop function {name}() cascade")
