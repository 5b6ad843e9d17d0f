"""Full reads: every row comes, a second one writes nothing, what vanished is proven, no server cheats."""

import pytest

from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.errors import AuthError
from innomaint_pipeline.simulator.maximo.faults import Fault
from innomaint_pipeline.simulator.maximo.world import CANARY_EMAIL, CANARY_SECRET, World
from innomaint_pipeline.store.maximo.tables import TABLES
from innomaint_pipeline_tests.maximo import SITE, Maximo

BOTH = (SITE, "LCVIRQ")


def written(maximo: Maximo) -> dict[str, object]:
    """What tells whether any row of the tables was written again."""
    return {
        name: maximo.rows(f'select max("_last_sync") as at, count(*) as n from maximo.{name}')[0]
        for name in TABLES
    }


def test_every_row_comes_and_a_second_read_writes_none(maximo):
    first = maximo.sync_all(BOTH)

    assert first.status == "success"
    assert first.exit_code == 0
    for row in first.runs:
        assert row["fetched"] == row["inserted"] == row["server_total"] > 0, row
    assert maximo.value("select count(*) from maximo.groupuser") == len(
        [
            item
            for person in maximo.world.rows["mxapiperuser"].values()
            if person["status"] == "ACTIVE"
            for user in person.get("maxuser", ())
            for item in user["groupuser"]
        ]
    )
    before = written(maximo)

    second = maximo.sync_all(BOTH, is_forced=True)

    assert {row["status"] for row in second.runs} == {"success"}
    assert sum(row["inserted"] + row["updated"] for row in second.runs) == 0
    assert written(maximo) == before
    answers = maximo.value("select count(*) from maximo.response where not is_pending")
    assert answers == sum(row["fetched"] for row in second.runs)


def test_values_are_what_maximo_wrote(maximo):
    maximo.sync_all(BOTH)

    asset = maximo.rows("select * from maximo.assets where assetuid = 1007")[0]
    assert f"{asset['totalcost']:f}" == "0.0000001"
    assert str(asset["purchaseprice"]) == "1007.1"
    assert asset["installdate"].isoformat() == "2019-03-04"
    assert asset["_extra"] == {"customfield": "C7", "status_description": "In Betrieb"}
    labor = maximo.rows("select * from maximo.wolabor where line_kind = 'ACTUAL' limit 1")[0]
    assert labor["starttime"].isoformat() == "08:20:00"
    assert labor["startdate"].isoformat() == "2026-06-02"
    # Booked on a task, a line stands under the task and under its parent, where both are in scope.
    lines = maximo.rows(
        "select count(*) as n from maximo.wolabor where line_kind = 'ACTUAL' group by native_id"
    )
    assert {row["n"] for row in lines} == {1, 2}
    numbers = maximo.rows("select value, value_num from maximo.domain_values where value_kind = 'NUMERIC'")
    assert {(row["value"], str(row["value_num"]).rstrip("0").rstrip(".")) for row in numbers} >= {("1", "1")}
    meters = maximo.rows("select lastreading, lastreading_num from maximo.assetmeter order by assetmeterid")
    assert {(row["lastreading"], str(row["lastreading_num"])) for row in meters} == {
        ("1234.50", "1234.50"),
        ("on", "None"),
    }
    shared = maximo.value("select count(distinct assetuid) from maximo.assetdoclinks where doclinksid = 1")
    assert shared > 1
    assert maximo.value("select count(*) from maximo.person_site where isinsert is not null") == 6
    assert maximo.value("select count(item_description) from maximo.inventory") == 112


def test_no_secret_and_no_personal_data_are_stored(maximo):
    maximo.sync_all(BOTH)

    for table in (*TABLES, "response"):
        for canary in (CANARY_SECRET, CANARY_EMAIL, "1 Canary Street", "+00 000 0000"):
            held = f"select count(*) from maximo.{table} t where position(:text in t::text) > 0"
            assert maximo.value(held, text=canary) == 0, (table, canary)
    assert not any(row.has_cookie for row in maximo.app.record)
    assert all(row.has_key for row in maximo.app.record)


def test_the_first_page_is_asked_for_as_the_declaration_says(maximo):
    maximo.sync("wodetail", "LCVIRQ")

    first, second = maximo.simulator.asked("mxapiwodetail")[:2]
    assert first.value("oslc.where") == 'siteid="LCVIRQ" and historyflag=0'
    assert first.value("domaininternalwhere") == "status!=CLOSE,CAN"
    assert first.value("oslc.orderBy") == "+workorderid"
    assert second.value("oslc.where") == 'siteid="LCVIRQ" and historyflag=0 and workorderid>500100'
    assert "labtrans{*,startdate,finishdate}" in str(first.value("oslc.select"))


