"""Merging: drift, rejects, moved keys, rebuilding, and all or nothing."""

import psycopg
import pytest

from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.maximo.tables import TABLES
from innomaint_pipeline.sync.maximo.steps import rebuild_structure


def drift(maximo):
    rows = maximo.rows("select path, attribute, kind from maximo.schema_drift where resolved_at is null")
    return {tuple(row.values()) for row in rows}


def test_a_new_attribute_and_a_new_child_are_listed_once_and_lose_no_row(maximo):
    maximo.sync("assets")
    for row in maximo.world.rows["mxapiasset"].values():
        row["pluscnew"] = "x"
        row["pluscchild"] = {"member": [{"a": 1, "password": "canary-token-x"}]}
        # No child, and none that is new.
        row["pluscnone"] = {"href": "https://maximo-internal.example/none", "member": []}

    first = maximo.sync("assets", is_forced=True)
    second = maximo.sync("assets", is_forced=True)

    assert (first["status"], first["drift"], first["updated"]) == ("success", 2, 230)
    assert (second["drift"], second["updated"]) == (0, 0)
    assert drift(maximo) == {("", "pluscnew", "new"), ("", "pluscchild", "new")}
    extra = maximo.value('select "_extra" from maximo.assets where assetuid = 1001')
    assert extra["pluscchild"] == {"member": [{"a": 1}]}


def test_a_changed_type_goes_to_extra_and_is_no_reject(maximo):
    maximo.sync("assets")
    for row in maximo.world.rows["mxapiasset"].values():
        row["priority"] = "high"

    row = maximo.sync("assets", is_forced=True)

    assert (row["status"], row["rejected"], row["drift"]) == ("success", 0, 1)
    assert drift(maximo) == {("", "priority", "type")}
    held = maximo.rows('select priority, "_extra" as e from maximo.assets where assetuid = 1001')[0]
    assert held["priority"] is None
    assert held["e"]["priority"] == "high"


def test_a_vanished_attribute_and_child_are_kept_until_accepted(maximo):
    maximo.sync("assets")
    for row in maximo.world.rows["mxapiasset"].values():
        row.pop("serialnum")
        row.pop("assetmeter", None)
        row.pop("customfield")

    row = maximo.sync("assets", is_forced=True)

    assert (row["status"], row["drift"]) == ("partial", 3)
    assert drift(maximo) == {
        ("", "serialnum", "vanished"),
        ("assetmeter", "", "vanished"),
        ("", "customfield", "vanished"),
    }
    assert maximo.value("select count(serialnum) from maximo.assets") == 230
    assert maximo.value("select count(*) from maximo.assetmeter") == 46
    maximo.world.change("mxapiasset", 1001, description="changed")
    maximo.sync("assets")
    assert maximo.value("select serialnum from maximo.assets where assetuid = 1001") == "SN-1001"

    accepted = maximo.sync("assets", is_forced=True, accepts_drift=True)

    assert accepted["status"] == "success"
    assert maximo.value("select count(serialnum) from maximo.assets") == 0
    assert maximo.value("select count(*) from maximo.assetmeter") == 0
    assert drift(maximo) == set()


def test_an_attribute_that_one_row_lacks_is_cleared(maximo):
    maximo.sync("assets")
    del maximo.world.rows["mxapiasset"][1004]["serialnum"]
    maximo.world.rows["mxapiasset"][1020].pop("assetmeter")

    row = maximo.sync("assets", is_forced=True)

    assert (row["status"], row["updated"]) == ("success", 2)
    assert maximo.value("select serialnum from maximo.assets where assetuid = 1004") is None
    assert maximo.value("select count(*) from maximo.assetmeter where assetuid = 1020") == 0


def test_a_row_that_the_database_refuses_is_rejected_alone_until_it_fits(maximo):
    maximo.execute("alter table maximo.assets add constraint no_pumps check (description <> 'Pump 7')")

    row = maximo.sync("assets")

    assert (row["status"], row["rejected"], row["inserted"]) == ("partial", 1, 229)
    assert maximo.value("select row_id from maximo.reject where resolved_at is null") == 1007
    maximo.execute("alter table maximo.assets drop constraint no_pumps")
    assert maximo.sync("assets", is_forced=True)["status"] == "success"
    assert maximo.value("select count(*) from maximo.reject where resolved_at is null") == 0
    assert maximo.value("select count(*) from maximo.assets") == 230


