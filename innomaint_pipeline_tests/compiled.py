"""One cache of compiled statements for all databases of a test process.

Each test opens a database of its own, and SQLAlchemy would compile every statement anew for each: a quarter
of the work of the tests of `store`, `sync` and `api`. The cache asks whether two dialects are equal. Those of
a test process are: they speak to servers of one version with one set of options.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.util import LRUCache

_CACHE: LRUCache[Any, Any] = LRUCache(2000)


class EqualDialect(PGDialect_psycopg):
    """SQLAlchemy's dialect for psycopg; one is as good as another."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


def _use_one_cache(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_CACHE)


def share_compiled_statements() -> None:
    """Let the engines that are made from now on share what they compile."""
    registry.register("postgresql.psycopg", __name__, EqualDialect.__name__)
    event.listen(Engine, "engine_connect", _use_one_cache)
