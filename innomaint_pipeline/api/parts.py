"""What the routes share: where they read, what they know of the installation, and the bounds of ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from innomaint_pipeline.api.answers import AdminError
from innomaint_pipeline.domain.pacing import SourceAccount
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Connection, Database, limit_statements

LONGEST_ID_CHARACTERS = 500
_STATEMENT_SECONDS = 20
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Parts:
    """What the service works with.

    A caller is kept waiting for `patience_seconds` while no daemon looks for requests. `sync_now` syncs one
    known CMMS asset in this process, unless `is_stopping`, which it is handed, and returns what became of it.
    `sites` are those that the settings name, for sources that have some; `settings` are those of the process,
    the defaults where none are given.
    """

    database: Database
    account: SourceAccount
    sync_now: Callable[[str, Callable[[], bool]], Any]
    dagster_url: str | None = None
    patience_seconds: float = 15.0
    poll_seconds: float = 0.5
    is_stopping: Callable[[], bool] = lambda: False
    sites: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings.model_construct)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a transaction whose statements cannot take for ever."""
        with self.database.begin() as connection:
            limit_statements(connection, _STATEMENT_SECONDS)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Do the same for an answer of several queries, which must tell of one moment."""
        with self.database.snapshot() as connection:
            limit_statements(connection, _STATEMENT_SECONDS)
            yield connection


def _parts(request: Request) -> Parts:
    return request.app.state.parts


PartsOf = Annotated[Parts, Depends(_parts)]


def check_text(text: str, name: str, *, status: int) -> str:
    """Return a text that the database can hold; raise for others, and for those that are too long."""
    if len(text) > LONGEST_ID_CHARACTERS or _UNSTORABLE.search(text):
        raise AdminError(
            status, f"{name}: expected at most {LONGEST_ID_CHARACTERS} characters that text can hold"
        )
    return text


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a query parameter that the address does not know, or knows once: a typing error must be told."""
    route = request.scope.get("route")
    known = {field.alias for field in route.dependant.query_params} if route is not None else set()
    given = [name for name, _ in request.query_params.multi_items()]
    unknown = sorted(set(given) - known)
    if unknown:
        expected = ", ".join(sorted(known)) or "none"
        raise AdminError(400, f"unknown parameters ({len(unknown)}); known here: {expected}")
    if len(given) != len(set(given)):
        raise AdminError(400, "a parameter is given twice; give each once")
