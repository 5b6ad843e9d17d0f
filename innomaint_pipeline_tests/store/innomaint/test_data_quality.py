"""How good the data is: the vendor's example, planted contradictions, and figures of runs."""

import pytest

from innomaint_pipeline.store.innomaint.batch_runs import RunFigures, load_run_figures
from innomaint_pipeline.store.innomaint.data_quality import (
    count_contradictions,
    count_data_issues,
    count_not_found,
    find_unfinished_batches,
)
from innomaint_pipeline.store.innomaint.health import find_oldest_success
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline

KINDS = (
    "mttr_times_tickets",
    "mtbf_times_tickets",
    "criticality_against_label",
    "ticketcount_against_total_ticket",
)
# The vendor's example: 8:30 x 2 = 17:00; 8526:06:43 x 2 = 17052:30:27 - 17:00, rounded down.
EXAMPLE = {
    "total_ticket": 2,
    "mttr_seconds": 510,
    "mtbf_seconds": 30_694_003,
    "ticket_breakdown_seconds": 1_020,
    "actual_seconds": 61_389_027,
}


def plant(
    pipeline: Pipeline, *, label: str = "Critical", criticality: str = "High", **changes: object
) -> None:
    """Make the first CMMS asset's numbers those of the vendor's example, with changes."""
    values = {"ticketcount": 2, **EXAMPLE, **changes}
    pipeline.execute("delete from ic3_asset_performance where asset_id = 1")
    pipeline.execute(
        "update ic3_asset_master set criticality = :criticality, ticketcount = :ticketcount"
        " where asset_id = 1",
        criticality=criticality,
        ticketcount=values.pop("ticketcount"),
    )
    pipeline.execute(
        f"insert into ic3_asset_performance (asset_id, criticality_type_label, {', '.join(values)})"
        f" values (1, :label, {', '.join(f':{name}' for name in values)})",
        label=label,
        **values,
    )


def contradictions(pipeline: Pipeline) -> dict[str, int]:
    with pipeline.database.begin() as connection:
        return count_contradictions(connection)


def test_the_example_obeys_the_vendors_arithmetic(pipeline: Pipeline) -> None:
    plant(pipeline)
    assert contradictions(pipeline) == {"compared": 1, **dict.fromkeys(KINDS, 0)}


def test_the_vendors_own_example_contradicts_itself_in_two_ways(pipeline: Pipeline) -> None:
    plant(pipeline, label="Non-Critical", ticketcount=5)
    assert contradictions(pipeline) == {
        "compared": 1,
        "mttr_times_tickets": 0,
        "mtbf_times_tickets": 0,
        "criticality_against_label": 1,
        "ticketcount_against_total_ticket": 1,
    }


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"mttr_seconds": 511}, "mttr_times_tickets"),
        ({"mttr_seconds": 0}, "mttr_times_tickets"),
        ({"mtbf_seconds": EXAMPLE["mtbf_seconds"] + 1}, "mtbf_times_tickets"),
        ({"mtbf_seconds": EXAMPLE["mtbf_seconds"] - 1}, "mtbf_times_tickets"),
        ({"actual_seconds": EXAMPLE["actual_seconds"] + 2}, "mtbf_times_tickets"),
        ({"label": "non critical"}, "criticality_against_label"),
        ({"label": "Non-Critical", "criticality": "CRITICAL"}, "criticality_against_label"),
        ({"ticketcount": 0}, "ticketcount_against_total_ticket"),
    ],
)
def test_a_planted_contradiction_is_counted_once_by_its_kind(
    pipeline: Pipeline, changes: dict[str, object], kind: str
) -> None:
    plant(pipeline, **changes)  # pyright: ignore[reportArgumentType]
    assert contradictions(pipeline) == {"compared": 1, **dict.fromkeys(KINDS, 0), kind: 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"total_ticket": 0, "ticketcount": 0, "mttr_seconds": 0, "mtbf_seconds": 0},
        {"total_ticket": None},
        {"mttr_seconds": None, "mtbf_seconds": None},
        {"ticket_breakdown_seconds": None},
        {"actual_seconds": None},
        {"ticketcount": None},
        {"label": "Non-Critical", "criticality": "Low"},
        {"label": None},
        # A half second is rounded down: the example itself, and one second less.
        {"actual_seconds": EXAMPLE["actual_seconds"] - 1},
    ],
)
def test_what_is_missing_or_rounded_contradicts_nothing(
    pipeline: Pipeline, changes: dict[str, object]
) -> None:
    plant(pipeline, **changes)  # pyright: ignore[reportArgumentType]
    assert contradictions(pipeline) == {"compared": 1, **dict.fromkeys(KINDS, 0)}


