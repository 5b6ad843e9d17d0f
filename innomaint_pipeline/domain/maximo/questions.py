"""What is asked of an object structure: the parameters of pages, counts and lookups by id.

Belongs here: the query language, as far as it is used. A server ignores in silence what it does not
understand, so that each answer is checked (`answers`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from innomaint_pipeline.domain.maximo.structures import Cursor, StatusScope, Structure

Parameters = list[tuple[str, str]]

SMALLEST_PAGE = 10
IDS_AT_ONCE = 100
IDS_OF_A_PAGE = 500
TRANSACTION_DATE = "transdate"


class Mode(StrEnum):
    """How much a read asks for."""

    FULL = "full"
    INCREMENT = "increment"
    SINCE = "since"


@dataclass(frozen=True)
class Question:
    """One read of a structure at a site.

    `changed_since` and `booked_since` are moments as the server takes them; `last_fetch` is a row stamp;
    `words` are the status words to ask for where the server does not know internal values. With `ids` these
    rows are asked for, whatever their status. `is_of_ids_alone` asks of each row for nothing but its id.
    """

    structure: Structure
    site: str | None
    mode: Mode
    changed_since: str | None = None
    last_fetch: int | None = None
    words: tuple[str, ...] | None = None
    booked_since: str | None = None
    has_personal_data: bool = False
    ids: tuple[int, ...] | None = None
    is_of_ids_alone: bool = False

    def for_ids_alone(self) -> Question:
        """Return the question for the ids of the same rows."""
        return replace(self, booked_since=None, is_of_ids_alone=True)

    def of_ids(self, ids: Sequence[int], *, booked_since: str | None) -> Question:
        """Return the question for these rows, whatever their status.

        Whatever their site, too, unless the structure is too large to be asked for without one.
        """
        return replace(
            self,
            site=self.site if self.structure.must_narrow else None,
            changed_since=None,
            last_fetch=None,
            booked_since=booked_since,
            ids=tuple(ids),
        )

    @property
    def filter_name(self) -> str:
        """What is asked for but for the moments, which move: the same question goes on where it stopped."""
        words = "" if self.words is None else ",".join(self.words)
        return f"{self.mode}|{words}|{self.has_personal_data}"

    @property
    def has_dates(self) -> bool:
        """Tell whether a moment stands in the question."""
        return self.changed_since is not None or self.booked_since is not None


def quote(text: str) -> str:
    """Return a text as a literal of `oslc.where`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _base(question: Question) -> Parameters:
    structure = question.structure
    if question.is_of_ids_alone:
        chosen = structure.id if question.site is None else f"{structure.id},siteid"
    else:
        chosen = structure.select(has_personal_data=question.has_personal_data)
    return [
        ("lean", "1"),
        ("ignorecollectionref", "1"),
        ("internalvalues", "1"),
        ("oslc.select", chosen),
    ]


def _conditions(question: Question, *, with_status: bool = True) -> list[str]:
    structure = question.structure
    found = []
    if question.site is not None:
        found.append(f"siteid={quote(question.site)}")
    if question.ids is not None:
        found.append(f"{structure.id} in [{','.join(map(str, question.ids))}]")
        return found
    if question.mode is Mode.FULL:
        if structure.flag is not None:
            found.append(f"{structure.flag[0]}={structure.flag[1]}")
        if with_status and question.words is not None:
            found.append(_in_words(structure.status, question.words))
    if question.changed_since is not None:
        found.append(f"changedate>={quote(question.changed_since)}")
    return [item for item in found if item]


def _in_words(scope: StatusScope | None, words: tuple[str, ...]) -> str:
    if scope is not None and scope.is_excluding and words == scope.internal_values:
        # Nothing is known of the installation's words: those that close are taken for what they are called.
        return " and ".join(f"status!={quote(word)}" for word in words)
    return f"status in [{','.join(quote(word) for word in words)}]"


def _status(question: Question) -> Parameters:
    scope = question.structure.status
    is_full = question.mode is Mode.FULL and question.ids is None
    if not is_full or scope is None or question.words is not None:
        return []
    return [("domaininternalwhere", scope.condition)]


def page_parameters(question: Question, *, last: int | None, size: int, is_first: bool) -> Parameters:
    """Return the parameters of the page that begins behind the id `last`."""
    structure = question.structure
    conditions = _conditions(question)
    if last is not None:
        conditions.append(f"{structure.id}>{last}")
    found = _base(question)
    if conditions:
        found.append(("oslc.where", " and ".join(conditions)))
    found += _status(question)
    found += _booked_since(question)
    if structure.cursor is Cursor.ROWSTAMP and question.ids is None and not question.is_of_ids_alone:
        found.append(("fetchmodedelta", "1"))
        if question.last_fetch is not None:
            found.append(("lastfetchts", str(question.last_fetch)))
    found += [("oslc.orderBy", f"+{structure.id}"), ("oslc.pageSize", str(size))]
    if is_first and question.mode is Mode.FULL:
        found.append(("collectioncount", "1"))
    return found


def _booked_since(question: Question) -> Parameters:
    if question.booked_since is None:
        return []
    structure = question.structure
    condition = f"{TRANSACTION_DATE}>={quote(question.booked_since)}"
    return [(f"{structure.object_name}.{child.member}.where", condition) for child in structure.appended]


def count_parameters(question: Question, *, with_status: bool = True) -> Parameters:
    """Return the parameters by which the server counts the rows of a full read."""
    conditions = _conditions(question, with_status=with_status)
    found = [("lean", "1"), ("ignorecollectionref", "1"), ("internalvalues", "1")]
    if conditions:
        found.append(("oslc.where", " and ".join(conditions)))
    if with_status:
        found += _status(question)
    return [*found, ("oslc.pageSize", "1"), ("count", "1")]


def any_parameters(question: Question) -> Parameters:
    """Return the parameters of a small page whatever the status, which shows the server's words."""
    structure = question.structure
    conditions = _conditions(question, with_status=False)
    found = [("lean", "1"), ("ignorecollectionref", "1"), ("internalvalues", "1")]
    found.append(("oslc.select", f"{structure.id},status,siteid"))
    if conditions:
        found.append(("oslc.where", " and ".join(conditions)))
    return [*found, ("oslc.orderBy", f"+{structure.id}"), ("oslc.pageSize", str(SMALLEST_PAGE))]


def in_scope(structure: Structure, columns: dict[str, Any], words: Collection[str] | None) -> bool:
    """Tell whether a row belongs to what a full read asks for.

    By its internal status; where it has none, by the words that stand for the scope.
    """
    flag = structure.flag
    if flag is not None and columns.get(flag[0]) is not None and int(columns[flag[0]]) != flag[1]:
        return False
    scope, word = structure.status, columns.get("status")
    if scope is None:
        return True
    internal = columns.get("status_maxvalue")
    if internal is not None:
        return scope.includes(internal)
    if words is not None and not (scope.is_excluding and tuple(words) == scope.internal_values):
        return word in words
    return word is None or scope.includes(word)
