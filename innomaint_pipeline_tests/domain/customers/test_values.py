"""How values are written, and what they mean."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.customers.columns import ANALYTICS, COLUMNS, CONTACT, SUMMED
from innomaint_pipeline.domain.customers.values import (
    UnreadableValueError,
    clean_text,
    parse_id,
    parse_value,
)


def test_the_columns_are_those_of_the_list_in_two_groups():
    names = [column.name for column in COLUMNS]
    assert len(names) == len(set(names)) == 26
    assert sorted((*CONTACT, *ANALYTICS)) == sorted(names[1:])
    assert set(SUMMED) < set(ANALYTICS)
    assert ANALYTICS[0] == "last_order_date"


def test_an_id_keeps_its_zeros_and_no_two_become_one():
    assert [parse_id(it) for it in ("55.220", "5.522", "552", "54321", "1.234.567", "007")] == [
        "55220",
        "5522",
        "552",
        "54321",
        "1234567",
        "007",
    ]
    for text in (
        "55.22",
        "5.5220",
        "55.2200",
        ".552",
        "552.",
        "55,220",
        "-5",
        "5 5",
        "",
        "Count=5",
        "\u0665",
    ):
        with pytest.raises(UnreadableValueError):
            parse_id(text)


def test_numbers_and_dates_are_read_by_their_column():
    good = {
        ("integer", "0"): 0,
        ("integer", "1.234"): 1234,
        ("integer", "1234"): 1234,
        ("integer", "-3"): -3,
        ("integer", "-0"): 0,
        ("integer", "\N{MINUS SIGN}3"): -3,
        ("integer", "2.147.483.647"): 2**31 - 1,
        ("money", "1.234,56 \N{EURO SIGN}"): Decimal("1234.56"),
        ("money", "1234,56"): Decimal("1234.56"),
        ("money", "-1,00 \N{EURO SIGN}"): Decimal("-1.00"),
        ("money", "1,00- \N{EURO SIGN}"): Decimal("-1.00"),
        ("money", "1,00 \N{EURO SIGN}-"): Decimal("-1.00"),
        ("money", "(1,00 \N{EURO SIGN})"): Decimal("-1.00"),
        ("money", "(1,00) \N{EURO SIGN}"): Decimal("-1.00"),
        ("money", "999.999.999.999,99"): Decimal("999999999999.99"),
        ("date", "29/02/2024"): date(2024, 2, 29),
        ("text", "00123"): "00123",
        ("text", ""): None,
        ("date", ""): None,
    }
    for (kind, text), value in good.items():
        assert parse_value(text, kind) == value, text
    assert str(parse_value("-0,00 \N{EURO SIGN}", "money")) == "0.00"
    bad = {
        "integer": ("12.34", "1.2345", "1,0", "1 234", "--1", "-(1)", "2.147.483.648", "x", "\u0661"),
        "money": ("1,2", "1,234", "1.23,00", "1", "1.000", "$ 1,00", "-1,00-", "1.000.000.000.000,00"),
        "date": ("2/1/2026", "30/02/2026", "2026-01-02", "02/01/26", "02.01.2026", "02/01/2026 "),
    }
    for kind, texts in bad.items():
        for text in texts:
            with pytest.raises(UnreadableValueError):
                parse_value(text, kind)


def test_blanks_are_those_of_unicode_and_invisible_characters_are_dropped():
    blanks = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"
    assert clean_text(f"{blanks}Via{blanks}Roma\u200b\xad\u2060{blanks}\ufeff") == "Via Roma"
    assert clean_text("Citta\N{COMBINING GRAVE ACCENT}") == "Citt\xe0"
    assert clean_text(blanks) == ""


@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_any_integer_is_read_with_and_without_dots(number: int):
    assert (
        parse_value(f"{number:,}".replace(",", "."), "integer")
        == parse_value(str(number), "integer")
        == number
    )


@given(st.text())
def test_any_text_cleans_to_what_stays_as_it_is(text: str):
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
