"""The facts of continuous sync, from real tables."""

import pytest

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import lease_name
from innomaint_pipeline.domain.innomaint.launches import SyncFacts, decide_launches
from innomaint_pipeline.store.innomaint.due_batches import load_sync_facts
from innomaint_pipeline.store.leases import UP_LEASE, acquire_lease
from innomaint_pipeline.store.pacing import ensure_account
from innomaint_pipeline.store.settings import PAUSED, save_setting
from innomaint_pipeline_tests.conftest import Pipeline

ACCOUNT = "http://127.0.0.1:1/api"


def facts(pipeline: Pipeline, *in_runs: str) -> SyncFacts:
    with pipeline.database.begin() as connection:
        return load_sync_facts(connection, account=ACCOUNT, batches_in_runs=in_runs)


@pytest.fixture
def batches(empty_pipeline: Pipeline, request: pytest.FixtureRequest) -> Pipeline:
    """Twelve CMMS assets in six batches: two never synced, two failed, two synced; all due."""
    # States are planted without the answers that they stand for.
    request.node.add_marker(pytest.mark.leaves("synced_without_answer"))
    empty_pipeline.import_serials(batch_size=2)
    for numbers, state, error_class, minutes in (
        ((1,), "synced", None, 90),
        ((2,), "synced", None, 120),
        ((3,), "failed", "transient", 5),
        ((4,), "failed", "rate_limited", 10),
    ):
        keys = [f"batch_{number:06d}" for number in numbers]
        empty_pipeline.execute(
            "update innomaint_sync_state set state = :state, error_class = :error_class,"
            " next_due_at = now() - make_interval(mins => :minutes) where batch_key = any(:keys)",
            state=state,
            error_class=error_class,
            minutes=minutes,
            keys=keys,
        )
    return empty_pipeline


def test_an_empty_database_has_facts_too(empty_pipeline: Pipeline) -> None:
    assert facts(empty_pipeline) == SyncFacts(total=0, demands=[], in_flight=frozenset())


def test_batches_come_never_synced_first_then_retryable_then_the_stalest(batches: Pipeline) -> None:
    demands = facts(batches).demands

    assert [item.batch_key for item in demands] == [f"batch_{number:06d}" for number in (5, 6, 4, 3, 2, 1)]
    assert [(item.never, item.retryable, item.stale) for item in demands] == [
        (2, 0, 0),
        (2, 0, 0),
        (0, 2, 0),
        (0, 2, 0),
        (0, 0, 2),
        (0, 0, 2),
    ]


def test_what_is_not_due_is_no_demand_and_the_next_moment_is_told(batches: Pipeline) -> None:
    batches.execute("update innomaint_sync_state set next_due_at = now() + asset_id * interval '10 minutes'")

    found = facts(batches)

    assert (found.total, found.demands) == (12, [])
    assert found.next_due_in_seconds == pytest.approx(600, abs=30)


@pytest.mark.leaves("expired_leases")
def test_runs_and_live_leases_are_in_flight_and_expired_ones_are_not(batches: Pipeline) -> None:
    with batches.database.begin() as connection:
        acquire_lease(connection, lease_name("batch_000001"), "a command line")
        acquire_lease(connection, lease_name("batch_000002"), "a killed run", seconds=-1)

    assert facts(batches, "batch_000004").in_flight == {"batch_000001", "batch_000004"}


def test_a_pause_is_a_fact(batches: Pipeline) -> None:
    assert not facts(batches).is_paused
    with batches.database.begin() as connection:
        save_setting(connection, SOURCE, PAUSED, value=True)
    assert facts(batches).is_paused


@pytest.mark.parametrize(("probe_in", "expected"), [(40, 40), (-40, 0)])
def test_an_open_breaker_tells_when_the_next_probe_may_start(
    batches: Pipeline, probe_in: int, expected: int
) -> None:
    assert facts(batches).probe_in_seconds is None
    with batches.database.begin() as connection:
        ensure_account(connection, ACCOUNT)
    assert facts(batches).probe_in_seconds is None

    batches.execute(
        "update innomaint_rate_limit set breaker_opened_at = extract(epoch from now()),"
        " breaker_probe_at = extract(epoch from now()) + :probe_in",
        probe_in=probe_in,
    )

    assert facts(batches).probe_in_seconds == pytest.approx(expected, abs=20 if expected else 0)


def test_the_breaker_of_another_account_does_not_matter(batches: Pipeline) -> None:
    batches.execute(
        "insert into innomaint_rate_limit (account, breaker_opened_at, breaker_probe_at)"
        " values ('another', 1, 1)"
    )
    assert facts(batches).probe_in_seconds is None


def test_failed_batch_runs_in_a_row_are_counted_with_the_time_since_the_last(batches: Pipeline) -> None:
    for status, seconds in (("failed", 400), ("complete", 300), ("failed", 200), ("failed", 100)):
        batches.execute(
            "insert into cmms_sync_log (sync_type, status, synced_at)"
            " values ('api_sync', :status, now() - make_interval(secs => :seconds))",
            status=status,
            seconds=seconds,
        )

    found = facts(batches)

    assert found.consecutive_failures == 2
    assert found.seconds_since_failure == pytest.approx(100, abs=20)

    with batches.database.begin() as connection:
        acquire_lease(connection, UP_LEASE, "up")
    assert facts(batches).seconds_since_failure is None, "who has started the program again need not wait"
    batches.execute("update innomaint_lease set acquired_at = now() - interval '1 hour'")
    assert facts(batches).seconds_since_failure == pytest.approx(100, abs=20)


def test_a_row_of_another_program_without_an_id_is_counted_and_never_due(batches: Pipeline) -> None:
    batches.execute("insert into ic3_asset_master (asset_name) values ('no id yet')")

    found = facts(batches)

    assert found.total == 13
    assert sum(item.due for item in found.demands) == 12


def test_the_decision_reads_the_facts_as_they_are(batches: Pipeline) -> None:
    assert decide_launches(facts(batches, "batch_000005")).launch == ("batch_000006", "batch_000004")
