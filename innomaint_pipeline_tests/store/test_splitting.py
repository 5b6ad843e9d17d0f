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


OF_A_TRIGGER = [
    *("P0001", "42501", "55000", "0A000", "42P01", "40001", "40P01", "25006", "53100", "57014", "57P01"),
    *("08006", "XX000", "28000", "3D000", "26000", "55P03"),
]


def let_a_trigger_refuse(numbers: Database, condition: str, code: str) -> None:
    with numbers.begin() as connection:
        connection.execute(
            text(
                "create function refuse() returns trigger language plpgsql as $$ begin"
                f" if {condition} then raise exception 'made' using errcode = '{code}'; end if;"
                " return new; end $$"
            )
        )
        connection.execute(
            text("create trigger refuse before insert on numbers for each row execute function refuse()")
        )


@pytest.mark.parametrize("code", OF_A_TRIGGER)
def test_a_row_that_a_trigger_refuses_is_refused_alone_whatever_it_says(numbers: Database, code: str) -> None:
    let_a_trigger_refuse(numbers, "new.number = 3", code)
    writer = Writer()
    assert write_splitting(numbers, [1, 2, 3, 4, 5], writer.write, writer.refuse) == 4
    assert (writer.refused, stored(numbers)) == ([3], [1, 2, 4, 5])
    again = Writer()
    assert write_splitting(numbers, [3], again.write, again.refuse) == 0
    assert again.refused == [3], "alone it is the same"


@pytest.mark.parametrize("code", ["P0001", "42P01", "53100", "40001"])
def test_what_a_trigger_says_of_each_row_is_everybodys_trouble(numbers: Database, code: str) -> None:
    let_a_trigger_refuse(numbers, "true", code)
    writer = Writer()
    with pytest.raises(DatabaseError, match=r"each of 3 rows.*made.*correct the trigger"):
        write_splitting(numbers, [1, 2, 3], writer.write, writer.refuse)
    assert (writer.refused, stored(numbers)) == ([], [])


def test_values_that_do_not_fit_are_their_rows_fault_even_where_none_does(numbers: Database) -> None:
    writer = Writer()
    assert write_splitting(numbers, [300, 400], writer.write, writer.refuse) == 0
    assert writer.refused == [300, 400]


def test_a_key_that_speaks_at_the_commit_refuses_its_row_alone(numbers: Database) -> None:
    with numbers.begin() as connection:
        connection.execute(
            text(
                "alter table numbers add unique (number) deferrable initially deferred;"
                "insert into numbers values (2)"
            )
        )
    writer = Writer()
    assert write_splitting(numbers, [1, 2, 3], writer.write, writer.refuse) == 2
    assert (writer.refused, stored(numbers)) == ([2], [1, 2, 3])


def test_a_table_that_lacks_is_nobodys_fault_and_looked_for_once(numbers: Database) -> None:
    with numbers.begin() as connection:
        connection.execute(text("drop table numbers"))
    writer = Writer()
    with pytest.raises(DatabaseError, match="innomaint db upgrade"):
        write_splitting(numbers, [1, 2, 3], writer.write, writer.refuse)
    assert (writer.sizes, writer.refused) == ([3], [])


def test_a_right_that_lacks_is_nobodys_fault(numbers: Database) -> None:
    with numbers.begin() as connection:
        connection.execute(text("create role without_rights"))
    writer = Writer()

    def write(connection: Connection, items: Sequence[int]) -> None:
        connection.execute(text("set local role without_rights"))
        writer.write(connection, items)

    try:
        with pytest.raises(DatabaseError, match="refuses a right to this role"):
            write_splitting(numbers, [1, 2, 3], write, writer.refuse)
    finally:
        with numbers.begin() as connection:
            connection.execute(text("drop role without_rights"))
    assert (writer.sizes, writer.refused) == ([3], [])


def test_a_policy_refuses_its_row_alone(numbers: Database) -> None:
    with numbers.begin() as connection:
        connection.execute(
            text(
                "create role under_policy; grant all on numbers to under_policy;"
                "alter table numbers enable row level security;"
                "create policy p on numbers using (true) with check (number <> 3)"
            )
        )
    writer = Writer()

    def write(connection: Connection, items: Sequence[int]) -> None:
        connection.execute(text("set local role under_policy; set local row_security = on"))
        writer.write(connection, items)

    try:
        assert write_splitting(numbers, [1, 2, 3, 4], write, writer.refuse) == 3
    finally:
        with numbers.begin() as connection:
            connection.execute(text("drop owned by under_policy; drop role under_policy"))
    assert (writer.refused, stored(numbers)) == ([3], [1, 2, 4])
