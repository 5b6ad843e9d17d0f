"""The headers of a customer list -> its columns, whatever their accents, colons, apostrophes and case.

Belongs here: names. In which file further names stand is `sources.customers.headers`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from innomaint_pipeline.domain.customers.columns import COLUMNS

COUNT, SUM = "count", "sum"
_APOSTROPHES = frozenset(
    "'\N{GRAVE ACCENT}\N{ACUTE ACCENT}\u2018\u2019\u201a\u201b\u2032\u02b9\u02bb\u02bc\u02bd\uff07"
)


def normalise_header(text: str) -> str:
    """Return a header by what its letters say: `CITTÀ:` and `citta` are the same."""
    letters = "".join("'" if it in _APOSTROPHES else it for it in text)
    decomposed = unicodedata.normalize("NFD", letters)
    bare = "".join(it for it in decomposed if not unicodedata.combining(it) and it not in ":\uff1a")
    return " ".join(bare.upper().split())


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """Which columns a header can mean, in the order of the list, and the labels of the totals."""

    columns: Mapping[str, tuple[str, ...]]
    count_labels: tuple[str, ...]
    sum_labels: tuple[str, ...]

    def name_columns(self, headers: Sequence[str]) -> list[str | None]:
        """Return the column of each header of a whole cycle, None for an unknown one.

        A header of several columns means them by its order; once more than there are columns, None.
        """
        seen: dict[str, int] = {}
        names: list[str | None] = []
        for header in headers:
            key = normalise_header(header)
            candidates = self.columns.get(key, ())
            index = seen.get(key, 0)
            seen[key] = index + 1
            names.append(candidates[index] if index < len(candidates) else None)
        return names

    def read_total(self, text: str, label: str) -> str | None:
        """Return what stands behind `Count=` or `Sum=` (`label` is `COUNT` or `SUM`), None without it."""
        head, mark, value = text.partition("=")
        labels = self.count_labels if label == COUNT else self.sum_labels
        return value.strip(" ") if mark and normalise_header(head) in labels else None


def build_header_names(further: Mapping[str, Sequence[str]]) -> HeaderNames:
    """Return the names of the program's own list, and `further` ones by column, `count` or `sum`.

    Raises `ValueError` for an unknown column, an empty header, or one that means another column already;
    the two columns of sales may share one, as they do in the list.
    """
    known = {column.name: [normalise_header(column.header)] for column in COLUMNS}
    labels = {COUNT: ["COUNT"], SUM: ["SUM"]}
    for name, headers in further.items():
        target = labels.get(name) or known.get(name)
        if target is None:
            raise ValueError(
                f"{name}: there is no such column, expected one of {', '.join((*known, *labels))}"
            )
        for header in headers:
            key = normalise_header(header)
            if not key:
                raise ValueError(f"{name}: found an empty header, expected a text")
            if key not in target:
                target.append(key)
    columns: dict[str, list[str]] = {}
    for name, headers in known.items():
        for key in headers:
            columns.setdefault(key, []).append(name)
    for key, names in columns.items():
        if len(names) > 1 and set(names) != {"previous_sales_1", "previous_sales_2"}:
            raise ValueError(f"{names[-1]}: the header {key!r} is {names[0]}'s already, expected another")
    return HeaderNames(
        {key: tuple(names) for key, names in columns.items()}, tuple(labels[COUNT]), tuple(labels[SUM])
    )
