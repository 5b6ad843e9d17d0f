"""What a read may not do in silence: lose rows in between, forget a fault, write what is as before."""

from datetime import datetime

from innomaint_pipeline.simulator.maximo.app import LONG_NUMBER
from innomaint_pipeline.simulator.maximo.faults import Fault
from innomaint_pipeline.simulator.maximo.world import World
from innomaint_pipeline.store.maximo.tables import TABLES
from innomaint_pipeline.sync.maximo.reading import ReadSettings
from innomaint_pipeline.sync.maximo.steps import rebuild_structure
from innomaint_pipeline_tests.maximo import Maximo

NEW_CHANGE = "2026-06-10T09:00:00+03:00"


def test_a_read_since_a_time_behind_the_watermark_leaves_no_gap(maximo: Maximo) -> None:
    before = maximo.sync("assets")["watermark_to"]
    maximo.world.change("mxapiasset", 1001, description="between", changedate="2026-06-05T09:00:00+03:00")
    maximo.world.change("mxapiasset", 1002, description="late", changedate=NEW_CHANGE)

    row = maximo.sync("assets", since=datetime.fromisoformat("2026-06-08T00:00:00+03:00"))

    assert (row["mode"], row["fetched"], row["watermark_to"]) == ("since", 1, before)
    maximo.sync("assets")
    assert maximo.value("select description from maximo.assets where assetuid = 1001") == "between"
    # Nor does one that nothing was read before take the place of the first full read.
    maximo.sync("locations", since=datetime.fromisoformat("2026-06-01T08:30:00+03:00"))
    assert maximo.sync("locations")["mode"] == "full"
    assert maximo.value("select count(*) from maximo.locations") == 171


def test_increments_know_the_words_of_the_status(maximo: Maximo) -> None:
    maximo.app.behaviour.ignores_internal_status = True
    maximo.sync("domain")
    maximo.sync("assets")
    maximo.world.change("mxapiasset", 1002, description="still operating", changedate=NEW_CHANGE)

    row = maximo.sync("assets")

    assert (row["mode"], row["out_of_scope"], row["updated"]) == ("increment", 0, 1)
    assert maximo.statuses("assets") == {"synced": 230}
    # A word that the installation has added since is known by the next full read.
    domain = next(
        item for item in maximo.world.rows["mxapidomain"].values() if item["domainid"] == "LOCASSETSTATUS"
    )
    domain["synonymdomain"].append(
        {"synonymdomainid": 99_999, "value": "LÄUFT", "maxvalue": "OPERATING", "valueid": "x"}
    )
    maximo.world.change("mxapiasset", 1002, status="LÄUFT")
    maximo.sync("domain")
    assert maximo.sync("assets", is_forced=True)["fetched"] == 230
    assert maximo.statuses("assets") == {"synced": 230}


def test_a_status_that_is_ignored_is_seen_on_any_page(maximo: Maximo) -> None:
    maximo.settings = ReadSettings(page_size=100)
    # The rows out of scope come behind all others.
    maximo.app.behaviour.ignores_internal_status = True
    for row in maximo.world.rows["mxapiasset"].values():
        row["status_maxvalue"] = maximo.world.internal_status("mxapiasset", row)

    row = maximo.sync("assets")

    assert "the server ignores the internal status" in row["message"]
    assert row["status"] == "success"


def test_a_row_that_stays_out_of_scope_counts_once(maximo: Maximo) -> None:
    maximo.sync("assets")
    maximo.world.change("mxapiasset", 1001, status="STILLGELEGT", changedate=NEW_CHANGE)

    assert [maximo.sync("assets")["out_of_scope"] for _ in range(2)] == [1, 0]
    maximo.world.change("mxapiasset", 1001, description="again", changedate=NEW_CHANGE)
    row = maximo.sync("assets")
    assert (row["out_of_scope"], row["updated"], row["unchanged"]) == (0, 1, 0)


