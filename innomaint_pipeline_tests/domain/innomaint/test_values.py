from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from innomaint_pipeline.domain.innomaint import values

KOLKATA = ZoneInfo("Asia/Kolkata")
parse_int32 = values.parse_integer(values.INT32)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("8526:06:43", 8526 * 3600 + 6 * 60 + 43),
        ("00:08:30", 510),
        ("0:00:00", 0),
        ("0", 0),
        (0, 0),
        (Decimal("0.00"), 0),
        (" 1:02:03 ", 3723),
        ("999999999:59:59", 999_999_999 * 3600 + 3599),
        ("", None),
        ("   ", None),
    ],
)
def test_a_duration_is_read_as_seconds(written, seconds):
    assert values.parse_duration_seconds(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "00:60:00",
        "00:00:60",
        "-1:00:00",
        "1:02",
        "1:2:3",
        "12",
        12,
        "1234567890:00:00",
        "0:00:00.5",
        "N/A",
        "\u0663:02:03",
    ],
)
def test_what_is_no_duration_is_refused(written):
    with pytest.raises(ValueError, match="is no duration like 8526:06:43"):
        values.parse_duration_seconds(written)


def test_the_sample_proves_that_dates_are_day_first():
    created = values.parse_local_time(KOLKATA)("09/07/2024 16:59")
    actual_seconds = values.parse_duration_seconds("17052:30:27")
    assert created == datetime(2024, 7, 9, 11, 29, tzinfo=UTC)
    assert actual_seconds is not None
    taken = (created + timedelta(seconds=actual_seconds)).astimezone(KOLKATA)
    assert taken == datetime(2026, 6, 20, 5, 29, 27, tzinfo=KOLKATA)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("31/12/2023 00:00", datetime(2023, 12, 30, 18, 30, tzinfo=UTC)),
        (" 9/7/2024 6:09 ", datetime(2024, 7, 9, 0, 39, tzinfo=UTC)),
        ("09/07/2024 16:59:30", datetime(2024, 7, 9, 11, 29, 30, tzinfo=UTC)),
        ("29/02/2024 12:00", datetime(2024, 2, 29, 6, 30, tzinfo=UTC)),
        ("", None),
    ],
)
def test_a_local_time_is_read_as_utc(written, moment):
    parsed = values.parse_local_time(KOLKATA)(written)
    assert parsed == moment
    assert parsed is None or parsed.tzinfo is UTC


def test_a_local_time_follows_the_configured_time_zone():
    berlin = values.parse_local_time(ZoneInfo("Europe/Berlin"))
    assert berlin("09/07/2024 16:59") == datetime(2024, 7, 9, 14, 59, tzinfo=UTC)
    assert berlin("09/01/2024 16:59") == datetime(2024, 1, 9, 15, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "07/31/2024 10:00",
        "29/02/2023 10:00",
        "00/01/2024 10:00",
        "01/01/2024 24:00",
        "01/01/2024 10:60",
        "01/01/0001 00:00",
        "2024-07-09 16:59",
        "09/07/24 16:59",
        "09/07/2024",
        "09-07-2024 16:59",
        20240709,
        "٠٩/07/2024 16:59",
    ],
)
def test_what_is_no_local_time_is_refused(written):
    with pytest.raises(ValueError, match="day first"):
        values.parse_local_time(KOLKATA)(written)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-19 04:21:46+00", datetime(2026, 3, 19, 4, 21, 46, tzinfo=UTC)),
        ("2026-03-19 09:51:46+05:30", datetime(2026, 3, 19, 4, 21, 46, tzinfo=UTC)),
        ("2026-03-19T04:21:46Z", datetime(2026, 3, 19, 4, 21, 46, tzinfo=UTC)),
        ("2026-03-19 04:21:46.5+00", datetime(2026, 3, 19, 4, 21, 46, 500_000, tzinfo=UTC)),
        ("2026-03-19 09:51:46", datetime(2026, 3, 19, 4, 21, 46, tzinfo=UTC)),
        (" ", None),
    ],
)
def test_a_time_with_an_offset_is_read_as_utc(written, moment):
    assert values.parse_utc_time(KOLKATA)(written) == moment


@pytest.mark.parametrize(
    "written",
    ["0000-00-00 00:00:00", "19/03/2026 04:21", "soon", 5, "9999-12-31 23:59:59-05", "0001-01-01 00:00:00"],
)
def test_what_is_no_time_with_an_offset_is_refused(written):
    with pytest.raises(ValueError, match="is no time like"):
        values.parse_utc_time(KOLKATA)(written)


@pytest.mark.parametrize(
    ("written", "percentage"),
    [
        ("100", Decimal(100)),
        (100, Decimal(100)),
        ("0", Decimal(0)),
        ("99.95 %", Decimal("99.95")),
        ("99.95%", Decimal("99.95")),
        (Decimal("99.98765432101234"), Decimal("99.98765432101234")),
        ("", None),
    ],
)
def test_a_percentage_is_read_exactly(written, percentage):
    assert values.parse_percentage(written) == percentage