def test_open_issues_are_counted_by_field_the_most_frequent_first(pipeline: Pipeline) -> None:
    pipeline.execute(
        "insert into innomaint_data_issue (asset_id, field, reason, resolved_at) values"
        " (1, 'mtbf', 'x', null), (1, 'mttr', 'x', null), (2, 'mttr', 'x', null), (3, 'mttr', 'x', now())"
    )
    with pipeline.database.begin() as connection:
        assert list(count_data_issues(connection).items()) == [("mttr", 2), ("mtbf", 1)]


def test_unknown_assets_and_unfinished_batches_are_counted_by_class(pipeline: Pipeline) -> None:
    for asset_id, error_class in enumerate(
        ("not_found", "not_found", "contract", "data", "transient", "rate_limited", "internal"), start=1
    ):
        pipeline.execute(
            "update innomaint_sync_state set state = 'failed', error_class = :error_class"
            " where asset_id = :asset_id",
            asset_id=asset_id,
            error_class=error_class,
        )
    with pipeline.database.begin() as connection:
        assert count_not_found(connection) == 2
        assert find_unfinished_batches(connection) == {FIRST_BATCH: 3}


def test_figures_of_no_run_are_none(pipeline: Pipeline) -> None:
    with pipeline.database.begin() as connection:
        assert load_run_figures(connection) == RunFigures(0, None, None, None, 0, 0)
        assert find_oldest_success(connection) is None


def test_figures_tell_success_durations_and_changed_against_unchanged(pipeline: Pipeline) -> None:
    statuses = ["complete"] * 16 + ["partial", "partial", "failed", "cancelled"]
    for number, status in enumerate(statuses, start=1):
        pipeline.execute(
            "insert into cmms_sync_log (sync_type, status, duration_ms, assets_synced, unchanged)"
            " values ('api_sync', :status, :duration, 10, 4)",
            status=status,
            duration=number * 100,
        )
    with pipeline.database.begin() as connection:
        found = load_run_figures(connection)

    assert found == RunFigures(
        runs=20,
        success_rate=0.9,
        average_duration_ms=1050,
        p95_duration_ms=1905,
        changed=120,
        unchanged=80,
    )


def test_only_the_newest_five_hundred_runs_count(pipeline: Pipeline) -> None:
    pipeline.execute(
        "insert into cmms_sync_log (sync_type, status, synced_at)"
        " select 'api_sync', case when n > 500 then 'failed' else 'complete' end,"
        " now() - make_interval(mins => n) from generate_series(1, 700) n"
    )
    with pipeline.database.begin() as connection:
        found = load_run_figures(connection)

    assert (found.runs, found.success_rate) == (500, 1.0)


@pytest.mark.leaves("synced_without_answer")
def test_the_oldest_good_data_tells_its_age(pipeline: Pipeline) -> None:
    pipeline.execute(
        "update innomaint_sync_state set state = 'synced',"
        " last_success_at = now() - make_interval(hours => asset_id)"
    )
    with pipeline.database.begin() as connection:
        oldest = find_oldest_success(connection)
    assert oldest is not None
    assert oldest.age_seconds == pytest.approx(12 * 3600, abs=60)
