"""What people are told, and what not again."""

from datetime import UTC, datetime, timedelta

import pytest

from innomaint_pipeline.domain.alerts import (
    REMINDER_AFTER,
    Condition,
    Notice,
    NoticeKind,
    Told,
    decide_notices,
)

NOW = datetime(2026, 6, 20, 10, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def health(value: str | None) -> Condition:
    return Condition("health", value, f"Health is {value}.")


def told(value: str | None, ago: timedelta = SECOND) -> dict[str, Told]:
    return {"health": Told(value, NOW - ago)}


@pytest.mark.parametrize(
    ("value", "known", "kind"),
    [
        (None, {}, None),
        ("stale", {}, NoticeKind.RAISED),
        ("stale", told("stale"), None),
        ("stale", told("stale", DAY - SECOND), None),
        ("stale", told("stale", DAY), NoticeKind.REMINDER),
        ("stale", told("stale", 40 * DAY), NoticeKind.REMINDER),
        ("down", told("stale"), NoticeKind.RAISED),
        ("stale", told("down"), NoticeKind.RAISED),
        (None, told("stale"), NoticeKind.RECOVERED),
        (None, told("stale", 2 * DAY), NoticeKind.RECOVERED),
        (None, told(None, 2 * DAY), None),
        ("stale", told(None), NoticeKind.RAISED),
        ("stale", {"token": Told("refused", NOW)}, NoticeKind.RAISED),
        # A clock that was set back.
        ("stale", told("stale", -DAY), None),
    ],
)
def test_each_change_is_told_once_and_what_lasts_is_reminded_of_daily(
    value: str | None, known: dict[str, Told], kind: NoticeKind | None
) -> None:
    expected = [Notice("health", kind, value, f"Health is {value}.")] if kind else []
    assert decide_notices([health(value)], known, NOW) == expected


def test_several_conditions_are_judged_one_by_one() -> None:
    conditions = [
        health("down"),
        Condition("token", "refused", "The token."),
        Condition("import", None, "Imported."),
        Condition("failed_runs", "failing", "3 runs."),
    ]
    known = {
        "health": Told("down", NOW - 2 * DAY),
        "import": Told("failed", NOW - 2 * DAY),
        "failed_runs": Told("failing", NOW),
    }

    assert [(item.name, item.kind) for item in decide_notices(conditions, known, NOW)] == [
        ("health", NoticeKind.REMINDER),
        ("token", NoticeKind.RAISED),
        ("import", NoticeKind.RECOVERED),
    ]


def test_a_month_of_ticks_tells_a_lasting_trouble_once_a_day_and_its_end_once() -> None:
    kinds = []
    known: dict[str, Told] = {}
    ticks_a_day = 48
    for tick in range(31 * ticks_a_day):
        now = NOW + tick * DAY / ticks_a_day
        value = "stale" if ticks_a_day <= tick < 8 * ticks_a_day else None
        for notice in decide_notices([health(value)], known, now):
            kinds.append(notice.kind)
            known[notice.name] = Told(notice.value, now)

    assert kinds == [NoticeKind.RAISED, *[NoticeKind.REMINDER] * 6, NoticeKind.RECOVERED]


def test_a_reminder_comes_once_a_day() -> None:
    assert REMINDER_AFTER == DAY
