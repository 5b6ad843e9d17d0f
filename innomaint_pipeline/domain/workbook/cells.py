"""What one cell of the asset master means: an id, a text, an integer, a date, a JSON value.

Belongs here: reading a single cell, whatever column it stands in. Nothing here knows of headers, rows, files.
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class UnknownCell:
    """A cell whose value the file does not hold: an error, a formula never calculated, an odd type.

    `found` says in words what stands there. It is not blank: it tells nothing of the stored value.
    """

    found: str


class ZeroPaddedNumber(float):
    """A number cell whose format shows leading zeros (`000000`), which the value itself does not have."""


Cell = str | int | float | bool | datetime | date | time | timedelta | UnknownCell | None
JsonValue = str | int | float | bool | None


# Unicode white space, plus the invisible marks that copying from web pages leaves at the ends of a text.
_TRIMMED = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
    "\xad\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# PostgreSQL stores neither in text nor in jsonb.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_EXCEL_ERROR = re.compile(
    r"#(N/A|REF!|VALUE!|NAME\?|DIV/0!|NULL!|NUM!|SPILL!|CALC!|GETTING_DATA|FIELD!|BLOCKED!|CONNECT!|BUSY!"
    r"|UNKNOWN!|EXTERNAL!|PYTHON!|TIMEOUT!)|Err:[0-9]{3}",
    re.IGNORECASE,
)
_BEGINNINGS_OF_ERRORS = frozenset("#Ee")
_NOT_PLAIN_AT_FIRST = _BEGINNINGS_OF_ERRORS | {" "}
_PLACEHOLDERS = frozenset(
    {"na", "n/a", "n.a.", "n.a", "#n.a.", "-", "--", "---", "\u2013", "\u2014", "nil", "none", "null", "tbd"}
    | {"?", "??", "tba"}
)
NO_DATE = re.compile(r"0{1,4}(?:([-/.])0{1,2}\1)?0{0,4}(?:[T ]00:00(?::00)?)?")
# `="00123"` and `'00123` are how exporters keep a spreadsheet from reading an id as a number.
_FORMULA_GUARD = re.compile(r'="((?:[^"]|"")*)"')
_SCIENTIFIC = re.compile(r"[+-]?[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}")
_DIGITS_THAT_A_NUMBER_KEEPS = 15
# A spreadsheet keeps every number as a double: from here on neighbouring integers share one.
_EXACT_INTEGERS_BELOW = 2**53
# A key of 2,704 bytes no longer fits PostgreSQL's index; four bytes a character stay well below.
_LONGEST_ID_CHARACTERS = 500
_INTEGER_TEXT = re.compile(r"([+-]?[0-9]{1,18})(\.0*)?")
_SEQUENCE_TEXT = re.compile(r"[(\[#]?\s*([0-9]{1,3}(?:,[0-9]{2,3})+|[0-9]{1,18})(?:\.0*)?\s*[.)\]:/-]*")
_SEQUENCE_PARTS = re.compile(r"[(\[#]?\s*([0-9]{1,18})(?:[.\-/ ][0-9]{1,9}|[A-Za-z])+\s*[.)\]:]*")
_SEQUENCE_LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[.)\]:-]*")


class CellError(ValueError):
    """A cell that does not fit its column; the message is the reason a person reads."""


def is_blank(cell: Cell) -> bool:
    """Tell whether a cell holds nothing: none, NaN, or a text of white space and invisible marks.

    An `UnknownCell` is not blank.
    """
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
    # What is printable holds neither; to look costs a third of a substitution.
    return text if text.isprintable() else _UNSTORABLE.sub("", text)


def has_unstorable(cell: Cell) -> bool:
    """Tell whether a cell is a text with NUL or lone surrogates in it."""
    return isinstance(cell, str) and not cell.isprintable() and _UNSTORABLE.search(cell) is not None


def has_digit(text: str) -> bool:
    """Tell whether a text holds a digit of any script."""
    return any(map(str.isdigit, text))


def is_plain_text(text: str) -> bool:
    """Tell whether a text is stored as it is: nothing to trim or to remove, and surely no error word."""
    return text.isprintable() and text[:1] not in _NOT_PLAIN_AT_FIRST and text[-1:] not in ("", " ")


def unknown_from_text(text: str) -> UnknownCell | None:
    """Return what an error word means (`#N/A`, `#REF!`), `None` for any other text."""
    trimmed = trim(text)
    is_error = trimmed[:1] in _BEGINNINGS_OF_ERRORS and _EXCEL_ERROR.fullmatch(trimmed)
    return UnknownCell(f"the error {trimmed}") if is_error else None


def is_placeholder(cell: Cell) -> bool:
    """Tell whether a cell says in words that nothing is known: `NA`, `-`, `nil`, `TBD`, `?`."""
    return isinstance(cell, str) and trim(cell).casefold() in _PLACEHOLDERS


def is_scientific(cell: Cell) -> bool:
    """Tell whether a text is a number in scientific notation, as a spreadsheet writes long ids."""
    return isinstance(cell, str) and _SCIENTIFIC.fullmatch(trim(cell)) is not None


def has_lost_digits(cell: Cell) -> bool:
    """Tell whether a number has more digits than a number cell keeps."""
    return (
        isinstance(cell, int | float)
        and not isinstance(cell, bool)
        and abs(cell) >= 10**_DIGITS_THAT_A_NUMBER_KEEPS
    )


def parse_id(cell: Cell) -> str:
    """Read a CMMS asset id: trimmed and NFC, without a spreadsheet's guard, nothing else changed.

    A number is written without a decimal point if it is whole (`101.0` -> `101`). Raises `CellError` for a
    boolean, a date or time, an Excel error, a placeholder, a text that PostgreSQL cannot store or index or
    that holds control characters alone, and a number whose digits a spreadsheet cannot have kept.
    """
    if isinstance(cell, UnknownCell):
        raise CellError(f"the id is unknown: the cell holds {cell.found}")
    if isinstance(cell, str):
        return _parse_text_id(cell)
    if isinstance(cell, bool):
        raise CellError(f"the id is the truth value {_number_text(cell)}, expected text or a number")
    if not isinstance(cell, int | float):
        raise CellError("the id is a date or a time, expected text or a number: format the cell as text")
    if not math.isfinite(cell) or abs(cell) >= _EXACT_INTEGERS_BELOW:
        raise CellError("the id is a number with more digits than a number cell keeps: enter it as text")
    return _number_text(cell)


def _parse_text_id(cell: str) -> str:
    text = trim(cell)
    if guarded := _FORMULA_GUARD.fullmatch(text):
        text = trim(guarded[1].replace('""', '"'))
    elif text.startswith("'") and len(text) > 1:
        text = trim(text[1:])
    if not any(unicodedata.category(character) not in ("Cc", "Cf") for character in text):
        raise CellError("the id holds nothing but control characters")
    if has_unstorable(text):
        raise CellError(
            "the id holds characters that the database cannot store (NUL or half a surrogate pair)"
        )
    text = unicodedata.normalize("NFC", text)
    if unknown := unknown_from_text(text):
        raise CellError(f"the id is unknown: the cell holds {unknown.found}")
    if is_placeholder(text):
        raise CellError(f"the row has no id: '{text}' only says that there is none")
    if len(text) > _LONGEST_ID_CHARACTERS:
        raise CellError(f"the id has {len(text)} characters, at most {_LONGEST_ID_CHARACTERS} are expected")
    return text


def fold_id(cmms_asset_id: str) -> str:
    """Reduce an id to what a person tells it by: no case, blanks, invisible marks, width, kind of hyphen."""
    folded = unicodedata.normalize("NFKC", cmms_asset_id).casefold()
    if folded.isascii():
        return "".join(folded.split())
    return "".join(
        "-" if character == "\u2212" or category == "Pd" else character
        for character in folded
        if (category := unicodedata.category(character)) not in ("Cf", "Cc", "Zs", "Zl", "Zp")
    )


def parse_text(cell: Cell) -> str | None:
    """Read a text, `None` if nothing is left of it.

    It is trimmed and freed of unstorable characters; the number `90.0` is `90`, a boolean `TRUE` or `FALSE`,
    a date ISO text.
    """
    if isinstance(cell, str):
        return trim(remove_unstorable(cell)) or None
    if is_blank(cell) or isinstance(cell, UnknownCell):
        return None
    value = parse_json(cell)
    return _number_text(value) if isinstance(value, bool | int | float) else value


def parse_integer(cell: Cell, *, allowed: range) -> int | None:
    """Read a whole number within `allowed`; the texts `2020`, `2020.0` fit too.

    `None` for a blank cell, a placeholder, and a zero where zero is not allowed: references to blank cells
    show it.
    """
    if is_blank(cell) or is_placeholder(cell):
        return None
    value: int | None = None
    if isinstance(cell, str):
        if NO_DATE.fullmatch(trim(cell)) and len(trim(cell)) > 1:
            return None
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
        raise CellError(f"{shown(cell)} is no whole number")
    if value == 0 and 0 not in allowed:
        return None
    if value not in allowed:
        raise CellError(f"{shown(cell)} is outside {allowed.start} to {allowed.stop - 1}")
    return value


def parse_sequence(cell: Cell, *, allowed: range) -> tuple[int | None, bool]:
    """Read the number that orders a row; also tell whether it is exact.

    `1,000` and `12)` are exact; of `1.1` the part before the point is read, of `A` its place in the alphabet:
    both order rows roughly. `None` for blanks and placeholders. Raises `CellError` for anything else.
    """
    if isinstance(cell, str):
        if is_blank(cell) or is_placeholder(cell):
            return None, True
        text = trim(cell)
        if match := _SEQUENCE_TEXT.fullmatch(text):
            return parse_integer(match[1].replace(",", ""), allowed=allowed), True
        if match := _SEQUENCE_PARTS.fullmatch(text):
            return parse_integer(match[1], allowed=allowed), False
        if match := _SEQUENCE_LETTER.fullmatch(text):
            return ord(match[1].upper()) - ord("A") + 1, False
    elif isinstance(cell, float) and math.isfinite(cell) and not cell.is_integer():
        return parse_integer(math.floor(cell), allowed=allowed), False
    return parse_integer(cell, allowed=allowed), True


def parse_json(cell: Cell) -> JsonValue:  # noqa: PLR0911 # one for each type of a cell
    """Turn any cell into the JSON value that is stored for it; dates become ISO text, a blank cell `None`.

    A date cell at midnight loses its time, a duration becomes `H:MM:SS`.
    """
    if isinstance(cell, str):
        return trim(remove_unstorable(cell)) or None
    if cell is None or isinstance(cell, UnknownCell):
        return None
    if isinstance(cell, bool | int):
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
    return int(number) if number.is_integer() else float(number)


def _number_text(number: float) -> str:
    if isinstance(number, bool):
        return "TRUE" if number else "FALSE"
    if isinstance(number, int) or number.is_integer():
        return str(int(number))
    return format(Decimal(repr(number)), "f")


def shown(cell: Cell) -> str:
    """Write a cell for a message: texts in quotes, and not the whole of a long one."""
    if isinstance(cell, UnknownCell):
        return cell.found
    if isinstance(cell, bool | int | float):
        return _number_text(cell) if not isinstance(cell, float) or math.isfinite(cell) else str(cell)
    text = str(parse_json(cell))
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"
