from datetime import timedelta

import pytest

from innomaint_pipeline.domain.states import RETRYABLE_CLASSES, WHAT_TO_DO, ErrorClass, SyncState, retry_delay


def test_the_states_are_those_of_the_contract():
    assert [str(state) for state in SyncState] == ["never", "synced", "failed"]


def test_the_error_classes_are_those_of_the_contract_and_auth_is_none_of_them():
    assert {str(item) for item in ErrorClass} == {
        "transient",
        "rate_limited",
        "not_found",
        "contract",
        "data",
        "internal",
    }


def test_only_transient_rate_limited_and_internal_are_worth_retrying():
    assert {str(item) for item in RETRYABLE_CLASSES} == {"transient", "rate_limited", "internal"}


def test_every_class_says_what_to_do():
    assert set(WHAT_TO_DO) == set(ErrorClass)
    assert all(WHAT_TO_DO.values())


@pytest.mark.parametrize("error_class", sorted(RETRYABLE_CLASSES))
@pytest.mark.parametrize(
    ("failures", "minutes"),
    [(0, 2), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 64), (7, 128), (8, 240), (9, 240), (10**9, 240)],
)
def test_a_retryable_failure_is_due_after_minutes_that_double_up_to_four_hours(
    error_class, failures, minutes
):
    assert retry_delay(error_class, failures) == timedelta(minutes=minutes)


@pytest.mark.parametrize("failures", [1, 2, 50])
@pytest.mark.parametrize(
    ("error_class", "days"), [(ErrorClass.NOT_FOUND, 7), (ErrorClass.CONTRACT, 1), (ErrorClass.DATA, 1)]
)
def test_a_failure_not_worth_retrying_is_due_after_a_fixed_time(error_class, days, failures):
    assert retry_delay(error_class, failures) == timedelta(days=days)
