"""A read of Maximo killed at every named moment; done again, it ends as if nothing had happened.

Tables are old or new, never mixed, and no request is sent again whose answer was stored.
"""

from collections import Counter
from typing import Any

from innomaint_pipeline.crash_points import CRASH_POINTS
from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME
from innomaint_pipeline.simulator.maximo.world import World
from innomaint_pipeline.store.maximo.tables import OWN_TABLES, TABLES
from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.faults.crash_child import SITE, Order, do_work
from innomaint_pipeline_tests.faults.test_crash_points import Killer, killer
from innomaint_pipeline_tests.maximo import Maximo, _maximo_process, maximo

__all__ = ["_maximo_process", "killer", "maximo"]

POINTS = [point for point in CRASH_POINTS if point.startswith("maximo ")]
# A page in the middle; the second hundred of missing ids.
AGAIN = ["maximo fetch: page written", "maximo fetch: page committed", "maximo fetch: missing ids committed"]
CHANCE = {"_first_seen_at", "_last_sync", "_sync_run_id", "fetched_at"}
OUTCOME = (
    "mode, watermark_to, server_total, fetched, inserted, updated, unchanged, deleted, out_of_scope,"
    " rejected, drift, status, message"
)


def tables(maximo: Maximo) -> dict[str, list[str]]:
    """Return what the structure's tables and the answers hold, without times and run ids."""
    names = [spec.name for spec in BY_SHORT_NAME["assets"].tables()]
    found = {name: maximo.rows(f"select * from maximo.{name}") for name in names}
    found["response"] = maximo.rows("select * from maximo.response where not is_pending")
    return {
        name: sorted(repr({key: value for key, value in row.items() if key not in CHANCE}) for row in rows)
        for name, rows in found.items()
    }


def set_up(maximo: Maximo) -> Order:
    """Read a world, and let it move on: half of it vanishes, some rows change, one is new."""
    for name in (*TABLES, *(table.name for table in OWN_TABLES)):
        maximo.execute(f"truncate maximo.{name} cascade")
    maximo.app.world = World(persons=1, assets=230, domains=6)
    assert maximo.sync("assets")["status"] == "success"
    for identifier in range(1001, 1116):
        maximo.world.remove("mxapiasset", identifier)
    for identifier in (1120, 1150):
        # Its time would else be the present.
        moment = "2026-06-02T09:00:00+03:00"
        maximo.world.change("mxapiasset", identifier, description="new", changedate=moment)
    new = dict(maximo.world.rows["mxapiasset"][1230])
    maximo.world.add("mxapiasset", {**new, "assetuid": 1999, "assetnum": "A-NEW", "assetmeter": []})
    maximo.execute("update maximo.sync_state set full_due_at = now()")
    maximo.app.record.clear()
    url = maximo.database.engine.url.render_as_string(hide_password=False)
    return Order("maximo", "killed", url, api_url=maximo.simulator.url, token=CANARY_TOKEN, names=("assets",))


def outcome(maximo: Maximo) -> dict[str, Any]:
    """Return what the newest run tells, and how far its structure is."""
    run = maximo.rows(f"select {OUTCOME} from maximo.sync_run order by id desc limit 1")[0]
    state = maximo.rows("select state, watermark, known, open_faults, reading from maximo.sync_state")[0]
    return run | state


def questions(maximo: Maximo) -> Counter[str]:
    """Return how often each page was asked for."""
    asked = maximo.simulator.asked("mxapiasset")
    return Counter(str(item.value("oslc.where")) for item in asked if item.value("count") is None)


def test_a_read_killed_at_any_point_and_done_again_ends_as_if_it_had_not_been(
    maximo: Maximo, killer: Killer
) -> None:
    do_work(set_up(maximo))
    new, told, asked = tables(maximo), outcome(maximo), questions(maximo)
    assert (told["deleted"], told["updated"], told["inserted"], told["status"]) == (115, 2, 1, "success")
    assert set(asked.values()) == {1}

    for point, occurrence in [*((point, 1) for point in POINTS), *((point, 2) for point in AGAIN)]:
        case = (point, occurrence)
        order = set_up(maximo)
        old = tables(maximo)
        killer.kill(Order(**{**vars(order), "point": point, "occurrence": occurrence}))
        assert tables(maximo) == (new if point == "maximo merge: committed" else old), case
        # What 30 seconds would do.
        maximo.execute("update innomaint_lease set expires_at = now() - interval '1 second'")
        if point == "maximo merge: committed":
            assert outcome(maximo) == told, case
            continue

        do_work(Order(**{**vars(order), "run_id": "again"}))

        assert tables(maximo) == new, case
        assert outcome(maximo) == told, case
        assert maximo.value("select count(*) from maximo.sync_run where site = :site", site=SITE) == 2, case
        repeated = sum((questions(maximo) - Counter(set(questions(maximo)))).values())
        assert repeated == (1 if point == "maximo fetch: page written" else 0), case