def test_rows_that_swap_their_names_or_return_under_another_are_no_reject(maximo):
    maximo.sync_all()
    assets = maximo.world.rows["mxapiasset"]
    assets[1001]["assetnum"], assets[1200]["assetnum"] = assets[1200]["assetnum"], assets[1001]["assetnum"]
    assets[1005]["assetnum"] = "A-RENAMED"
    for row in assets[1005]["assetmeter"]:
        row["assetnum"] = "A-RENAMED"
    reborn = dict(maximo.world.remove("mxapiasset", 1006))
    maximo.world.add("mxapiasset", {**reborn, "assetuid": 1999})
    persons = maximo.world.rows["mxapiperuser"]
    persons[1]["personid"], persons[2]["personid"] = persons[2]["personid"], persons[1]["personid"]
    users = (persons[1]["maxuser"][0], persons[2]["maxuser"][0])
    users[0]["userid"], users[1]["userid"] = users[1]["userid"], users[0]["userid"]
    for person in (persons[1], persons[2]):
        person["maxuser"][0]["personid"] = person["personid"]
        for item in person["maxuser"][0]["groupuser"]:
            item["userid"] = person["maxuser"][0]["userid"]

    report = maximo.sync_all(is_forced=True)

    assert {row["status"] for row in report.runs} == {"success"}
    held = {
        row["assetuid"]: row["assetnum"]
        for row in maximo.rows("select assetuid, assetnum from maximo.assets")
    }
    assert held[1001] == "A000200"
    assert held[1200] == "A000001"
    assert held[1005] == "A-RENAMED"
    assert (held.get(1006), held[1999]) == (None, "A000006")
    assert maximo.value("select personid from maximo.person where personuid = 1") == "PERSON00002"
    assert maximo.value("select count(*) from maximo.assetmeter where assetuid = 1005") == 1


def test_tables_are_built_anew_from_stored_answers_without_a_request(maximo):
    maximo.sync_all()
    before = {name: maximo.value(f"select count(*) from maximo.{name}") for name in TABLES}
    maximo.execute("delete from maximo.assets")
    maximo.execute("update maximo.locations set description = 'lost', \"_row_hash\" = null")
    maximo.app.record.clear()

    counts = {name: rebuild_structure(maximo.run(name)) for name in ("assets", "locations", "peruser")}

    assert counts["assets"] == {"inserted": 230, "updated": 0, "unchanged": 0, "rejected": 0}
    assert counts["locations"]["updated"] == 171
    assert counts["peruser"]["unchanged"] == 60
    assert maximo.app.record == []
    assert {name: maximo.value(f"select count(*) from maximo.{name}") for name in TABLES} == before
    assert maximo.value("select count(*) from maximo.locations where description = 'lost'") == 0


def test_a_merge_that_is_broken_off_leaves_the_old_rows_and_is_done_once_more_without_a_page(
    maximo, database_url
):
    maximo.sync("locations")
    maximo.world.change("mxapilocations", 1001, description="new")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("alter table maximo.sync_run add constraint broken check (pages < 0) not valid")
    with pytest.raises(Exception, match="broken"):
        maximo.sync("locations", is_forced=True)
    assert maximo.value("select description from maximo.locations where locationsid = 1001") == "Hall 1"
    maximo.execute("alter table maximo.sync_run drop constraint broken")
    maximo.app.record.clear()

    row = maximo.sync("locations", is_forced=False)

    assert row["status"] == "success"
    assert maximo.value("select description from maximo.locations where locationsid = 1001") == "new"


def test_a_database_without_the_schema_is_told(empty_database):
    from innomaint_pipeline.store.maximo.schema import require_schema  # noqa: PLC0415 # beside its use

    with pytest.raises(DatabaseError, match="innomaint db upgrade"), empty_database.begin() as connection:
        require_schema(connection)
