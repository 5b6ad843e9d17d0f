"""What one cell of the asset master means: an id, a text, an integer, a date, a JSON value.

Belongs here: reading a single cell, whatever column it stands in. Nothing here knows of headers, rows, files.
"""

import math
import re
import unicodedata
from datetime import date, datetime, time, timedelta
from decimal import Decimal

Cell = str | int | float | bool | datetime | date | time | timedelta | None
JsonValue = str | int | float | bool | None

# Unicode white space, plus the invisible marks that copying from web pages leaves at the ends of a text.
_TRIMMED = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
)
# PostgreSQL stores neither in text nor in jsonb.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_EXCEL_ERROR = re.compile(
    r"#(N/A|REF!|VALUE!|NAME\?|DIV/0!|NULL!|NUM!|SPILL!|CALC!|GETTING_DATA)", re.IGNORECASE
)
# A spreadsheet keeps every number as a double: from here on neighbouring integers share one.
_EXACT_INTEGERS_BELOW = 2**53
# A key of 2,704 bytes no longer fits PostgreSQL's index; four bytes a character stay well below.
_LONGEST_ID_CHARACTERS = 500
_INTEGER_TEXT = re.compile(r"([+-]?[0-9]{1,18})(\.0*)?")

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
_DAY_FIRST = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})" + _TIME_OF_DAY)
_MONTH_NAMED = re.compile(r"([0-9]{1,2})[-/. ]*([A-Za-z]{3,9})[-/., ]*([0-9]{4}|[0-9]{2})" + _TIME_OF_DAY)
# Two-digit years as POSIX and Python's strptime read them: 69..99 are 1969..1999, 00..68 are 2000..2068.
_FIRST_TWO_DIGIT_YEAR_OF_1900 = 69

_LAST_EXCEL_SERIAL = 2_958_465  # 9999-12-31
_EXCEL_SERIAL_OF_THE_DAY_THAT_NEVER_WAS = 60  # 1900-02-29
_PLAUSIBLE_YEARS = range(1800, 2201)


class CellError(ValueError):
    """A cell that does not fit its column; the message is the reason a person reads."""


def is_blank(cell: Cell) -> bool:
    """Tell whether a cell holds nothing: none, NaN, or a text of white space and invisible marks."""
    if cell is None or cell == "":
        return True
    if isinstance(cell, str):
        return not cell.strip(_TRIMMED)
    return isinstance(cell, float) and math.isnan(cell)


def trim(text: str) -> str:
    """Remove white space, no-break spaces and zero-width marks from both ends."""
    return text.strip(_TRIMMED)


def remove_unstorable(text: str) -> str:
    """Remove NUL and lone surrogates, the characters that PostgreSQL cannot store."""
    return _UNSTORABLE.sub("", text)


def has_unstorable(cell: Cell) -> bool:
    """Tell whether a cell is a text with NUL or lone surrogates in it."""
    return isinstance(cell, str) and _UNSTORABLE.search(cell) is not None


def parse_id(cell: Cell) -> str:
    """Read a CMMS asset id: trimmed and NFC, nothing else changed.

    A number is written without a decimal point if it is whole (`101.0` -> `101`). Raises `CellError` for a
    boolean, a date or time, an Excel error, a text that PostgreSQL cannot store or index, and a number whose
    digits a spreadsheet cannot have kept.
    """
    if isinstance(cell, str):
        if has_unstorable(cell):
            raise CellError(
                "the id holds characters that the database cannot store (NUL or half a surrogate pair)"
            )
        text = unicodedata.normalize("NFC", trim(cell))
        if _EXCEL_ERROR.fullmatch(text):
            raise CellError(f"the id is the Excel error {text}")
        if len(text) > _LONGEST_ID_CHARACTERS:
            raise CellError(
                f"the id has {len(text)} characters, at most {_LONGEST_ID_CHARACTERS} are expected"
            )
        return text
    if isinstance(cell, bool):
        raise CellError(f"the id is the truth value {_number_text(cell)}, expected text or a number")
    if not isinstance(cell, int | float):
        raise CellError("the id is a date or a time, expected text or a number: format the cell as text")
    if not math.isfinite(cell) or abs(cell) >= _EXACT_INTEGERS_BELOW:
        raise CellError("the id is a number with more digits than a number cell keeps: enter it as text")
    return _number_text(cell)