@pytest.mark.parametrize(
    "written", ["100.01", "-1", -1, "1e2000", "many", "NaN", True, [], "1,2", "1e-99999", "0e-99999"]
)
def test_what_is_no_percentage_is_refused(written):
    with pytest.raises(ValueError, match=r"is no |has more than 30 decimals|is true or false|is a list"):
        values.parse_percentage(written)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("0.00", "0.00"),
        ("1,234.50", "1234.50"),
        ("12,34,567.00", "1234567.00"),
        ("1,234,567.89", "1234567.89"),
        ("-1,234.5", "-1234.50"),
        (Decimal("0.1"), "0.10"),
        ("0.1", "0.10"),
        (5, "5.00"),
        ("1.230000", "1.23"),
        ("1e3", "1000.00"),
        ("999999999999.99", "999999999999.99"),
        (" 7 ", "7.00"),
    ],
)
def test_an_amount_of_money_is_exact_with_two_decimals(written, amount):
    parsed = values.parse_money(written)
    assert isinstance(parsed, Decimal)
    assert str(parsed) == amount


def test_a_blank_amount_means_none():
    assert values.parse_money(" ") is None


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("1.234", "more than two decimals"),
        (Decimal("0.001"), "more than two decimals"),
        ("1e-30", "more than two decimals"),
        (Decimal("1e13"), "does not fit"),
        ("1e13", "does not fit"),
        ("1000000000000.00", "does not fit"),
        ("-1000000000000.00", "does not fit"),
        (Decimal("1e999999999"), "does not fit"),
        ("1,2345", "is no number"),
        (",123", "is no number"),
        ("1.234,50", "is no number"),
        ("Rs 5", "is no number"),
        ("1_000", "is no number"),
        ("\u0665", "is no number"),
        ("9" * 41, "is no number"),
        ("NaN", "is no finite number"),
        ("Infinity", "is no finite number"),
        (True, "is true or false, not a number"),
        ({}, "is an object, not a number"),
    ],
)
def test_what_does_not_fit_an_amount_is_refused_with_its_reason(written, complaint):
    with pytest.raises(ValueError, match=complaint):
        values.parse_money(written)


@pytest.mark.parametrize(
    ("written", "vendor_id"),
    [
        (577833, 577833),
        ("577833", 577833),
        (0, None),
        ("0", None),
        ("000", None),
        (Decimal("0.0"), None),
        (False, None),
        ("", None),
        (values.INT64, values.INT64),
    ],
)
def test_an_id_of_zero_means_none(written, vendor_id):
    assert values.parse_id(written) == vendor_id


@pytest.mark.parametrize("written", [True, values.INT64 + 1, "12.5", "abc", [5]])
def test_what_is_no_id_is_refused(written):
    with pytest.raises(ValueError, match=r"^(is|does) "):
        values.parse_id(written)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (0, 0),
        ("0", 0),
        ("5", 5),
        (" 5 ", 5),
        ("5.0", 5),
        (Decimal("5.0"), 5),
        ("1,234", 1234),
        ("-3", -3),
        (True, 1),
        (False, 0),
        ("", None),
        (values.INT32, values.INT32),
        (-values.INT32 - 1, -values.INT32 - 1),
        (Decimal("0e999999999"), 0),
    ],
)
def test_a_count_is_read_and_zero_is_a_value(written, number):
    parsed = parse_int32(written)
    assert parsed == number
    assert type(parsed) is type(number)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (values.INT32 + 1, "does not fit"),
        (-values.INT32 - 2, "does not fit"),
        ("99999999999", "does not fit"),
        (Decimal("1e999999999"), "does not fit"),
        (Decimal("-1e999999999"), "does not fit"),
        ("1e999999999", "does not fit"),
        (Decimal("1e-999999999"), "is no whole number"),
        ("5.5", "is no whole number"),
        ("nan", "is no finite number"),
        ("-inf", "is no finite number"),
        ("five", "is no number"),
        ("0x10", "is no number"),
        (["5"], "is a list, not a number"),
    ],
)
def test_what_is_no_count_is_refused_with_its_reason(written, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_int32(written)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("High", "High"),
        ("  90 KW ", "90 KW"),
        ("NaN", "NaN"),
        ("", None),
        (" \t", None),
        (90, "90"),
        (0, "0"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_a_text_is_trimmed_and_blank_means_none(written, text):
    assert values.parse_text(written) == text


@pytest.mark.parametrize("written", [True, False, [], {}, ["High"]])
def test_what_is_no_text_is_refused(written):
    with pytest.raises(ValueError, match="not a text"):
        values.parse_text(written)


def test_a_comma_before_two_digits_at_the_end_is_no_thousands_separator():
    parsers = (parse_int32, values.parse_id, values.parse_money, values.parse_percentage)
    for written in (
        "12,50",
        "0,550",
        "00,123",
        "0,55",
        "1,00",
        "3,00",
        "1,23,45",
        "12,345,67",
        "1,2345",
        "123,45,678",
        "1,234,56.7",
    ):
        for parse in parsers:
            with pytest.raises(ValueError, match="is no number"):
                parse(written)
    for written, number in {
        "1,234": 1234,
        "12,34,567": 1234567,
        "1,23,45,678": 12345678,
        "1,234,567": 1234567,
        "+12,345": 12345,
        "1,234.0": 1234,
    }.items():
        assert parse_int32(written) == values.parse_money(written) == number


def test_a_text_of_blanks_and_invisible_marks_alone_is_blank():
    for text in (
        "\u200b",
        "\ufeff",
        " \u00a0\u2060 ",
        "\u200e\u200f",
        "\u3164",
        "\u2800",
        "\x01",
        "\u00ad\ufe0f",
    ):
        assert values.parse_text(text) is None
        assert parse_int32(text) is None
        assert values.parse_money(text) is None
        assert values.parse_duration_seconds(text) is None
    for text in ("A\u200bB", "\u2764\ufe0f", "e\u0301", "\u0645\u200c\u0646", "0"):
        assert values.parse_text(text) == text
