"""Any invented customers, printed as a list and read again, are the same customers."""

import unicodedata
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from innomaint_pipeline.domain.customers.columns import COLUMNS
from innomaint_pipeline.domain.customers.values import clean_text
from innomaint_pipeline.simulator.customers.drawing import draw_customers
from innomaint_pipeline.simulator.customers.people import Customer, invent_customers
from innomaint_pipeline_tests.sources.customers.raw_lists import find_failed, read_apart, read_here

# What the generator's font can print, but the euro: the font is not embedded, and pdfium thinks it wider than
# it is, so that several in one text shift what follows them out of the cell.
LETTERS = "".join(
    letter
    for byte in range(0x20, 0x100)
    if byte not in {0x80, 0x81, 0x8D, 0x8F, 0x90, 0x9D, 0xA0, 0xAD}
    for letter in bytes([byte]).decode("cp1252")
    if unicodedata.category(letter) != "Cc"
)


def texts(longest: int) -> st.SearchStrategy[str | None]:
    words = st.lists(st.text(LETTERS, min_size=1, max_size=12), max_size=longest).map(" ".join)
    return words.map(clean_text).map(lambda text: text or None)


def values(kind: str) -> st.SearchStrategy[object]:
    if kind == "date":
        return st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31))
    if kind == "integer":
        return st.none() | st.integers(-(2**31) + 1, 2**31 - 1)
    if kind == "money":
        return st.none() | st.decimals(Decimal(-(10**11)), Decimal(10**11), places=2).map(lambda it: it + 0)
    return texts(4)


FIELDS = {column.name: values(column.kind) for column in COLUMNS if column.kind != "id"}
FIELDS["name"] = texts(15).filter(lambda text: text is not None)


@st.composite
def any_customers(draw: st.DrawFn) -> list[Customer]:
    ids = draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=30, unique=True))
    odd = draw(st.lists(st.fixed_dictionaries(FIELDS), min_size=1, max_size=3))
    # A few odd ones among plain ones: the odd decide the widths, the number decides the pages.
    plain = invent_customers(len(ids), seed=len(ids))
    return [
        {**plain[index], **(odd[index] if index < len(odd) else {}), "erp_id": str(number)}
        for index, number in enumerate(sorted(ids))
    ]


@settings(max_examples=15, deadline=None)
@given(any_customers())
def test_any_customers_printed_and_read_are_the_same(customers: list[Customer]):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "list.pdf"
        draw_customers(path, customers)
        content = read_here(path)
    assert find_failed(content) == []
    assert [row.issues for row in content.rows if row.issues] == []
    assert [{"erp_id": row.erp_id, **row.values} for row in content.rows] == [dict(it) for it in customers]


def test_two_thousand_customers_printed_and_read_are_the_same(tmp_path):
    customers = invent_customers(2_000, seed=5)
    draw_customers(tmp_path / "list.pdf", customers)
    content = read_apart(tmp_path / "list.pdf")
    assert find_failed(content) == []
    assert [{"erp_id": row.erp_id, **row.values} for row in content.rows] == [dict(it) for it in customers]
    assert content.count == 2_000