def test_a_row_that_closes_or_goes_while_a_read_is_under_way_never_stays_open(maximo):
    def change(structure: str, page: int) -> None:
        if structure == "mxapiwodetail" and page == 3:
            maximo.world.change(structure, 500_001, status="CLOSE", historyflag=True)
            maximo.world.remove(structure, 500_002)
            maximo.world.change(structure, 500_600, status="CAN", historyflag=True)

    maximo.app.on_page = change

    row = maximo.sync("wodetail", "LCVIRQ")

    statuses = maximo.rows('select workorderid, "_sync_status" as s from maximo.workorder')
    found = {item["workorderid"]: item["s"] for item in statuses}
    assert found.get(500_001) in {"out_of_scope", None}
    assert found.get(500_002) in {"deleted", None}
    assert 500_600 not in found
    assert row["status"] == "success"


def test_a_row_that_leaves_while_another_enters_behind_the_page_is_told_by_its_id(maximo):
    structure, most = "mxapiwodetail", maximo.world.rows["mxapiwodetail"]
    newcomer = {**most[500_003], "workorderid": 400_001, "wonum": "NEW-1"}
    maximo.sync("wodetail", "LCVIRQ")

    def change(asked: str, page: int) -> None:
        if asked == structure and page == 3:
            maximo.world.change(structure, 500_001, status="CLOSE", historyflag=True)
            maximo.world.remove(structure, 500_002)
            maximo.world.add(structure, newcomer)
            maximo.world.add(structure, {**newcomer, "workorderid": 400_002, "wonum": "NEW-2"})

    maximo.app.pages.clear()
    maximo.app.on_page = change

    row = maximo.sync("wodetail", "LCVIRQ", is_forced=True)

    # The counts before and after are equal, and the rows as many.
    assert (row["status"], row["server_total"], row["out_of_scope"], row["deleted"]) == ("success", 600, 1, 1)
    statuses = maximo.rows('select workorderid, "_sync_status" as s from maximo.workorder')
    found = {item["workorderid"]: item["s"] for item in statuses}
    assert [found.get(number) for number in (500_001, 500_002, 400_001, 400_002)] == [
        "out_of_scope",
        "deleted",
        "synced",
        "synced",
    ]


def test_what_is_gone_is_marked_deleted_and_who_returns_is_synced(maximo):
    maximo.sync("assets")
    gone = maximo.world.remove("mxapiasset", 1001)
    maximo.world.change("mxapiasset", 1002, status="STILLGELEGT")

    row = maximo.sync("assets", is_forced=True)

    assert (row["deleted"], row["out_of_scope"], row["status"]) == (1, 1, "success")
    assert maximo.statuses("assets") == {"deleted": 1, "out_of_scope": 1, "synced": 228}
    maximo.world.add("mxapiasset", gone)
    maximo.sync("assets", is_forced=True)
    assert maximo.statuses("assets") == {"out_of_scope": 1, "synced": 229}


def test_half_a_site_that_vanishes_is_not_marked_deleted_until_a_person_accepts_it(maximo):
    maximo.sync("assets")
    for identifier in range(1001, 1116):
        maximo.world.remove("mxapiasset", identifier)

    row = maximo.sync("assets", is_forced=True)

    assert row["status"] == "partial"
    assert row["deleted"] == 0
    assert "115 of 230 rows" in row["message"]
    assert maximo.statuses("assets") == {"synced": 230}
    accepted = maximo.sync("assets", is_forced=True, accepts_deletes=True)
    assert (accepted["status"], accepted["deleted"]) == ("success", 115)


def test_a_site_that_is_lost_marks_nothing_deleted(maximo):
    maximo.sync("locations")
    maximo.app.behaviour.site_lost = SITE

    row = maximo.sync("locations", is_forced=True)

    assert row["status"] == "partial"
    assert maximo.statuses("locations") == {"synced": 171}


def test_groups_without_detail_are_placeholders_until_they_come_again(maximo):
    def bring(is_brought: bool) -> None:
        maximo.app.world = World(persons=60, assets=230, domains=40)
        for item in maximo.world.memberships():
            if not is_brought and int(item["groupname"][5:]) <= 16:
                del item["maxgroup"]

    bring(is_brought=False)
    row = maximo.sync("peruser")
    assert row["placeholders"] == 16
    memberships = maximo.value("select count(*) from maximo.groupuser")
    assert maximo.statuses("maxgroup") == {"placeholder": 16, "synced": 160}
    bring(is_brought=True)
    assert maximo.sync("peruser", is_forced=True)["placeholders"] == 0
    assert maximo.statuses("maxgroup") == {"synced": 176}
    bring(is_brought=False)
    assert maximo.sync("peruser", is_forced=True)["placeholders"] == 16
    assert maximo.value("select count(description) from maximo.maxgroup") == 176
    assert maximo.value("select count(*) from maximo.groupuser") == memberships