def parse_text(cell: Cell) -> str | None:
    """Read a text, `None` if nothing is left of it.

    It is trimmed and freed of unstorable characters; the number `90.0` is `90`, a boolean `TRUE` or `FALSE`,
    a date ISO text.
    """
    if isinstance(cell, str):
        return trim(remove_unstorable(cell)) or None
    if is_blank(cell):
        return None
    value = parse_json(cell)
    return _number_text(value) if isinstance(value, bool | int | float) else value


def parse_integer(cell: Cell, *, allowed: range) -> int | None:
    """Read a whole number within `allowed`, `None` for a blank cell; the texts `2020`, `2020.0` fit too."""
    if is_blank(cell):
        return None
    value: int | None = None
    if isinstance(cell, str):
        match = _INTEGER_TEXT.fullmatch(trim(cell))
        value = int(match[1]) if match else None
    elif (
        isinstance(cell, int | float)
        and not isinstance(cell, bool)
        and math.isfinite(cell)
        and cell == int(cell)
    ):
        value = int(cell)
    if value is None:
        raise CellError(f"{_shown(cell)} is no whole number")
    if value not in allowed:
        raise CellError(f"{_shown(cell)} is outside {allowed.start} to {allowed.stop - 1}")
    return value


def parse_date(cell: Cell) -> date | None:
    """Read a date, `None` for a blank cell; a time of day is dropped.

    Texts are read **day first, always**: `2020-06-12`, `12/06/2020`, `12-06-2020`, `12.06.2020`, `12 Jun
    2020`, `12-Jun-20` are one day. A number is an Excel serial of the 1900 system, except that 1800 to 2200
    is refused: it is a year that lost its day, and would otherwise quietly become a day of 1905.
    """
    if is_blank(cell):
        return None
    found: date | None = None
    if isinstance(cell, datetime):
        found = cell.date()
    elif isinstance(cell, date):
        found = cell
    elif isinstance(cell, str):
        found = _date_from_text(trim(cell))
    elif isinstance(cell, int | float) and not isinstance(cell, bool):
        if cell in _PLAUSIBLE_YEARS:
            raise CellError(f"{_shown(cell)} is a year, expected a full date")
        found = _date_from_serial(cell)
    if found is None:
        raise CellError(f"{_shown(cell)} is no date (expected YYYY-MM-DD or, day first, DD/MM/YYYY)")
    return found


def parse_json(cell: Cell) -> JsonValue:
    """Turn any cell into the JSON value that is stored for it; dates become ISO text, a blank cell `None`.

    A date cell at midnight loses its time, a duration becomes `H:MM:SS`.
    """
    if isinstance(cell, str):
        return trim(remove_unstorable(cell)) or None
    if cell is None or isinstance(cell, bool | int):
        return cell
    if isinstance(cell, float):
        return None if math.isnan(cell) else _whole(cell)
    if isinstance(cell, timedelta):
        seconds = round(cell.total_seconds())
        sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
        return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if isinstance(cell, datetime) and cell.timetz() == time():
        return cell.date().isoformat()
    return cell.isoformat()


def _whole(number: float) -> JsonValue:
    if math.isinf(number):
        return str(number)  # JSON knows no infinity
    return int(number) if number.is_integer() else number


def _number_text(number: float) -> str:
    if isinstance(number, bool):
        return "TRUE" if number else "FALSE"
    if isinstance(number, int) or number.is_integer():
        return str(int(number))
    return format(Decimal(repr(number)), "f")


def _shown(cell: Cell) -> str:
    if isinstance(cell, bool | int | float):
        return _number_text(cell) if not isinstance(cell, float) or math.isfinite(cell) else str(cell)
    text = str(parse_json(cell))
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"


def _date_from_text(text: str) -> date | None:
    if match := _YEAR_FIRST.fullmatch(text):
        return _valid_date(match[1], int(match[3]), match[4])
    if match := _DAY_FIRST.fullmatch(text):
        return _valid_date(match[4], int(match[3]), match[1])
    if match := _MONTH_NAMED.fullmatch(text):
        name = match[2].lower()
        if name in _MONTHS or name in _MONTH_NAMES:
            return _valid_date(match[3], _MONTHS.index(name[:3]) + 1, match[1])
    return None


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
    if day == _EXCEL_SERIAL_OF_THE_DAY_THAT_NEVER_WAS:
        return None
    first_day = date(1899, 12, 31) if day < _EXCEL_SERIAL_OF_THE_DAY_THAT_NEVER_WAS else date(1899, 12, 30)
    return first_day + timedelta(days=day)
