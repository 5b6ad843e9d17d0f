"""What must hold after every test: between the tables, in every database, in whatever a test printed.

A test that leaves a violation on purpose says so: `@pytest.mark.leaves("expired_leases")`, with the names
that `count_violations` and `find_violations` give them.
"""

import re
from collections.abc import Collection, Generator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, text

from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import find_miscounted
from innomaint_pipeline.store.innomaint.invariants import count_orphans, count_states, count_violations
from innomaint_pipeline.store.leases import LEASE_SECONDS

SECRET = "canary-token-"
"""What every invented token of the tests begins with."""

# One round trip: the tables are looked up, and searched, where they are. A row as text holds all its columns.
_SEARCH = """
create function pg_temp.find_tables_with(wanted text) returns setof text language plpgsql as $$
declare place record; is_found boolean;
begin
    for place in
        select n.nspname as schema_name, c.relname as table_name, (
            select string_agg(
                format('position(convert_to(%L, ''UTF8'') in %I) > 0', wanted, a.attname), ' or '
            )
            from pg_attribute a
            where a.attrelid = c.oid and a.atttypid = 'bytea'::regtype and a.attnum > 0 and not a.attisdropped
        ) as in_bytes
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'r' and pg_relation_size(c.oid) > 0
            and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
        order by 1, 2
    loop
        execute format(
            'select exists (select from %I.%I as leaking where position(%L in leaking::text) > 0 or %s)',
            place.schema_name, place.table_name, wanted, coalesce(place.in_bytes, 'false')
        ) into is_found;
        if is_found then return next place.table_name; end if;
    end loop;
end $$;
select coalesce(array_agg(name), '{}') from pg_temp.find_tables_with({}) as name
"""


def find_tables_with(url: str, wanted: str) -> list[str]:
    """Return the tables of a database, whatever its schemas, of which a row holds a text."""
    with psycopg.connect(url) as connection:
        return _search(connection, wanted)


def _search(connection: psycopg.Connection, wanted: str) -> list[str]:
    statement = sql.SQL(_SEARCH.replace("'{}')", "'{{}}')")).format(sql.Literal(wanted))
    cursor = connection.execute(statement)
    cursor.nextset()
    (found,) = cursor.fetchone() or ([],)
    connection.rollback()
    return found


def find_violations(connection: Connection, began: datetime) -> dict[str, object]:
    """Return what is broken in an IC3 database, by name; `began` is when its test did.

    An expired lease is one that was given up or outlived. It counts only where it ended before a lease taken
    in the test could have: so a slow machine makes no violation of the lease of a run that was not settled.
    """
    found: dict[str, object] = {**count_violations(connection), **count_orphans(connection)}
    counts = count_states(connection)
    found["miscounted_batches"] = find_miscounted(connection)
    found["sum_of_states"] = counts["synced"] + counts["failed"] + counts["never"] - counts["total"]
    leases = connection.execute(
        text(
            "select resource from innomaint_lease"
            " where expires_at < least(clock_timestamp(), cast(:latest as timestamptz))"
        ),
        {"latest": began + timedelta(seconds=LEASE_SECONDS)},
    )
    found["expired_leases"] = list(leases.scalars())
    return {name: value for name, value in found.items() if value}


def check_invariants(database: Database, began: datetime | None = None, left: Collection[str] = ()) -> None:
    """Assert what must hold in every database at any time, but for what a test leaves on purpose.

    Without `began` every expired lease counts.
    """
    began = began or datetime.now(UTC)
    with database.begin() as connection:
        leaking = _search(connection.connection.driver_connection, SECRET)
        assert leaking == [], f"a token stands in these tables: {leaking}"
        if connection.execute(text("select to_regclass('innomaint_sync_state')")).scalar() is None:
            return
        found = find_violations(connection, began)
    broken = {name: value for name, value in found.items() if name not in left}
    assert not broken, f"the test leaves {broken}"
    assert set(left) <= set(found), f"the test does not leave {set(left) - set(found)}, as its mark says"


def names_left(node: pytest.Item) -> set[str]:
    """Return the violations that a test says it leaves."""
    return {name for mark in node.iter_markers("leaves") for name in mark.args}


def find_secret(captured: str) -> str | None:
    """Return the line of a test's output that holds a token, with the token taken out."""
    for line in captured.splitlines():
        if SECRET in line:
            return re.sub(rf"{SECRET}[\w-]*", "<token>", line)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test in whose captured output or log a token stands."""
    report = yield
    if report.passed:
        for name, content in report.sections:
            if line := find_secret(content):
                report.outcome = "failed"
                report.longrepr = f"a token stands in {name!r}: {line}"
    return report
