"""Draws a customer list as the ERP prints it: the widths of the texts decide the cycle.

Belongs here: the layout and the faults. Columns are packed left to right into the width of the paper; what
does not fit is printed on the next pages, then the next slice of rows follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from innomaint_pipeline.simulator.customers.people import Customer, invent_customers

_FONT, _SIZE = "Times-Roman", 9.75
_PAPER_WIDTH, _PAPER_HEIGHT, _MARGIN = 612, 792, 72
_WIDTH, _HEIGHT = _PAPER_WIDTH - 2 * _MARGIN, _PAPER_HEIGHT - 2 * _MARGIN
_PADDING, _ROW, _LINE, _BASELINE, _RULE = 2.15, 13.5, 11.25, 10.0, 0.5
_WIDEST_NAME = 224.0
_GREY, _DARK = 0.663, 0.502

HEADERS: Mapping[str, str] = {
    "erp_id": "ID",
    "account_num": "PROFILO CLIENTE:",
    "name": "NOME",
    "vat_number": "PARTITA IVA:",
    "pec": "PEC:",
    "sdi": "SDI:",
    "fiscal_code": "CODICE FISCALE:",
    "delivery_terms": "TERMINI DI CONSEGNA",
    "street": "VIA:",
    "postal_code": "INDIRIZZO LOGISTICO CAP",
    "city": "CITTÀ",
    "phone": "TELEFONO:",
    "mobile": "CELLULARE:",
    "url": "URL:",
    "attention_to": "ALL\N{RIGHT SINGLE QUOTATION MARK}ATTENZIONE DI:",
    "last_order_date": "DATA DELL'ULTIMO ORDINE",
    "actual_order_count": "CONTEGGI DEGLI ORDINI EFFETTIVI",
    "actual_sales": "TIPO DI CLIENTE",
    "previous_order_count_1": "CONTEGGIO DEGLI ORDINI PRECEDENTE",
    "previous_sales_1": "VENDITE PRECEDENTE",
    "previous_order_count_2": "CONTEGGIO DEGLI ORDINI PRECEDENTE 2",
    "previous_sales_2": "VENDITE PRECEDENTE",
    "description": "DESCRIZIONE:",
    "type": "TYPE:",
    "external_account_number": "NUMERO DI CONTO ESTERNO",
    "our_account_number": "IL NOSTRO NUMERO DI CONTO",
}
ENGLISH_HEADERS: Mapping[str, str] = {
    "erp_id": "ID",
    "account_num": "CUSTOMER PROFILE:",
    "name": "NAME",
    "vat_number": "VAT NUMBER:",
    "pec": "CERTIFIED MAIL:",
    "sdi": "EXCHANGE CODE:",
    "fiscal_code": "FISCAL CODE:",
    "delivery_terms": "TERMS OF DELIVERY",
    "street": "STREET:",
    "postal_code": "POSTAL CODE",
    "city": "CITY",
    "phone": "TELEPHONE:",
    "mobile": "MOBILE:",
    "url": "WEB SITE:",
    "attention_to": "FOR THE ATTENTION OF:",
    "last_order_date": "DATE OF THE LAST ORDER",
    "actual_order_count": "COUNT OF ACTUAL ORDERS",
    "actual_sales": "ACTUAL SALES",
    "previous_order_count_1": "COUNT OF PREVIOUS ORDERS",
    "previous_sales_1": "PREVIOUS SALES",
    "previous_order_count_2": "COUNT OF PREVIOUS ORDERS 2",
    "previous_sales_2": "PREVIOUS SALES",
    "description": "DESCRIPTION:",
    "type": "KIND:",
    "external_account_number": "EXTERNAL ACCOUNT NUMBER",
    "our_account_number": "OUR ACCOUNT NUMBER",
}
_SUMMED = tuple(HEADERS)[16:22]
# Of the known layouts: what the widest texts of a whole list make of the columns, whatever a short one holds.
_KNOWN_WIDTHS: Mapping[str, float] = {
    "erp_id": 55.5,
    "name": 224.0,
    "pec": 139.5,
    "street": 197.2,
    "city": 121.6,
    "phone": 80.0,
    "mobile": 80.0,
    "description": 161.2,
}
_WEB_ADDRESS_WIDTH = 87.5


class Fault(StrEnum):
    """What is wrong with a list; `columns_reordered` is read all the same."""

    NO_TOTALS = "no_totals"
    WRONG_TOTALS = "wrong_totals"
    PAGE_DROPPED = "page_dropped"
    LAST_CYCLE_CUT = "last_cycle_cut"
    COLUMN_MISSING = "column_missing"
    COLUMNS_REORDERED = "columns_reordered"
    OTHER_LANGUAGE = "other_language"
    FILTERED = "filtered"
    EMPTY = "empty"
    HTML = "html"
    HALF_WRITTEN = "half_written"
    DUPLICATE_ID = "duplicate_id"
    BAD_ID = "bad_id"
    ENCRYPTED = "encrypted"


@dataclass(frozen=True, slots=True)
class _Table:
    """What is printed: columns with their headers, and the texts of each row by column; the totals last."""

    headers: Mapping[str, str]
    rows: Sequence[Mapping[str, str]]


def draw_list(
    path: Path,
    rows: int = 1_452,
    seed: int = 0,
    *,
    cycle: int | None = None,
    fault: str | None = None,
    exported_at: datetime | None = None,
) -> None:
    """Write a list of invented customers, see `draw_customers`; 1,452 of them take 256 pages."""
    draw_customers(path, invent_customers(rows, seed), cycle=cycle, fault=fault, exported_at=exported_at)


def draw_customers(
    path: Path,
    customers: Sequence[Customer],
    *,
    cycle: int | None = None,
    fault: str | None = None,
    exported_at: datetime | None = None,
) -> None:
    """Write a list of these customers, replacing the file.

    `cycle` 8 or 9 gives the columns at least the widths of the known layout of so many pages; None lets the
    texts alone decide. `fault` is one of `Fault`. `exported_at` is the CreationDate, now by default. Raises
    `ValueError` for an unknown fault or cycle, or if the texts are too wide for the cycle.
    """
    wrong = None if fault is None else Fault(fault)
    if wrong is Fault.EMPTY:
        path.write_bytes(b"")
        return
    if wrong is Fault.HTML:
        path.write_text(
            "<!doctype html><title>Login</title><p>The session has ended.</p>\n", encoding="utf-8"
        )
        return
    printed = print_table(customers[::10] if wrong is Fault.FILTERED else customers)
    headers = ENGLISH_HEADERS if wrong is Fault.OTHER_LANGUAGE else HEADERS
    table = _spoil(_Table(headers, printed), wrong)
    groups, widths = _pack(table, cycle)
    pages = [
        (rows, group) for rows in _slice(table, widths) for group in groups
    ]  # a slice of rows is printed on each page of a cycle
    if wrong is Fault.PAGE_DROPPED:
        del pages[min(len(groups) + 2, len(pages) - 2)]
    if wrong is Fault.LAST_CYCLE_CUT:
        del pages[-2:]
    _draw(path, table, pages, widths, exported_at or datetime.now(UTC), is_encrypted=wrong is Fault.ENCRYPTED)
    if wrong is Fault.HALF_WRITTEN:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])


def print_table(customers: Sequence[Customer]) -> list[dict[str, str]]:
    """Return the texts of the list by column: a row for each customer, and that of the totals."""
    rows = [{name: _show(name, customer[name]) for name in HEADERS} for customer in customers]
    totals = dict.fromkeys(HEADERS, "") | {"erp_id": f"Count={_dotted(len(customers))}"}
    for name in _SUMMED:
        total: int | Decimal = sum(
            (value for it in customers if isinstance(value := it[name], int | Decimal)), _zero(name)
        )
        totals[name] = f"Sum={_show(name, total)}"
    return [*rows, totals]


def _zero(name: str) -> int | Decimal:
    return Decimal("0.00") if "sales" in name else 0


def _spoil(table: _Table, fault: Fault | None) -> _Table:
    rows = [dict(row) for row in table.rows]
    headers = dict(table.headers)
    last = len(rows) - 2
    if fault is Fault.NO_TOTALS:
        rows.pop()
    elif fault is Fault.WRONG_TOTALS:
        printed = rows[-1]["actual_sales"]
        # The last cent, before the blank and the sign of the euro.
        rows[-1]["actual_sales"] = f"{printed[:-3]}{(int(printed[-3]) + 1) % 10}{printed[-2:]}"
    elif fault is Fault.COLUMN_MISSING:
        del headers["city"]
    elif fault is Fault.COLUMNS_REORDERED:
        names = list(headers)
        names[1:15] = reversed(names[1:15])
        headers = {name: headers[name] for name in names}
    elif fault is Fault.DUPLICATE_ID:
        rows[last]["erp_id"] = rows[max(last - 1, 0)]["erp_id"]
    elif fault is Fault.BAD_ID:
        rows[last]["erp_id"] = rows[last]["erp_id"][:-1]
    return replace(table, headers=headers, rows=rows)


def _show(name: str, value: str | int | Decimal | date | None) -> str:
    if value is None:
        return ""
    if name == "erp_id":
        return _dotted(int(str(value)))
    if isinstance(value, Decimal):
        whole, cents = f"{abs(value):.2f}".split(".")
        return f"{'-' if value < 0 else ''}{_dotted(int(whole))},{cents} \N{EURO SIGN}"
    if isinstance(value, int):
        return _dotted(value)
    # Not by strftime, which on some systems prints early years with fewer digits.
    return f"{value.day:02}/{value.month:02}/{value.year:04}" if isinstance(value, date) else value


def _dotted(number: int) -> str:
    return f"{number:,}".replace(",", ".")


def _pack(table: _Table, cycle: int | None) -> tuple[list[list[str]], dict[str, float]]:
    """Return the columns of each page of a cycle, and the width of each."""
    if cycle not in (None, 8, 9):
        raise ValueError(f"cycle: found {cycle}, expected 8 or 9")
    least = dict(_KNOWN_WIDTHS) if cycle else {}
    if cycle == 9:
        least["url"] = _WEB_ADDRESS_WIDTH
    widths = {}
    for name, header in table.headers.items():
        widest = max(_measure(text) for text in (header, *{row[name] for row in table.rows}))
        widths[name] = max(widest + 2 * _PADDING, least.get(name, 0.0))
    widths["name"] = min(widths["name"], _WIDEST_NAME)
    groups: list[list[str]] = [[]]
    for name, width in widths.items():
        if groups[-1] and sum(widths[it] for it in groups[-1]) + width > _WIDTH:
            groups.append([])
        groups[-1].append(name)
    if cycle and set(table.headers) == set(HEADERS) and len(groups) != cycle:
        raise ValueError(f"the texts of these customers take {len(groups)} pages a cycle, not {cycle}")
    return groups, widths


def _measure(text: str) -> float:
    return stringWidth(text, _FONT, _SIZE)


_Row = tuple[Mapping[str, Sequence[str]], float]


def _slice(table: _Table, widths: Mapping[str, float]) -> Iterable[list[_Row]]:
    """Yield the rows of each cycle: the lines of each cell, and the height."""
    rows: list[_Row] = []
    left = _HEIGHT - _ROW
    for row in table.rows:
        lines = {
            name: _wrap(row[name], widths[name]) if name == "name" else _lines(row[name])
            for name in table.headers
        }
        height = _ROW + _LINE * (max(map(len, lines.values()), default=1) - 1)
        if rows and height > left + 1e-6:
            yield rows
            rows, left = [], _HEIGHT - _ROW
        rows.append((lines, height))
        left -= height
    yield rows


def _lines(text: str) -> list[str]:
    return [text] if text else [""]


def _wrap(text: str, width: float) -> list[str]:
    """Break a text at its blanks, and a word that is longer than the cell anywhere."""
    room, lines, line = width - 2 * _PADDING + 1e-6, [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if _measure(longer) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while _measure(line) > room:
            fits = next(n for n in range(len(line), 0, -1) if _measure(line[:n]) <= room)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line]


def _draw(
    path: Path,
    table: _Table,
    pages: Iterable[tuple[Sequence[_Row], Sequence[str]]],
    widths: Mapping[str, float],
    exported_at: datetime,
    *,
    is_encrypted: bool,
) -> None:
    canvas = Canvas(
        str(path),
        pagesize=(_PAPER_WIDTH, _PAPER_HEIGHT),
        pageCompression=1,
        encrypt=StandardEncryption("secret") if is_encrypted else None,
    )
    stamp = f"D:{exported_at.astimezone(UTC):%Y%m%d%H%M%S}+00'00'"
    canvas.setDateFormatter(lambda *_: stamp)
    canvas.setProducer("Sample")
    for rows, group in pages:
        top = _PAPER_HEIGHT - _MARGIN
        header: _Row = ({name: [table.headers[name]] for name in group}, _ROW)
        canvas.setFont(_FONT, _SIZE)
        for index, (lines, height) in enumerate((header, *rows)):
            left = float(_MARGIN)
            for name in group:
                _draw_cell(
                    canvas, (left, top - height, widths[name], height), lines[name], is_header=index == 0
                )
                left += widths[name]
            top -= height
        canvas.showPage()
    canvas.save()


def _draw_cell(
    canvas: Canvas, box: tuple[float, float, float, float], lines: Sequence[str], *, is_header: bool
) -> None:
    left, bottom, width, height = box
    if is_header:
        canvas.setFillGray(_DARK)
        canvas.rect(left, bottom, width, height, stroke=0, fill=1)
    canvas.setFillGray(_GREY)
    for x in (left, left + width):
        canvas.rect(x - _RULE / 2, bottom, _RULE, height, stroke=0, fill=1)
    for y in (bottom, bottom + height):
        canvas.rect(left, y - _RULE / 2, width, _RULE, stroke=0, fill=1)
    canvas.setFillGray(1 if is_header else 0)
    for number, line in enumerate(lines):
        if line:
            canvas.drawString(left + _PADDING, bottom + height - _BASELINE - _LINE * number, line)
