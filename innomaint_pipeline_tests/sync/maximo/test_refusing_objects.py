"""Other programs' triggers, constraints and policies on the tables of Maximo: each costs its row alone."""

import pytest

from innomaint_pipeline.errors import AdoptionError, DatabaseError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline_tests.maximo import Maximo
from innomaint_pipeline_tests.refusing import AT_COMMIT, SILENT, SPOKEN, refusing

REFUSED, OTHER = 1007, 1008
OPEN = "select row_id from maximo.reject where resolved_at is null"


def test_a_row_that_a_trigger_refuses_or_swallows_is_a_reject_and_costs_no_other(maximo: Maximo) -> None:
    maximo.sync("assets")
    description = "select description from maximo.assets where assetuid = :id"
    for number, how in enumerate([*SPOKEN, SILENT, AT_COMMIT]):
        for identifier in (REFUSED, OTHER):
            maximo.world.change("mxapiasset", identifier, description=f"changed {number}")
        with refusing(maximo, "maximo.assets", "insert or update", f"new.assetuid = {REFUSED}", how):
            row = maximo.sync("assets", is_forced=True)
        assert (row["status"], row["rejected"], row["updated"]) == ("partial", 1, 1), how
        assert maximo.value(OPEN) == REFUSED, how
        assert maximo.value(description, id=OTHER) == f"changed {number}", how
        assert maximo.value(description, id=REFUSED) == "Pump 7", how
    row = maximo.sync("assets", is_forced=True)
    assert (row["status"], row["updated"], maximo.rows(OPEN)) == ("success", 1, [])


def test_a_child_an_answer_or_a_deletion_that_is_refused_costs_its_root_alone(maximo: Maximo) -> None:
    maximo.sync("assets")
    meters = "select count(*) from maximo.assetmeter where assetuid = 1020"
    held = maximo.value(meters)
    maximo.world.rows["mxapiasset"][1020].pop("assetmeter")
    maximo.world.remove("mxapiasset", 1001)
    maximo.world.remove("mxapiasset", 1002)
    maximo.world.change("mxapiasset", 1009, description="unheard")

    with (
        refusing(maximo, "maximo.assetmeter", "delete", "old.assetuid = 1020", SILENT),
        refusing(maximo, "maximo.assets", "update", "old.assetuid = 1001", SILENT, name="keep"),
        refusing(maximo, "maximo.response", "insert", "new.id = 1009", "42501", name="deaf"),
    ):
        rows = [maximo.sync("assets", is_forced=True) for _ in range(2)]

    assert [(row["status"], row["rejected"], row["deleted"]) for row in rows] == [
        ("partial", 3, 1),
        ("partial", 3, 0),
    ]
    assert [row["row_id"] for row in maximo.rows(f"{OPEN} order by 1")] == [1001, 1009, 1020]
    assert maximo.value("select count(*) from maximo.reject") == 3
    assert maximo.value(meters) == held
    row = maximo.sync("assets", is_forced=True)
    assert (row["status"], row["rejected"], row["deleted"], row["updated"]) == ("success", 0, 1, 2)
    assert maximo.rows(OPEN) == []


def test_what_a_trigger_says_of_each_row_is_everybodys_trouble_and_named(maximo: Maximo) -> None:
    for how in ("42501", SILENT):
        with (
            refusing(maximo, "maximo.locations", "insert", "true", how),
            pytest.raises(DatabaseError, match=r"each of 171 rows.*correct the trigger"),
        ):
            maximo.sync("locations")
    assert maximo.value("select count(*) from maximo.reject") == 0
    assert maximo.sync("locations")["inserted"] == 171


def test_a_policy_that_hides_rows_of_maximo_is_named_by_the_upgrade(maximo: Maximo) -> None:
    maximo.execute("drop role if exists blind_to_maximo; create role blind_to_maximo login;")
    maximo.execute(
        "grant usage on schema maximo to blind_to_maximo;"
        "grant select, insert, update on all tables in schema maximo, public to blind_to_maximo;"
        "grant create on schema public to blind_to_maximo;"
        "alter table maximo.assets enable row level security;"
        "create policy few on maximo.assets using (assetuid < 1005);"
    )
    url = maximo.database.engine.url.set(username="blind_to_maximo")
    blind = Database(url.render_as_string(hide_password=False))
    try:
        with pytest.raises(AdoptionError, match=r"maximo\.assets has row-level security.*BYPASSRLS"):
            upgrade_database(blind, batch_size=100)
    finally:
        blind.close()
        maximo.execute("drop owned by blind_to_maximo; drop role blind_to_maximo")