def test_a_smaller_page_of_the_server_deletes_nothing(maximo: Maximo) -> None:
    maximo.sync("assets")
    for identifier in range(1001, 1061):
        maximo.world.change("mxapiasset", identifier, status="STILLGELEGT")
    maximo.app.behaviour.largest_page, maximo.app.behaviour.too_large_status = 40, 500

    row = maximo.sync("assets", is_forced=True)

    assert (row["deleted"], row["out_of_scope"], row["status"]) == (0, 60, "success")
    # Work orders are never asked for without their site, by id neither.
    maximo.app.behaviour.largest_page = None
    maximo.sync("wodetail", "LCVIRQ")
    maximo.world.change("mxapiwodetail", 500_001, status="CLOSE", historyflag=True)
    maximo.sync("wodetail", "LCVIRQ", is_forced=True)
    asked = [str(item.value("oslc.where")) for item in maximo.simulator.asked("mxapiwodetail")]
    assert {text.split(" and ")[0] for text in asked} == {'siteid="LCVIRQ"'}
    assert 'siteid="LCVIRQ" and workorderid in [500001]' in asked


def test_a_refused_size_is_not_taken_for_a_refused_offset(maximo: Maximo) -> None:
    maximo.app.behaviour.largest_page, maximo.app.behaviour.too_large_status = 60, 400

    row = maximo.sync("inventory")

    assert (row["status"], row["fetched"]) == ("success", 100)
    assert maximo.value("select date_form from maximo.sync_state where endpoint = 'inventory'") == "offset"
    # One that takes no offset any more is found out, too.
    maximo.app.behaviour.largest_page = None
    maximo.app.behaviour.refuses_offsets = True
    assert maximo.sync("inventory", is_forced=True)["status"] == "success"
    assert maximo.value("select date_form from maximo.sync_state where endpoint = 'inventory'") == "plain"


def test_being_asked_too_often_is_no_reason_for_smaller_pages(maximo: Maximo) -> None:
    maximo.app.faults.add("mxapilocations", *[Fault("status", 429, retry_after="0")] * 6)

    row = maximo.sync("locations")

    assert (row["status"], row["error_class"]) == ("error", "rate_limited")
    assert {item.value("oslc.pageSize") for item in maximo.simulator.asked("mxapilocations")} == {"500"}


def test_what_a_full_read_found_wrong_is_told_until_the_next_one(maximo: Maximo) -> None:
    maximo.sync("assets")
    for identifier in range(1001, 1116):
        maximo.world.remove("mxapiasset", identifier)
    assert maximo.sync("assets", is_forced=True)["status"] == "partial"

    assert maximo.sync("assets")["status"] == "success"

    status = maximo.rows("select status, message from maximo.sync_status where endpoint = 'assets'")[0]
    assert status["status"] == "partial"
    assert "115 of 230 rows" in status["message"]
    maximo.sync("assets", is_forced=True, accepts_deletes=True)
    assert maximo.value("select status from maximo.sync_status where endpoint = 'assets'") == "success"


def test_an_open_reject_keeps_its_structure_partial_until_it_fits_or_is_gone(maximo: Maximo) -> None:
    maximo.execute("alter table maximo.assets add constraint no_pumps check (description <> 'Pump 7')")
    maximo.sync("assets")

    maximo.sync("assets")

    assert maximo.value("select status from maximo.sync_status where endpoint = 'assets'") == "partial"
    maximo.world.remove("mxapiasset", 1007)
    assert maximo.sync("assets", is_forced=True)["status"] == "success"
    assert maximo.value("select count(*) from maximo.reject where resolved_at is null") == 0
    assert maximo.value("select status from maximo.sync_status where endpoint = 'assets'") == "success"


