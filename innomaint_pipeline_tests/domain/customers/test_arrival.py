"""Files of an inbox, and the date that a PDF says of itself."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.customers.arrival import (
    may_be_list,
    parse_creation_date,
    show_name,
)

ROME = ZoneInfo("Europe/Rome")
MOMENT = datetime(2026, 5, 4, 6, 15, 30, tzinfo=UTC)


def test_a_creation_date_is_read_in_every_form_that_producers_write():
    for text in (
        "D:20260504081530+02'00'",
        "D:20260504081530+02'00",
        "D:20260504081530+0200",
        "D:20260504081530+02",
        "D:20260504061530Z",
        "D:20260504061530Z00'00'",
        "20260504081530+02'00'",
        "D:20260504024530-03'30'",
        "D:20260504081530",
    ):
        assert parse_creation_date(text, ROME, MOMENT) == MOMENT, text
    for text in (
        *(
            "",
            "D:20260504",
            "D:202605040815",
            "D:20261304081530+02'00'",
            "D:20260504081560",
            "D:00000504081530",
        ),
        *("D:20260504081530+14'01'", "D:20260504081530-76'00'", "D:20260504081530+00'64'", "Mon May  4 2026"),
        *("D:20260504081530 CET", "D:00010101000000+14'00'"),
    ):
        assert parse_creation_date(text, ROME, MOMENT) is None, text


def test_of_a_local_time_that_comes_twice_the_reading_nearer_to_the_files_time_counts():
    summer, winter = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    for moment in (summer, winter):
        file_time = moment + timedelta(minutes=5)
        assert parse_creation_date("D:20261025023000", ROME, file_time) == moment


def test_only_lists_are_looked_at_and_odd_names_are_escaped():
    assert all(map(may_be_list, ("a.pdf", "A.PDF", "a.b.Pdf")))
    assert not any(
        map(may_be_list, ("._a.pdf", ".pdf", "~a.pdf", "a.pdf.part", "a.pdf.crdownload", "a.tmp", "pdf"))
    )
    assert show_name("Citt\xe0 \N{EURO SIGN}.pdf") == "Citt\xe0 \N{EURO SIGN}.pdf"
    assert show_name("a\n\x1b[0m\udcff.pdf") == "a\\n\\x1b[0m\\xff.pdf"


@given(st.text(), st.datetimes(timezones=st.just(UTC)))
def test_no_creation_date_is_an_error(text: str, file_time: datetime):
    for form in (text, f"D:{text}", f"D:20260504081530{text}"):
        parse_creation_date(form, ROME, file_time)
