"""Writing many at once: what a refused row, a deadlock and a failing server cost."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, text

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.rows import write_splitting


@pytest.fixture
def numbers(empty_database: Database) -> Database:
    """A database with a table of numbers that takes none above 99."""
    with empty_database.begin() as connection:
        connection.execute(text("create table numbers (number integer check (number < 100))"))
    return empty_database


class Writer:
    """Writes numbers; the first transactions fail with the given SQLSTATEs."""

    def __init__(self, *failures: str) -> None:
        self.sizes: list[int] = []
        self.refused: list[int] = []
        self._failures = list(failures)

    def write(self, connection: Connection, items: Sequence[int]) -> None:
        self.sizes.append(len(items))
        connection.execute(text("insert into numbers values (:number)"), [{"number": item} for item in items])
        if self._failures:
            code = self._failures.pop(0)
            connection.execute(text(f"do $$ begin raise exception 'made' using errcode = '{code}'; end $$"))

    def refuse(self, item: int, error: str) -> None:
        assert error
        self.refused.append(item)


def stored(database: Database) -> list[int]:
    with database.begin() as connection:
        return list(connection.execute(text("select number from numbers order by number")).scalars())


def test_good_rows_are_written_in_one_transaction(numbers: Database) -> None:
    writer = Writer()
    assert write_splitting(numbers, range(20), writer.write, writer.refuse) == 20
    assert writer.sizes == [20]
    assert stored(numbers) == list(range(20))


def test_bad_rows_are_found_and_refused_one_by_one(numbers: Database) -> None:
    writer = Writer()
    items = [1, 2, 300, 4, 5, 6, 7, 800, 9]
    assert write_splitting(numbers, items, writer.write, writer.refuse) == 7
    assert writer.refused == [300, 800]
    assert stored(numbers) == [1, 2, 4, 5, 6, 7, 9]


def test_nothing_to_write_opens_no_transaction(numbers: Database) -> None:
    writer = Writer()
    assert write_splitting(numbers, [], writer.write, writer.refuse) == 0
    assert writer.sizes == []


@pytest.mark.parametrize("code", ["40P01", "40001"])
def test_a_deadlock_is_repeated_whole_and_refuses_nobody(numbers: Database, code: str) -> None:
    writer = Writer(code, code, code)
    assert write_splitting(numbers, [1, 2, 3], writer.write, writer.refuse) == 3
    assert writer.sizes == [3, 3, 3, 3]
    assert (writer.refused, stored(numbers)) == ([], [1, 2, 3])


@pytest.mark.parametrize("code", ["53100", "57P03", "42501", "42P01"])
def test_a_failing_server_or_missing_right_is_nobodys_fault(numbers: Database, code: str) -> None:
    writer = Writer(code)
    with pytest.raises(DatabaseError, match="made"):
        write_splitting(numbers, [1, 2, 3], writer.write, writer.refuse)
    assert (writer.sizes, writer.refused, stored(numbers)) == ([3], [], [])


def test_a_conflict_that_stays_is_the_servers_trouble_and_nobodys_fault(numbers: Database) -> None:
    writer = Writer(*["40P01"] * 50)
    with pytest.raises(DatabaseError, match="the same conflict 6 times"):
        write_splitting(numbers, [1, 2], writer.write, writer.refuse)
    assert (writer.refused, stored(numbers)) == ([], [])
