import pytest

from innomaint_pipeline.simulator.record import RequestRecord, RequestStart


def record_of(*moments: float) -> RequestRecord:
    record = RequestRecord()
    for moment in moments:
        record.add(RequestStart(moment, 1_780_000_000 + moment, f"pump {moment}", 200, None))
    return record


@pytest.mark.parametrize(
    ("moments", "most"),
    [
        ((), 0),
        ((5.0,), 1),
        ((0.0, 0.25, 0.5, 0.75, 1.0), 4),
        ((0.0, 0.9, 1.1, 1.8, 1.85, 2.5), 4),
        ((1.1, 0.9, 0.0), 2),
        ((0.0, 1.0, 2.0), 1),
    ],
)
def test_the_most_in_any_second_is_found_wherever_the_second_begins(
    moments: tuple[float, ...], most: int
) -> None:
    assert record_of(*moments).max_within(1) == most


@pytest.mark.parametrize(
    ("moments", "rate"), [((), 0), ((1.0,), 0), ((1.0, 1.0), 0), ((0.0, 0.2, 0.4), 5), ((0.4, 0.0, 0.2), 5)]
)
def test_the_rate_counts_the_gaps_between_first_and_last(moments: tuple[float, ...], rate: float) -> None:
    assert record_of(*moments).rate() == pytest.approx(rate)


def test_counts_are_by_serial_number_and_a_cleared_record_is_empty() -> None:
    record = record_of(1.0, 1.0, 2.0)
    assert record.count("pump 1.0") == 2
    assert record.count_by_serial() == {"pump 1.0": 2, "pump 2.0": 1}
    starts = record.starts
    record.clear()
    assert (len(record), record.starts, len(starts)) == (0, (), 3)


def test_a_summary_of_nothing_is_all_zero() -> None:
    assert RequestRecord().summarize() == {
        "requests": 0,
        "serials": 0,
        "by_status": {},
        "by_fault": {},
        "rate_per_second": 0.0,
        "max_in_any_second": 0,
    }
