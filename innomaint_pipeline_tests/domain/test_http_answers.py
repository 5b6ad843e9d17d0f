from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.http_answers import (
    AnswerError,
    HttpAnswer,
    classify_status,
    is_login_redirect,
    is_page,
    retry_after_seconds,
)
from innomaint_pipeline.domain.pacing import LONGEST_STOP_SECONDS
from innomaint_pipeline.domain.states import ErrorClass

NOW = datetime(2026, 6, 20, 12, 0, 0, tzinfo=UTC)
SECONDS = round(NOW.timestamp())


def wait(header: str, *, date: str = "") -> float | None:
    return retry_after_seconds({"retry-after": header, "date": date}, now=NOW)


def test_retry_after_is_read_in_all_the_forms_that_servers_write():
    for header, seconds in {
        " 30 ": 30,
        "899": 899,
        "901": 900,
        "99999999": 900,
        "9" * 400: 900,
        "120.0": 120,
        "0.5": 1,
        ".5": 1,
        "1.": 1,
        '"60"': 60,
        "120, 120": 120,
        "30,120": 120,
        "120,": 120,
        "soon, 5": 5,
        "Sat, 20 Jun 2026 12:00:30 GMT": 30,
        "sat, 20 jun 2026 12:00:30 gmt": 30,
        "Sat, 20 Jun 2026 12:00:30": 30,
        "Saturday, 20-Jun-26 12:00:30 GMT": 30,
        "Sat, 20 Jun 2026 17:30:30 +0530": 30,
        "Sun, 21 Jun 2026 12:00:00 GMT": 900,
        "Sat, 20 Jun 2026 12:00:30 GMT, 90": 90,
        "Sat, 20 Jun 2026 12:00:30 GMT, Sat, 20 Jun 2026 12:02:00 GMT": 120,
        "2026-06-20T12:00:30Z": 30,
        "2026-06-20 12:00:29.5+00:00": 30,
        "2026-06-20T17:30:30+05:30": 30,
        "2026-06-20T12:00:30": 30,
        str(SECONDS + 5): 5,
        f"{SECONDS + 5}.5": 6,
        str(SECONDS * 1000 + 5000): 5,
        str(SECONDS + 10**6): 900,
    }.items():
        assert wait(header) == seconds, header


def test_what_names_no_time_to_come_names_none():
    assert retry_after_seconds({}, now=NOW) is None
    for header in (
        *("", "   ", "0", "0.0", "-1", "1e3", "١٢", "soon", ", ", "20 Jun", "nan", "inf", "0, -5"),
        *("Sat, 20 Jun 2026 11:59:59 GMT", "Mon, 01 Jan 1990 00:00:00 GMT", "Sat, 45 Jun 2026 12:00:30 GMT"),
        *("Sat, 20 Jun 99999 12:00:30 GMT", "2026-06-20T11:00:00Z", "2026-13-20", str(SECONDS - 5)),
    ):
        assert wait(header) is None, header


def test_a_moment_is_meant_by_the_clock_that_wrote_it():
    for skew in (timedelta(0), timedelta(hours=5), timedelta(hours=-5), timedelta(days=4000)):
        vendors_now = NOW + skew
        date = format_datetime(vendors_now, usegmt=True)
        then = vendors_now + timedelta(seconds=42)
        for header in (format_datetime(then, usegmt=True), then.isoformat(), str(round(then.timestamp()))):
            assert wait(header, date=date) == 42


@given(st.text() | st.text(alphabet="0123456789.,-: TZGMTSat+"))
def test_any_retry_after_is_none_or_from_1_to_900(header):
    seconds = wait(header)
    assert seconds is None or 1 <= seconds <= LONGEST_STOP_SECONDS


@given(st.integers(100, 599), st.text(), st.text(alphabet='{}[]<>"a:0, \n\0'), st.booleans())
def test_any_head_is_classified(status, location, text, is_unread):
    unread = AnswerError(ErrorClass.TRANSIENT, "?") if is_unread else None
    answer = HttpAnswer(status, {"location": location}, "" if is_unread else text, unread)
    assert is_page(answer) in {True, False}
    assert is_login_redirect(answer) in {True, False}
    assert classify_status(status) in ErrorClass