def test_an_integer_of_thousands_of_digits_costs_its_row_that_value_alone(maximo: Maximo) -> None:
    maximo.world.rows["mxapiasset"][1003]["priority"] = int(LONG_NUMBER)
    maximo.app.long_number = "9" * 5000

    row = maximo.sync("assets")

    maximo.world.rows["mxapiasset"][1003]["priority"] = 1
    assert (row["status"], row["fetched"], row["inserted"], row["rejected"]) == ("partial", 230, 230, 1)
    (reject,) = maximo.rows("select row_id, reason from maximo.reject")
    assert reject["row_id"] == 1003
    assert reject["reason"].startswith("priority: has too many digits")
    assert maximo.value("select priority from maximo.assets where assetuid = 1003") is None
    assert maximo.sync("assets", is_forced=True)["status"] == "success"
    assert maximo.value("select count(*) from maximo.reject where resolved_at is null") == 0


def test_a_vanished_attribute_without_a_column_keeps_its_values(maximo: Maximo) -> None:
    maximo.sync("assets")
    for row in maximo.world.rows["mxapiasset"].values():
        row.pop("customfield")
    held = "select count(*) from maximo.assets where \"_extra\" ? 'customfield'"

    assert maximo.sync("assets", is_forced=True)["status"] == "partial"
    assert maximo.value(held) == 230
    assert maximo.sync("assets", is_forced=True)["updated"] == 0
    assert (
        maximo.value("select \"_extra\" ->> 'customfield' from maximo.assets where assetuid = 1003") == "C3"
    )
    maximo.sync("assets", is_forced=True, accepts_drift=True)
    assert maximo.value(held) == 0


def test_personal_data_that_are_no_longer_kept_are_cleared_and_no_drift(maximo: Maximo) -> None:
    for row in maximo.world.rows["mxapiasset"].values():
        row["memo"] = "call me"
    maximo.settings = ReadSettings(keeps_personal_data=True)
    for name in ("assets", "peruser"):
        assert maximo.sync(name)["status"] == "success"
    assert maximo.value("select count(primaryphone) from maximo.person") == 60
    maximo.settings = ReadSettings()

    assert {maximo.sync(name, is_forced=True)["status"] for name in ("assets", "peruser")} == {"success"}

    assert maximo.value("select count(primaryphone) from maximo.person") == 0
    for table in ("assets", "response"):
        found = f"select count(*) from maximo.{table} t where position('call me' in t::text) > 0"
        assert maximo.value(found) == 0


def test_what_was_deleted_stays_deleted_when_tables_are_built_anew(maximo: Maximo) -> None:
    maximo.sync("assets")
    maximo.world.remove("mxapiasset", 1001)
    maximo.sync("assets", is_forced=True)

    rebuild_structure(maximo.run("assets"))

    assert maximo.statuses("assets") == {"deleted": 1, "synced": 229}


def test_the_world_comes_whole_and_a_second_read_writes_no_row(maximo: Maximo) -> None:
    maximo.app.world = World(persons=500)

    first = maximo.sync_all()

    assert [(row["status"], row["fetched"] == row["server_total"]) for row in first.runs] == [
        ("success", True)
    ] * 6
    expected = {
        "locations": 171,
        "assets": 1770,
        "domains": 949,
        "domain_values": 13_246,
        "person": 500,
        "maxuser": 498,
        "groupuser": 3448,
        "maxgroup": 176,
        "person_site": 477,
        "inventory": 100,
        "inventory_invbalances": 58,
        "inventory_invcost": 100,
        "inventory_itemcondition": 74,
        "inventory_matrectrans": 150,
        "inventory_transfercuritem": 100,
    }
    assert {name: maximo.value(f"select count(*) from maximo.{name}") for name in expected} == expected
    assert maximo.statuses("maxgroup") == {"synced": 176}

    def versions() -> dict[str, str]:
        """Return what changes with any row that is written, be it to the same values."""
        return {
            name: maximo.value(f"select string_agg(xmin::text, ',' order by ctid) from maximo.{name}")
            for name in (*TABLES, "response")
        }

    before = versions()
    # Increments, then full reads, whose transactions reach less far back.
    for is_forced in (False, True):
        rows = maximo.sync_all(is_forced=is_forced).runs
        assert {(row["status"], row["inserted"], row["updated"]) for row in rows} == {("success", 0, 0)}
        assert versions() == before
