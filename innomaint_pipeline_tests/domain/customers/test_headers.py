"""Headers of the list, in the program's own words and in another language's."""

from pathlib import Path

import pytest

from innomaint_pipeline.domain.customers.columns import COLUMNS
from innomaint_pipeline.domain.customers.headers import COUNT, SUM, build_header_names
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.sources.customers.headers import read_headers


def test_a_header_is_known_whatever_its_accents_colon_apostrophe_and_case():
    names = build_header_names({})
    assert names.name_columns([column.header for column in COLUMNS]) == [column.name for column in COLUMNS]
    odd = [
        "citta",
        "Citt\xe0:",
        "all'attenzione di",
        "ALL\u2019ATTENZIONE DI:",
        "Data dell\u2019ultimo  ordine",
        "Zona",
    ]
    assert [names.name_columns([it])[0] for it in odd] == [
        *("city", "city", "attention_to", "attention_to", "last_order_date", None),
    ]
    assert names.name_columns(["VENDITE PRECEDENTE"] * 3) == ["previous_sales_1", "previous_sales_2", None]


def test_totals_are_known_by_their_labels():
    names = build_header_names({"count": ["Numero"], "sum": ["Totale"]})
    assert names.read_total("Count=1.452", COUNT) == names.read_total("numero = 1.452", COUNT) == "1.452"
    assert names.read_total("Totale=1,00 \N{EURO SIGN}", SUM) == "1,00 \N{EURO SIGN}"
    for text in ("1.452", "Count 5", "Sum=5", "Counter=5", ""):
        assert names.read_total(text, COUNT) is None


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("city = [", "TOML"),
        ('town = "CITY"', "no such column"),
        ("city = 5", "a list of them"),
        ("city = [5]", "a list of them"),
        ('city = ""', "empty header"),
        ('city = "NOME"', "already"),
        (None, "TOML"),
    ],
)
def test_a_bad_file_of_headers_is_refused_with_its_cause(tmp_path: Path, content: str | None, word: str):
    path = tmp_path / "headers.toml"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(ConfigurationError, match=word):
        read_headers(path)
    assert read_headers(None) == build_header_names({})
