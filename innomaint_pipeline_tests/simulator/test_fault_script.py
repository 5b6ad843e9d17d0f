from collections import Counter
from typing import Any

import pytest

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.innomaint.faults import (
    TRANSIENT_FAULTS,
    EmptyBody,
    FaultScript,
    Hang,
    Healthy,
    Html,
    Status,
)


def test_an_empty_script_lets_everything_go_well() -> None:
    assert FaultScript().take("pump") is None


def test_a_list_is_used_up_one_fault_a_request() -> None:
    script = FaultScript().next("pump", Status(500), Healthy(), Html())
    assert script.count_left("pump") == 3
    assert [script.take("pump") for _ in range(4)] == [Status(500), None, Html(), None]
    assert script.count_left("pump") == 0
    assert script.take("valve") is None


def test_what_holds_always_follows_the_list() -> None:
    script = FaultScript().always("pump", Status(404)).next("pump", Status(500))
    assert [script.take("pump") for _ in range(3)] == [Status(500), Status(404), Status(404)]


def test_an_outage_comes_before_all_else_and_uses_nothing_up() -> None:
    script = FaultScript().next("pump", Html()).always_everywhere(Status(503))
    assert [script.take("pump"), script.take("valve"), script.take(None)] == [Status(503)] * 3
    script.always_everywhere(None)
    assert script.take("pump") == Html()


def test_a_short_outage_hits_the_next_requests_whatever_they_ask_for() -> None:
    script = FaultScript().next_everywhere(Status(401), Hang())
    assert [script.take("pump"), script.take("valve"), script.take("pump")] == [Status(401), Hang(), None]


def test_chance_hits_about_that_share_with_every_kind() -> None:
    script = FaultScript().by_chance(0.3)
    met = Counter(script.take(f"pump {number}") for number in range(3000))
    assert 2000 < met.pop(None) < 2200
    assert met.keys() == set(TRANSIENT_FAULTS)


def test_chance_does_not_depend_on_the_order_of_requests() -> None:
    serials = [f"pump {number}" for number in range(200)] * 3
    forward, backward = FaultScript().by_chance(0.5, seed=7), FaultScript().by_chance(0.5, seed=7)
    one = [(serial, forward.take(serial)) for serial in serials]
    other = [(serial, backward.take(serial)) for serial in reversed(serials)]
    assert Counter(one) == Counter(other)
    different = FaultScript().by_chance(0.5, seed=8)
    assert one != [(serial, different.take(serial)) for serial in serials]


def test_a_healthy_turn_is_spared_by_chance_too() -> None:
    script = FaultScript().by_chance(1, faults=[EmptyBody()]).next("pump", Healthy())
    assert [script.take("pump"), script.take("pump")] == [None, EmptyBody()]


def test_clearing_ends_everything() -> None:
    script = FaultScript().next("a", Html()).always("b", Html()).next_everywhere(Html()).by_chance(1)
    script.always_everywhere(Html()).clear()
    assert [script.take(serial) for serial in ("a", "b", "c")] == [None] * 3


def test_a_script_survives_json() -> None:
    script = FaultScript().next("a/b, c", Html(), Status(429, retry_after="soon")).always("pump", Status(404))
    script.next_everywhere(Hang()).by_chance(0.2, seed=5, faults=[Status(500)])
    copy = FaultScript().load(script.to_json())
    assert copy.to_json() == script.to_json()
    assert [copy.take("a/b, c") for _ in range(3)][:2] == [Hang(), Html()]
    assert copy.take("pump") == Status(404)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"serial": {}},
        {"serials": {"pump": []}},
        {"serials": {"pump": {"then": []}}},
        {"serials": {"pump": {"next": {"kind": "html"}}}},
        {"everywhere": {"always": {"kind": "flood"}}},
        {"chance": {"seed": 1}},
        {"chance": {"probability": 2}},
        {"chance": {"probability": 0.5, "faults": []}},
    ],
)
def test_a_script_that_cannot_be_is_refused_and_the_old_one_stays(value: Any) -> None:
    script = FaultScript().always("pump", Html())
    with pytest.raises(ConfigurationError):
        script.load(value)
    assert script.take("pump") == Html()
