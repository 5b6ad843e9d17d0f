"""What of the cells of an asset master a person should know of: where they may not be what they seem.

Belongs here: notices of cells with their places, ids alike, the order of dates in a column. Nothing here
rejects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from innomaint_pipeline.domain.workbook.cells import (
    Cell,
    ZeroPaddedNumber,
    fold_id,
    has_lost_digits,
    is_scientific,
)
from innomaint_pipeline.domain.workbook.dates import DateOrder, fitting_orders
from innomaint_pipeline.domain.workbook.headers import Header, column_letters
from innomaint_pipeline.domain.workbook.sheets import SheetRows

DATE_COLUMN = "installation_date"
# A workbook in which everything is similar to something would otherwise bury its other notices.
_SIMILAR_ID_NOTICES = 50
_PLACES_NAMED_IN_A_NOTICE = 10

# What is noticed of single cells, with their places; each begins a notice.
UNKNOWN = "an error or a formula that was never calculated, whose stored values stay, in"
_SCIENTIFIC_ID = "ids in scientific notation, which a spreadsheet has shortened, in"
_LOST_DIGITS = "numbers of more than 15 digits, of which a number cell keeps 15, in"
_ZERO_PADDED = "numbers that are shown with leading zeros and have none, in"
_DATE_AS_TEXT = "dates in a column of ids or models, which a spreadsheet may have made of them, in"
CLEANED = "characters that the database cannot store (NUL, half surrogate pairs) were removed in"


@dataclass(slots=True)
class Oddities:
    """The cells of a sheet that are noticed, by what is to be said of them."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, row_number: int, position: int) -> None:
        """Remember a place."""
        self.places.setdefault(what, []).append(f"{column_letters(position)}{row_number}")

    def look_at_id(self, cell: Cell, row_number: int, position: int) -> None:
        """Note an id that a spreadsheet may have changed."""
        if isinstance(cell, str):
            if is_scientific(cell):
                self.note(_SCIENTIFIC_ID, row_number, position)
        elif isinstance(cell, date):
            self.note(_DATE_AS_TEXT, row_number, position)
        elif isinstance(cell, ZeroPaddedNumber):
            self.note(_ZERO_PADDED, row_number, position)
        elif has_lost_digits(cell):
            self.note(_LOST_DIGITS, row_number, position)

    def look_at_value(self, cell: Cell, column: str | None, row_number: int, position: int) -> None:
        """Note a value, no text, that a spreadsheet may have changed."""
        if column == "model":
            self.look_at_id(cell, row_number, position)
        elif has_lost_digits(cell):
            self.note(_LOST_DIGITS, row_number, position)

    def notices(self, sheet: str) -> list[str]:
        """Write what was noticed, each with number and first places (`Data!C7`)."""
        return [
            f"{what} {count_of(len(places), 'cell')}: {name_places(f'{sheet}!{it}' for it in places)}"
            for what, places in self.places.items()
        ]


def find_date_orders(
    headed: Sequence[tuple[SheetRows, Header]],
) -> list[tuple[DateOrder, list[str]]]:
    """Decide for the date column of all sheets together in which order its texts are read."""
    only: dict[DateOrder, list[str]] = {order: [] for order in DateOrder}
    labels: list[str] = []
    for sheet, header in headed:
        position = next((at for at, column in header.columns.items() if column == DATE_COLUMN), None)
        labels.append("" if position is None else header.labels[position])
        if position is None:
            continue
        for row_number, row in enumerate(sheet.rows[header.row_number :], header.row_number + 1):
            orders = fitting_orders(row[position]) if position < len(row) else None
            if orders is not None and len(orders) == 1:
                (order,) = orders
                only[order].append(f"{sheet.sheet}!{column_letters(position)}{row_number}")
    month_first, day_first = only[DateOrder.MONTH_FIRST], only[DateOrder.DAY_FIRST]
    order = DateOrder.MONTH_FIRST if month_first and not day_first else DateOrder.DAY_FIRST
    label = next(filter(None, labels), "")
    notices = []
    if month_first and day_first:
        told = (
            f"'{label}' holds dates that only fit day first and dates that only fit month first: all are "
            f"read day first, {count_of(len(month_first), 'cell')} could not be: {name_places(month_first)}"
        )
        notices = [told]
    elif month_first:
        notices = [f"'{label}' is read month first, as {name_places(month_first)} can only be"]
    return [(order, notices if at == 0 else []) for at in range(len(headed))]


def similar_id_notices(first_places: Mapping[str, tuple[str, int]], *, is_named: bool) -> list[str]:
    """Report ids that a person would take for one; with `is_named` by sheet and row."""
    groups: dict[str, list[str]] = {}
    for cmms_asset_id in first_places:
        groups.setdefault(fold_id(cmms_asset_id), []).append(cmms_asset_id)

    def place(cmms_asset_id: str) -> str:
        sheet, row_number = first_places[cmms_asset_id]
        return f"row {row_number} of '{sheet}'" if is_named else f"row {row_number}"

    similar = [ids for ids in groups.values() if len(ids) > 1]
    notices = [
        "these ids differ only by case, blanks, invisible marks, hyphens or width, each is imported as an "
        "asset of its own: " + ", ".join(f"'{it}' ({place(it)})" for it in ids)
        for ids in similar[:_SIMILAR_ID_NOTICES]
    ]
    if len(similar) > _SIMILAR_ID_NOTICES:
        notices.append(f"{len(similar) - _SIMILAR_ID_NOTICES} more groups of ids differ only so little")
    return notices


def count_of(number: int, thing: str) -> str:
    """Write a number of things, `1 row` or `2 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def name_places(places: Iterable[str]) -> str:
    """Name the first ten places, and how many more there are."""
    known = list(places)
    named = ", ".join(known[:_PLACES_NAMED_IN_A_NOTICE])
    more = len(known) - _PLACES_NAMED_IN_A_NOTICE
    return named + (f" and {more:,} more" if more > 0 else "")
