"""The generator of customer lists: what decides its pages, and that it is the same each time."""

import pypdfium2
import pytest

from innomaint_pipeline.simulator.customers.drawing import draw_list, print_table
from innomaint_pipeline.simulator.customers.people import invent_customers


def count_pages(path) -> int:
    document = pypdfium2.PdfDocument(path)
    try:
        return len(document)
    finally:
        document.close()


def test_the_whole_list_takes_the_pages_that_were_measured(tmp_path):
    path = tmp_path / "list.pdf"
    draw_list(path)
    assert count_pages(path) == 256
    for cycle in (8, 9):
        draw_list(path, 5, cycle=cycle)
        assert count_pages(path) == cycle
    for wrong in ({"cycle": 7}, {"fault": "unknown"}):
        with pytest.raises(ValueError, match=r"7|unknown"):
            draw_list(path, 5, **wrong)


def test_customers_are_the_same_for_a_seed_and_always_hold_what_is_odd():
    assert invent_customers(40, seed=2) == invent_customers(60, seed=2)[:40]
    assert invent_customers(40, seed=2) != invent_customers(40, seed=3)
    [row, totals] = print_table(invent_customers(1))
    assert row["erp_id"].endswith("0")
    assert (row["actual_order_count"], row["actual_sales"]) == ("1.234", "-1.234,56 \N{EURO SIGN}")
    assert all(sign in "".join(row.values()) for sign in "\u2019\N{EURO SIGN}\xe0\xab")
    assert (totals["erp_id"], totals["actual_order_count"]) == ("Count=1", "Sum=1.234")
    many = invent_customers(1_452)
    assert 1 <= sum(it["external_account_number"] != it["erp_id"] for it in many) <= 14
    assert sum(it["account_num"] is not None for it in many) == 28
