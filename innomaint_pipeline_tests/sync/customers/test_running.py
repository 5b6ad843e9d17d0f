"""Runs of the customer list against a real database: what becomes of customers, lists and runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from innomaint_pipeline.domain.customers.checks import OF_THE_FILE, RELEASABLE
from innomaint_pipeline.domain.customers.lists import ValueIssue
from innomaint_pipeline.domain.customers.runs import SYNC_LEASE, Outcome, Trigger
from innomaint_pipeline.errors import ConfigurationError, DatabaseError, DiskFullError, TransientSourceError
from innomaint_pipeline.sources.customers.inbox import StillGrowingError
from innomaint_pipeline.store.customers.applying import BusyError, ReleaseError
from innomaint_pipeline.store.customers.overview import load_quarantine
from innomaint_pipeline.store.customers.runs import load_facts, load_next_due
from innomaint_pipeline.store.database import find_now
from innomaint_pipeline.store.faults import explain
from innomaint_pipeline.store.leases import acquire_lease, release_lease
from innomaint_pipeline.sync.customers.planning import plan_run
from innomaint_pipeline.sync.customers.running import sync_list
from innomaint_pipeline_tests.customers import (
    CANARY,
    START,
    Customers,
    changed,
    invent_rows,
    make_list,
    without,
)

COUNTS = ("rows", "new", "updated", "unchanged", "missing", "deleted", "restored")


def counts(report):
    return {name: report.row[name] for name in COUNTS if report.row[name]}


def test_a_list_is_applied_once_and_what_did_not_change_is_not_written(customers: Customers):
    rows = invent_rows(100)

    first = customers.sync(rows)
    written = customers.rows("select xmin::text, * from customers.customer order by erp_id")
    again = customers.sync(rows)

    assert first.outcome is Outcome.CHANGED
    assert counts(first) == {"rows": 100, "new": 100}
    assert [item.figures["compared"] for item in first.findings[5:9]] == [False] * 4
    assert again.outcome is Outcome.UNCHANGED
    assert counts(again) == {"rows": 100, "unchanged": 100}
    assert customers.rows("select xmin::text, * from customers.customer order by erp_id") == written
    assert set(again.row["stage_ms"]) == {"receive", "parse", "check", "apply"}
    # Of the lists accepted before, the rows are not kept.
    assert customers.value("select count(*) from customers.snapshot_row") == 100


def test_changes_name_their_fields_and_keep_no_value(customers: Customers):
    rows = invent_rows(10)
    customers.sync(rows)
    rows[3] = changed(rows[3], city="Forlì", actual_order_count=7)

    report = customers.sync(rows)

    assert counts(report) == {"rows": 10, "updated": 1, "unchanged": 9}
    (row,) = customers.rows("select * from customers.change where run_id = :id", id=report.row["run_id"])
    assert (row["kind"], row["fields"]) == ("updated", ["city", "actual_order_count"])
    rows[3] = changed(rows[3], city=None)
    customers.sync(rows)
    assert customers.value("select city from customers.customer where erp_id = '54040'") is None


def test_a_customer_goes_after_two_lists_an_interval_apart_and_comes_back(customers: Customers):
    rows = invent_rows(30)
    customers.sync(rows, START)
    fewer = without(rows, 7)

    assert counts(customers.sync(fewer, START + timedelta(hours=1)))["missing"] == 1
    assert customers.state(7) == "missing"
    # Read once more, from a list that was exported at nearly the same time, he is missing still.
    assert counts(customers.sync(fewer, START + timedelta(hours=1, minutes=1))) == {
        "rows": 29,
        "unchanged": 29,
    }
    assert customers.state(7) == "missing"
    assert counts(customers.sync(fewer, START + timedelta(hours=2)))["deleted"] == 1
    assert customers.states() == {"active": 29, "deleted": 1}
    back = customers.sync(rows, START + timedelta(hours=3))
    assert counts(back) == {"rows": 30, "unchanged": 29, "restored": 1}
    kinds = customers.rows("select kind from customers.change where erp_id = '54070' order by id")
    assert [row["kind"] for row in kinds] == ["new", "missing", "deleted", "restored"]
    customers.execute(
        "update customers.customer set state = 'deleted', deleted_at = now() - interval '1 year'"
    )
    customers.sync(None)
    assert customers.states() == {}


def test_many_removals_at_once_wait_for_a_person(customers: Customers):
    rows = invent_rows(400)
    customers.sync(rows)
    fewer = without(rows, *range(1, 21))
    customers.sync(fewer)

    held = customers.sync(fewer)

    assert held.outcome is Outcome.UNCHANGED
    assert held.exit_code == 0
    assert held.figures["held"] == 20
    assert customers.states() == {"active": 380, "missing": 20}
    sha = held.row["sha256"]
    newest = customers.sync(fewer)
    # The next accepted list replaces the hold.
    with pytest.raises(ReleaseError, match="no removal of it waits"):
        customers.release(sha)
    released = customers.release(newest.row["sha256"])
    assert (released["outcome"], released["deleted"]) == (Outcome.CHANGED, 20)
    assert customers.states() == {"active": 380, "deleted": 20}
    (audit,) = customers.rows("select * from customers.release")
    assert (audit["released_by"], audit["figures"]) == ("a person", {"held": 20})


def refused_by(check: str):
    """Return rows of a first list, and of a second one that this check refuses."""
    rows = invent_rows(100)
    if check == "list_has_not_shrunk":
        return rows, rows[:10]
    if check == "columns_are_filled":
        return rows, [*(changed(row, vat_number=None) for row in rows[:30]), *rows[30:]]
    if check == "changes_are_plausible":
        return rows, [changed(row, city="Milano" if n < 60 else None) for n, row in enumerate(rows)]
    return rows, [changed(row, account_num="1" if n < 5 else None) for n, row in enumerate(rows)]


@pytest.mark.parametrize("check", RELEASABLE)
def test_what_a_guard_refuses_changes_nothing_until_a_person_releases_it(check: str, customers: Customers):
    before, after = refused_by(check)
    customers.sync(before)
    kept = customers.rows("select * from customers.customer order by erp_id")

    refused = customers.sync(after)

    assert (refused.outcome, refused.exit_code) == (Outcome.REJECTED, 1)
    assert [item.check for item in refused.findings if not item.passed] == [check]
    assert customers.rows("select * from customers.customer order by erp_id") == kept
    with customers.database.begin() as connection:
        rejection = load_facts(connection, 30).rejection
    assert rejection is not None
    assert check in str(rejection.error_message)
    # The same file is not read again.
    sha = refused.row["sha256"]
    with pytest.raises(ReleaseError, match="blank"):
        customers.release(sha, "  ")
    released = customers.release(sha, "the ERP was cleaned")
    assert released["trigger"] == Trigger.RELEASE
    assert customers.value("select status from customers.snapshot where sha256 = :s", s=sha) == "released"
    (audit,) = customers.rows("select * from customers.release")
    assert (audit["reason"], audit["figures"]["failed"][0]["check"]) == ("the ERP was cleaned", check)
    if check == "list_has_not_shrunk":
        assert customers.states() == {"active": 10, "missing": 90}
    with customers.database.begin() as connection:
        assert load_facts(connection, 30).rejection is None
    with pytest.raises(ReleaseError, match="accepted or released already"):
        customers.release(sha)


def test_nobody_can_release_what_is_wrong_in_itself_or_late(customers: Customers):
    rows = invent_rows(100)
    customers.sync(rows)
    for check in OF_THE_FILE:
        wrong = customers.sync(make_list(rows, check))
        assert wrong.row["error_class"] == check
        with pytest.raises(ReleaseError, match=f"{check} failed, which nobody can release"):
            customers.release(wrong.row["sha256"])
    for moment in (START, datetime.now(UTC) + timedelta(minutes=12)):
        odd = customers.sync(rows, moment)
        assert odd.row["error_class"] == "snapshot_is_newer"
        with pytest.raises(ReleaseError):
            customers.release(odd.row["sha256"])
    few = customers.sync(rows[:10])
    customers.sync(rows)
    with pytest.raises(ReleaseError, match="snapshot_is_newer fails now"):
        customers.release(few.row["sha256"])
    with customers.database.begin() as connection:
        offered = [item for item in load_quarantine(connection, keep_days=30) if item["releasable"]]
    assert offered == []
    with pytest.raises(ReleaseError, match="no list of this hash"):
        customers.release("0" * 64)
    assert customers.value("select count(*) from customers.release") == 0
    html = customers.sync(make_list((), "file_is_whole"), content=b"<html>")
    assert (html.row["error_class"], html.exit_code) == ("not_a_pdf", 2)


def test_a_value_that_cannot_be_read_leaves_the_stored_one(customers: Customers):
    rows = invent_rows(10)
    rows[0] = replace(changed(rows[0], city="Forlì"), extra={"Zona": "Nord"})
    customers.sync(rows)
    values = {name: value for name, value in rows[0].values.items() if name != "city"}
    issue = ValueIssue("city", "Forl\N{REPLACEMENT CHARACTER}", "a letter without Unicode")
    # So it is in a column that is unknown here.
    zone = replace(issue, field="Zona")
    unreadable = [replace(rows[0], values=values, extra={}, issues=(issue, zone)), *rows[1:]]

    assert customers.sync(unreadable).outcome is Outcome.UNCHANGED
    _, found = customers.rows("select * from customers.data_issue order by field")
    assert (found["field"], found["resolved_at"]) == ("city", None)
    customers.sync(unreadable)
    _, again = customers.rows("select * from customers.data_issue order by field")
    assert again["first_seen_at"] == found["first_seen_at"] < again["last_seen_at"]
    customers.sync(rows)
    assert customers.value("select count(*) from customers.data_issue where resolved_at is null") == 0
    assert customers.value("select extra from customers.customer where erp_id = '54010'") == {"Zona": "Nord"}
    assert customers.value("select city from customers.customer where erp_id = '54010'") == "Forlì"


def test_a_new_customer_without_a_readable_name_refuses_the_list_and_a_known_one_keeps_its_name(
    customers: Customers,
):
    def without_name(row):
        values = {name: value for name, value in row.values.items() if name != "name"}
        issue = ValueIssue("name", "\N{REPLACEMENT CHARACTER}", "a letter without Unicode")
        return replace(row, values=values, issues=(issue,))

    rows = invent_rows(10)
    unnamed = [*rows[:3], without_name(rows[3]), *rows[4:]]
    assert plan_run(customers.run(unnamed)).row["error_class"] == "ids_are_unique"
    refused = customers.sync(unnamed)
    assert (refused.outcome, refused.exit_code) == (Outcome.REJECTED, 1)
    assert refused.row["error_class"] == "ids_are_unique"
    assert "1 new customers without a readable name (rows 4 of the list)" in refused.row["error_message"]
    assert customers.states() == {}
    assert customers.value("select status from customers.snapshot") == "quarantined"

    customers.sync(rows)
    assert customers.sync(unnamed).outcome is Outcome.UNCHANGED
    assert customers.value("select name from customers.customer where erp_id = '54040'") == f"{CANARY} 4"


def test_files_that_were_passed_over_are_named_where_nothing_newer_is_found(customers: Customers):
    run = customers.run(invent_rows(5), content=b"%PDF-one")

    async def fetch(folder):
        return replace(await run.fetch(folder), passed_over=("from-2036.pdf",))

    assert sync_list(replace(run, fetch=fetch)).outcome is Outcome.CHANGED
    again = sync_list(replace(run, fetch=fetch, run_id="again"))
    assert again.outcome is Outcome.SKIPPED
    assert "passed over, for times ahead of the clock: from-2036.pdf" in again.row["error_message"]


def test_another_version_of_the_hashes_is_no_change(customers: Customers):
    rows = invent_rows(10)
    customers.sync(rows)
    customers.execute("update customers.customer set hash_version = 0, contact_hash = 'x'")

    report = customers.sync(rows)

    assert (report.outcome, report.row["rehashed"]) == (Outcome.UNCHANGED, 10)
    assert counts(report) == {"rows": 10, "unchanged": 10}
    assert customers.value("select count(*) from customers.customer where contact_hash = 'x'") == 0


def test_a_plan_tells_what_a_run_would_do_and_writes_nothing(customers: Customers):
    rows = invent_rows(100)
    plan = plan_run(customers.run(rows))
    assert (plan.row["outcome"], plan.row["new"]) == (Outcome.CHANGED, 100)
    refused = plan_run(customers.run(make_list(rows, "totals_agree")))
    assert refused.row["error_class"] == "totals_agree"
    assert plan_run(customers.run(None)).row["outcome"] is Outcome.SKIPPED
    for table in ("customer", "snapshot", "sync_run", "change"):
        assert customers.value(f"select count(*) from customers.{table}") == 0
    assert list(customers.folder.iterdir()) == []
    assert customers.folder.stat().st_mode & 0o777 == 0o700


def test_only_what_may_pass_by_itself_is_tried_again(customers: Customers):
    waits = []
    full = explain(OperationalError("insert", {}, psycopg.errors.DiskFull("no space left")), "a database")

    def run(error: Exception):
        async def fetch(_):
            raise error

        waits.clear()
        return replace(customers.run(invent_rows(3)), fetch=fetch, wait=waits.append)

    for error, word, tries in (
        (TransientSourceError("the folder is away"), "unreachable", 4),
        (DatabaseError("away"), "database", 4),
        (DiskFullError("full"), "disk_full", 1),
        (full, "disk_full", 1),
        (ValueError("a fault"), "internal", 1),
    ):
        made = run(error)
        with pytest.raises(type(error)):
            sync_list(made)
        (row,) = customers.rows("select * from customers.sync_run where run_id = :id", id=made.run_id)
        assert (row["outcome"], row["error_class"], row["attempts"]) == ("failed", word, tries)
        assert waits == [5, 10, 20][: tries - 1]
    made = run(TransientSourceError("away"))

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync_list(replace(made, wait=interrupt))
    assert customers.value("select outcome from customers.sync_run order by id desc limit 1") == "cancelled"
    # Whoever waits for the run need not wait until its lease expires.
    assert customers.value("select count(*) from innomaint_lease") == 0
    customers.folder.rmdir()
    customers.folder.write_text("a file in the place of the folder")
    with pytest.raises(ConfigurationError, match="cannot be made or kept private"):
        sync_list(run(ValueError("not reached")))
    assert (
        customers.value("select error_class from customers.sync_run order by id desc limit 1") == "settings"
    )
    customers.folder.unlink()
    growing = sync_list(run(StillGrowingError("list.pdf still grows")))
    assert growing is not None
    assert (growing.outcome, growing.row["attempts"], waits) == (Outcome.SKIPPED, 4, [5, 10, 20])
    assert customers.value("select count(*) from customers.sync_run") == 8


def test_one_run_works_at_a_time_and_does_what_others_ask_for(customers: Customers):
    rows = invent_rows(10)
    with customers.database.begin() as connection:
        assert acquire_lease(connection, SYNC_LEASE, "another run")
    assert sync_list(customers.run(rows)) is None
    refused = customers.run(rows)
    with pytest.raises(BusyError):
        customers.release("0" * 64)
    with customers.database.begin() as connection:
        release_lease(connection, SYNC_LEASE, "another run")
    done = sync_list(refused)
    assert done is not None
    joined = customers.sync(rows, asked_at=done.row["started_at"])
    assert joined.is_joined
    assert joined.row["run_id"] == done.row["run_id"]
    assert sync_list(customers.run(rows, is_due_only=True)) is None
    assert customers.value("select count(*) from customers.sync_run") == 1


def test_a_run_whose_process_is_gone_is_closed_by_the_next_and_postpones_nothing(customers: Customers):
    customers.execute(
        "insert into customers.sync_run (run_id, trigger, stage) values ('lost', 'schedule', 'apply')"
    )
    with customers.database.begin() as connection:
        assert load_next_due(connection, 30) <= find_now(connection) + timedelta(minutes=5)

    report = customers.sync(invent_rows(5), is_due_only=True)

    assert report.outcome is Outcome.CHANGED
    (lost,) = customers.rows("select outcome, error_class from customers.sync_run where run_id = 'lost'")
    assert lost == {"outcome": "failed", "error_class": "worker_lost"}
    with customers.database.begin() as connection:
        assert load_next_due(connection, 30) == report.row["started_at"] + timedelta(minutes=30)


def test_what_is_personal_stands_in_three_tables_alone_and_goes_in_time(customers: Customers):
    rows = [changed(row, account_num="1") for row in invent_rows(20)]
    customers.sync(invent_rows(20))
    refused = customers.sync(rows, content=b"%PDF-refused")
    assert refused.outcome is Outcome.REJECTED
    (copy,) = [path for path in customers.folder.iterdir() if refused.row["sha256"] in path.name]
    for table in ("snapshot", "change", "sync_run", "release"):
        assert CANARY not in str(customers.rows(f"select * from customers.{table}"))
    assert CANARY not in str([item.message for item in refused.findings])
    customers.execute(
        "update customers.snapshot set received_at = now() - interval '31 days' where status = 'quarantined'"
    )
    customers.sync(None)
    assert copy.exists()
    held = "select count(*) from customers.snapshot_row r join customers.snapshot s using (sha256)"
    assert customers.value(f"{held} where s.status = 'quarantined'") == 0
    assert customers.value(f"{held} where s.status = 'accepted'") == 20
    with pytest.raises(ReleaseError, match="not kept any more"):
        customers.release(refused.row["sha256"])
    # Its file still lies in the inbox: it is copied to be known again, and no longer.
    assert customers.sync(rows, content=b"%PDF-refused").outcome is Outcome.SKIPPED
    assert not copy.exists()
