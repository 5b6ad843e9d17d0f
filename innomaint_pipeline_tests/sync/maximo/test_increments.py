"""Increments: what changed comes, watermarks come from answers, and no server's trait loses a row."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from innomaint_pipeline.simulator.maximo.faults import Fault
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.sync.maximo.steps import close_failed, leased_row
from innomaint_pipeline_tests.maximo import Maximo


def test_a_change_comes_with_the_next_increment_in_the_offset_of_the_server(maximo):
    maximo.sync("assets")
    maximo.world.change("mxapiasset", 1005, description="new", changedate="2026-06-02T09:00:00+03:00")

    row = maximo.sync("assets")

    assert (row["mode"], row["updated"], row["inserted"]) == ("increment", 1, 0)
    assert maximo.value("select description from maximo.assets where assetuid = 1005") == "new"
    asked = maximo.simulator.asked("mxapiasset")[-1]
    # The newest change in scope was at 11:50.
    assert asked.value("oslc.where") == 'siteid="KDFAC" and changedate>="2026-06-01T11:40:00+03:00"'
    assert asked.value("domaininternalwhere") is None
    assert row["watermark_to"] == "2026-06-02T09:00:00+03:00"


def test_a_work_order_that_closes_leaves_the_scope_and_one_never_held_is_not_stored(maximo):
    maximo.sync("wodetail")
    held = maximo.value("select count(*) from maximo.workorder")
    maximo.world.change("mxapiwodetail", 800_001, status="CLOSE", historyflag=True)

    row = maximo.sync("wodetail")

    assert row["out_of_scope"] == 1
    assert maximo.value("select count(*) from maximo.workorder") == held
    closed = maximo.rows(
        'select status, "_sync_status" as s from maximo.workorder where workorderid = 800001'
    )
    assert closed == [{"status": "CLOSE", "s": "out_of_scope"}]
    assert maximo.value("select count(*) from maximo.woserviceaddress where workorderid = 800001") == 1


def test_a_delta_asks_from_the_row_stamp_of_the_first_page(maximo):
    first = maximo.sync("peruser")
    maximo.world.change("mxapiperuser", 7, title="Chief")

    row = maximo.sync("peruser")

    asked = maximo.simulator.asked("mxapiperuser")[-1]
    assert asked.value("lastfetchts") == first["watermark_to"]
    assert (row["mode"], row["fetched"], row["updated"]) == ("increment", 1, 1)


def test_a_restored_server_is_read_in_full_once_a_day(maximo):
    maximo.sync("inventory")
    maximo.world.restore_backup(1000)

    row = maximo.sync("inventory")

    assert (row["mode"], row["fetched"]) == ("full", 100)
    assert "went back" in row["message"]
    maximo.world.restore_backup(1000)
    assert maximo.sync("inventory")["mode"] == "increment"


def test_a_server_without_delta_is_read_in_full_and_says_so(maximo):
    maximo.app.behaviour.ignores_delta = True
    maximo.sync("peruser")

    row = maximo.sync("peruser")

    assert (row["mode"], row["status"], row["fetched"]) == ("full", "success", 60)
    assert "no watermark" in row["message"]


def test_a_delta_that_stops_being_answered_ends_in_a_full_read(maximo):
    maximo.sync("peruser")
    maximo.app.behaviour.ignores_delta = True

    row = maximo.sync("peruser")

    assert (row["mode"], row["fetched"]) == ("full", 60)
    assert "maxrowstamp" in row["message"]


def test_a_row_stamp_that_is_no_number_is_null_and_ends_increments(maximo):
    maximo.world.rows["mxapiperuser"][3]["_rowstamp"] = "2026-06-20"
    maximo.app.behaviour.ignores_delta = True

    row = maximo.sync("peruser")

    assert (row["status"], row["rejected"]) == ("success", 0)
    assert maximo.value('select "_rowstamp" from maximo.person where personuid = 3') is None


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_an_hour_wrong_loses_no_change(maximo, seconds):
    maximo.app.behaviour.clock_error_seconds = seconds
    maximo.world.change("mxapiasset", 1001)
    row = maximo.sync("assets")
    newest = datetime.fromisoformat(maximo.world.rows["mxapiasset"][1001]["changedate"])
    assert datetime.fromisoformat(row["watermark_to"]) <= newest
    maximo.world.change("mxapiasset", 1002, description="later")

    maximo.sync("assets")

    assert maximo.value("select description from maximo.assets where assetuid = 1002") == "later"


def test_a_server_that_takes_no_offset_is_asked_for_an_hour_earlier_and_that_is_remembered(maximo):
    maximo.app.behaviour.refuses_offsets = True
    maximo.sync("assets")
    maximo.world.change("mxapiasset", 1009, description="plain", changedate="2026-06-03T09:00:00+03:00")

    row = maximo.sync("assets")

    assert row["status"] == "success"
    assert maximo.value("select description from maximo.assets where assetuid = 1009") == "plain"
    where = 'siteid="KDFAC" and changedate>="2026-06-01T10:40:00"'
    assert maximo.simulator.asked("mxapiasset")[-1].value("oslc.where") == where
    assert maximo.value("select date_form from maximo.sync_state") == "plain"
    maximo.app.record.clear()
    maximo.sync("assets")
    assert len(maximo.simulator.asked("mxapiasset")) == 1
    # The same holds for the moments of transactions.
    maximo.sync("inventory")
    assert maximo.value("select count(*) from maximo.inventory_matrectrans") == 150


def test_since_reads_from_there_and_moves_no_watermark_backwards(maximo):
    full = maximo.sync("assets")
    moment = datetime.fromisoformat("2026-06-01T05:00:00+00:00") + timedelta(minutes=200)

    row = maximo.sync("assets", since=moment)

    assert (row["mode"], row["watermark_from"]) == ("since", "2026-06-01T11:20:00+03:00")
    assert row["watermark_to"] >= full["watermark_to"]
    assert maximo.sync("peruser", since=moment)["mode"] == "full"


def test_transactions_only_grow_and_are_asked_for_from_the_last_full_read(maximo):
    maximo.sync("inventory")
    item = maximo.world.rows["mxapiinventory"][7001]
    item["matrectrans"] = [
        {"matrectransid": 1, "quantity": 3, "transdate": maximo.world.now().isoformat(timespec="seconds")}
    ]
    before = maximo.value("select count(*) from maximo.inventory_matrectrans")

    row = maximo.sync("inventory", is_forced=True)

    assert row["status"] == "success"
    assert maximo.value("select count(*) from maximo.inventory_matrectrans") == before + 1
    asked = [item.value("inventory.matrectrans.where") for item in maximo.simulator.asked("mxapiinventory")]
    reaches = sorted({str(item) for item in asked if item})
    if maximo.world.now().astimezone().weekday() != 6:
        assert len(reaches) == 2


def test_a_read_that_was_broken_off_goes_on_behind_its_last_page(maximo: Maximo):
    for fault in (None, None, *(Fault("error", 400, "BMXAA0000E") for _ in range(2))):
        maximo.app.faults.add("mxapiwodetail", fault)
    broken = maximo.sync("wodetail", "LCVIRQ")
    assert (broken["status"], broken["fetched"]) == ("error", 200)
    assert maximo.value("select count(*) from maximo.workorder") == 0
    maximo.app.record.clear()

    row = maximo.sync("wodetail", "LCVIRQ")

    assert (row["status"], row["fetched"], row["inserted"]) == ("success", 600, 600)
    assert "workorderid>500200" in str(maximo.simulator.asked("mxapiwodetail")[0].value("oslc.where"))


def test_a_leased_structure_is_left_alone(maximo):
    maximo.execute(
        "insert into innomaint_lease (resource, owner, acquired_at, expires_at)"
        " values ('maximo/domain', 'other', now(), now() + interval '1 minute')"
    )

    row = maximo.sync("domain")

    assert row["status"] == "leased"
    assert maximo.app.record == []
    assert maximo.value("select count(*) from maximo.sync_run") == 0


def test_every_time_is_of_the_databases_clock(maximo: Maximo) -> None:
    # The machine of the program goes an hour ahead of the database's.
    for name in ("now", "clock_timestamp"):
        maximo.execute(
            f"create function {name}() returns timestamptz language sql as "
            f"$$ select pg_catalog.{name}() - interval '1 hour' $$"
        )
    url = maximo.database.engine.url
    url = url.set(query={**url.query, "options": "-csearch_path=public,pg_catalog"})
    behind = Database(url.render_as_string(hide_password=False))
    mine = replace(maximo, database=behind)
    try:
        done, failed = mine.sync("locations"), close_failed(mine.run("assets"), RuntimeError("made"))
        leased = leased_row(mine.run("assets"))
    finally:
        behind.close()
    now = maximo.value("select pg_catalog.clock_timestamp() - interval '1 hour'")
    state = maximo.rows("select * from maximo.sync_state where endpoint = 'locations'")[0]
    moments = [row[name] for row in (done, failed, leased) for name in ("started_at", "finished_at")]
    moments += [state[name] for name in ("last_sync_at", "last_run_at", "last_full_at")]
    moments.append(state["due_at"] - timedelta(hours=1))
    assert all(timedelta() <= now - moment < timedelta(minutes=5) for moment in moments), (now, moments)
