"""The date that a cell means, in whichever order a workbook writes it.

Belongs here: texts, numbers and cells that are dates. Everything else of a cell is `cells`.
"""

import re
from datetime import date, datetime, time, timedelta
from enum import Enum

from innomaint_pipeline.domain.workbook.cells import (
    NO_DATE,
    Cell,
    CellError,
    is_blank,
    is_placeholder,
    shown,
    trim,
)


class DateOrder(Enum):
    """How texts such as `03/04/2020` are read."""

    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december", "sept"),
)
_TIME_OF_DAY = (
    r"(?:[T ]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?: ?[AaPp][Mm])?(?: ?Z|[+-][0-9]{2}:?(?:[0-9]{2})?)?)?"
)
_YEAR_FIRST = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})" + _TIME_OF_DAY)
_TWO_NUMBERS_THEN_YEAR = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})" + _TIME_OF_DAY)
_WEEKDAY = r"(?:[A-Za-z]{2,6}day,? +|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[.,]* +)?"
_DAY_THEN_WORD = re.compile(
    _WEEKDAY
    + r"([0-9]{1,2})(?:st|nd|rd|th)?[-/., ]*([A-Za-z]{3,9})[-/., ]*([0-9]{4}|[0-9]{2})"
    + _TIME_OF_DAY
)
_WORD_THEN_DAY = re.compile(
    _WEEKDAY
    + r"([A-Za-z]{3,9})[-/., ]*([0-9]{1,2})(?:st|nd|rd|th)?(?:[-/, ]+)([0-9]{4}|[0-9]{2})"
    + _TIME_OF_DAY
)
# Two-digit years as POSIX and Python's strptime read them: 69..99 are 1969..1999, 00..68 are 2000..2068.
_FIRST_TWO_DIGIT_YEAR_OF_1900 = 69

_LAST_EXCEL_SERIAL = 2_958_465  # 9999-12-31
_SERIAL_OF_1904_01_01 = 1_462
EXCEL_DAY_THAT_NEVER_WAS = 60
"""The serial number of 1900-02-29, which Excel counts."""
PLAUSIBLE_YEARS = range(1800, 2201)


def fitting_orders(cell: Cell) -> frozenset[DateOrder] | None:
    """Return in which orders a text of numbers is a date; `None` where the order does not matter."""
    if not isinstance(cell, str) or not (match := _TWO_NUMBERS_THEN_YEAR.fullmatch(trim(cell))):
        return None
    first, second, year = match[1], match[3], match[4]
    return frozenset(
        order
        for order, month, day in (
            (DateOrder.DAY_FIRST, second, first),
            (DateOrder.MONTH_FIRST, first, second),
        )
        if _valid_date(year, int(month), day)
    )


def parse_date(  # noqa: C901 # one branch for each type of a cell
    cell: Cell, *, order: DateOrder = DateOrder.DAY_FIRST, is_1904: bool = False
) -> date | None:
    """Read a date, `None` for a blank cell, a placeholder and `00.00.0000`; a time of day is dropped.

    Texts of numbers are read in `order`: day first, `2020-06-12`, `12/06/2020`, `12-06-2020`, `12.06.2020`,
    `12 Jun 2020`, `12-Jun-20`, `Jun 12, 2020` are one day. A number counts days in the workbook's date
    system, except that 1800 to 2200 is refused: it is a year that lost its day, and would otherwise quietly
    become a day of 1905. A text of digits is never a day count.
    """
    if is_blank(cell) or is_placeholder(cell):
        return None
    found: date | None = None
    if isinstance(cell, datetime):
        found = cell.date()
    elif isinstance(cell, date):
        found = cell
    elif isinstance(cell, str):
        text = trim(cell)
        if NO_DATE.fullmatch(text):
            return None
        found = _date_from_text(text, order)
    elif isinstance(cell, int | float) and not isinstance(cell, bool):
        if cell == 0 and not is_1904:
            return None
        if cell in PLAUSIBLE_YEARS:
            raise CellError(f"{shown(cell)} is a year, expected a full date")
        found = _date_from_serial(cell + _SERIAL_OF_1904_01_01 if is_1904 else cell)
    elif cell == time():
        # A zero in a cell that is formatted as a date.
        return None
    if found is None:
        expected = "DD/MM/YYYY" if order is DateOrder.DAY_FIRST else "MM/DD/YYYY"
        raise CellError(f"{shown(cell)} is no date (expected YYYY-MM-DD or, {order.value}, {expected})")
    return found


def _date_from_text(text: str, order: DateOrder) -> date | None:
    if match := _YEAR_FIRST.fullmatch(text):
        return _valid_date(match[1], int(match[3]), match[4])
    if match := _TWO_NUMBERS_THEN_YEAR.fullmatch(text):
        day, month = (match[1], match[3]) if order is DateOrder.DAY_FIRST else (match[3], match[1])
        return _valid_date(match[4], int(month), day)
    if match := _DAY_THEN_WORD.fullmatch(text):
        return _named_date(match[3], match[2], match[1])
    if match := _WORD_THEN_DAY.fullmatch(text):
        return _named_date(match[3], match[1], match[2])
    return None


def _named_date(year: str, word: str, day: str) -> date | None:
    name = word.lower()
    if name not in _MONTHS and name not in _MONTH_NAMES:
        return None
    return _valid_date(year, _MONTHS.index(name[:3]) + 1, day)


def _valid_date(year_text: str, month: int, day_text: str) -> date | None:
    year = int(year_text)
    if len(year_text) == 2:
        year += 1900 if year >= _FIRST_TWO_DIGIT_YEAR_OF_1900 else 2000
    try:
        return date(year, month, int(day_text))
    except ValueError:
        return None


def _date_from_serial(serial: float) -> date | None:
    if not 1 <= serial < _LAST_EXCEL_SERIAL + 1:
        return None
    day = int(serial)
    if day == EXCEL_DAY_THAT_NEVER_WAS:
        return None
    first_day = date(1899, 12, 31) if day < EXCEL_DAY_THAT_NEVER_WAS else date(1899, 12, 30)
    return first_day + timedelta(days=day)
