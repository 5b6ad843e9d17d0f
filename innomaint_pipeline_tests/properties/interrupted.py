"""A database whose client dies at the n-th statement, as a killed process does: it never speaks again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from innomaint_pipeline.store.database import Database


class KilledError(BaseException):
    """Stands for the end of the process: no handler of the product is meant for it."""


@contextmanager
def dying_database(url: str, *, after_statements: int) -> Iterator[Database]:
    """Yield a database that carries out so many statements; what was not committed then is gone."""
    database = Database(url)
    left = after_statements
    counting = threading.Lock()

    def count(*_: Any) -> None:
        nonlocal left
        with counting:
            left -= 1
            if left < 0:
                raise KilledError

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        yield database
    finally:
        database.close()
