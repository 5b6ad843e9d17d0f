from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from innomaint_pipeline.simulator.innomaint.demo import (
    CMMS_ASSETS_PER_BATCH,
    REQUESTS_PER_BATCH_RUN,
    demo_faults,
)
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.world import World


def build_world(size: int = 2957) -> World:
    return World(size=size, now=lambda: datetime(2026, 6, 20, tzinfo=UTC))


def test_the_whole_demonstration_has_its_announced_counts() -> None:
    demo = demo_faults(build_world())
    assert demo.counts == {"unknown": 38, "ailing": 6, "ailing_batches": 3, "hiccups": 9}


@pytest.mark.parametrize("size", [1, 2, 60, 100, 250, 600, 2957, 10_000])
def test_each_serial_number_is_in_one_group_and_the_first_in_none(size: int) -> None:
    world = build_world(size)
    demo = demo_faults(world)
    hit = [*demo.unknown, *demo.ailing, *demo.hiccups]
    assert len(set(hit)) == len(hit)
    assert set(hit) <= set(world.serials[1:])
    assert demo.counts["ailing"] == (6 if size >= 300 else len(demo.ailing))


def test_unknown_serial_numbers_are_spread_over_the_report() -> None:
    world = build_world()
    demo = demo_faults(world)
    positions = sorted(world.serials.index(serial) for serial in demo.unknown)
    assert max(after - before for before, after in pairwise(positions)) < 100
    assert all(demo.script.take(serial) == Status(404) for serial in demo.unknown for _ in range(9))


def test_ailing_ones_stand_at_most_three_to_a_batch_and_heal_after_one_batch_run() -> None:
    world = build_world()
    demo = demo_faults(world)
    batches = Counter(world.serials.index(serial) // CMMS_ASSETS_PER_BATCH for serial in demo.ailing)
    assert sorted(batches) == sorted(demo.ailing_batches)
    assert 2 <= len(batches) <= 3
    assert max(batches.values()) <= 3
    for serial in demo.ailing:
        met = [demo.script.take(serial) for _ in range(REQUESTS_PER_BATCH_RUN + 3)]
        assert met == [Status(503)] * REQUESTS_PER_BATCH_RUN + [None] * 3


def test_a_hiccup_happens_once() -> None:
    demo = demo_faults(build_world())
    for serial in demo.hiccups:
        assert [demo.script.take(serial) for _ in range(3)] == [Status(500), None, None]


def test_the_script_is_the_same_each_time() -> None:
    assert demo_faults(build_world()).script.to_json() == demo_faults(build_world()).script.to_json()