@pytest.mark.parametrize("trait", ["ignores_order", "ignores_filter", "ignores_site", "ignores_lean"])
def test_a_server_that_ignores_the_query_is_told_and_changes_no_row(maximo, trait):
    setattr(maximo.app.behaviour, trait, True)

    row = maximo.sync("inventory")

    assert (row["status"], row["error_class"]) == ("error", "contract")
    assert maximo.value("select count(*) from maximo.inventory") == 0


def test_a_server_that_does_not_count_proves_nothing(maximo):
    maximo.sync("locations")
    maximo.world.remove("mxapilocations", 1001)
    maximo.app.behaviour.ignores_count = True

    row = maximo.sync("locations", is_forced=True)

    assert row["status"] == "partial"
    assert maximo.statuses("locations") == {"synced": 171}


def test_a_server_that_ignores_internal_values_is_asked_by_its_words(maximo):
    maximo.app.behaviour.ignores_internal_status = True
    maximo.sync("domain")

    row = maximo.sync("locations")

    assert (row["status"], row["fetched"]) == ("success", 171)
    assert "IN BETRIEB, OPERATING" in row["message"]
    work_orders = maximo.sync("wodetail", "LCVIRQ")
    assert (work_orders["status"], work_orders["fetched"]) == ("success", 600)
    again = maximo.sync("locations", is_forced=True)
    assert again["pages"] == 1


def test_words_that_nobody_knows_bring_no_row_and_are_named(maximo):
    maximo.app.behaviour.ignores_internal_status = True
    for row in maximo.world.rows["mxapilocations"].values():
        row["status"] = "IN BETRIEB"

    row = maximo.sync("locations")

    assert row["status"] == "partial"
    assert "IN BETRIEB" in row["message"]


def test_the_next_page_of_another_host_is_never_asked_for_and_a_login_page_stops_all(maximo):
    maximo.app.behaviour.login_page = "html"

    with pytest.raises(AuthError, match="MAXIMO_API_KEY"):
        maximo.sync("assets")

    assert maximo.value("select count(*) from maximo.assets") == 0
    assert maximo.value("select last_sync_at from maximo.sync_state") is None
    maximo.app.behaviour.login_page = "redirect"
    report = maximo.sync_all()
    assert (report.exit_code, len(report.runs)) == (3, 0)


def test_a_page_of_html_is_an_outage_where_the_key_is_known(maximo):
    maximo.app.faults.add("mxapilocations", Fault("html"))

    assert maximo.sync("locations")["status"] == "success"


@pytest.mark.parametrize("code", ["BMXAA9549E", "BMXAA0021E", "BMXAA7901E"])
def test_a_refused_key_stops_maximo_whatever_the_status(maximo, code):
    maximo.app.behaviour.sends_prefixed_errors = code == "BMXAA0021E"
    maximo.app.faults.always("mxapidomain", Fault("error", 400, code))

    report = maximo.sync_all()

    assert (report.exit_code, report.runs) == (3, [])


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        (Fault("error", 400, "BMXAA9301E"), "auth"),
        (Fault("error", 403, "BMXAA0000E"), "auth"),
        (Fault("error", 404, "BMXAA0000E"), "auth"),
        (Fault("error", 400, "BMXAA8744E"), "contract"),
        (Fault("error", 400, "BMXAA0000E"), "data"),
        (Fault("status", 503), "transient"),
        (Fault("not_json"), "transient"),
    ],
)
def test_a_failed_structure_keeps_its_data_and_stops_no_other(maximo, fault, error_class):
    maximo.app.faults.always("mxapilocations", fault)

    report = maximo.sync_all()

    words = {row["endpoint"]: (row["status"], row.get("error_class")) for row in report.runs}
    assert words.pop("locations") == ("error", error_class)
    assert set(words.values()) == {("success", None)}
    assert len(words) == len(STRUCTURES) - 1
    assert report.exit_code == 1


def test_a_page_that_fails_is_asked_for_at_half_its_size(maximo):
    maximo.app.behaviour.largest_page = 60

    row = maximo.sync("assets")

    assert (row["status"], row["fetched"]) == ("success", 230)
    sizes = [item.value("oslc.pageSize") for item in maximo.simulator.asked("mxapiasset")]
    assert sizes[:5] == ["500", "250", "125", "62", "31"]


def test_a_page_that_is_refused_is_asked_for_once_at_ten_and_then_at_half(maximo):
    maximo.app.behaviour.largest_page, maximo.app.behaviour.too_large_status = 260, 400

    row = maximo.sync("assets")

    assert (row["status"], row["fetched"]) == ("success", 230)
    sizes = [item.value("oslc.pageSize") for item in maximo.simulator.asked("mxapiasset")]
    assert sizes[:3] == ["500", "10", "250"]


def test_random_faults_lose_no_row(maximo):
    maximo.app.faults.by_chance(0.2, seed=3)

    report = maximo.sync_all()

    good = [row for row in report.runs if row["status"] == "success"]
    assert good
    assert all(row["fetched"] == row["server_total"] for row in good)
