"""What an object structure of Maximo is, as data: the words in which `declarations` declares the six.

Belongs here: the kinds of attributes, tables, nodes and structures, and what follows from them alone. No
structure is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a column holds, and how the attribute's JSON is read."""

    TEXT = "text"
    INTEGER = "integer"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    MOMENT = "moment"
    DATE = "date"
    CLOCK = "clock"
    NUMBER_TEXT = "number_text"
    """A number as canonical text: 1.0 is 1."""
    READING = "reading"
    """The number that a text holds, null where it holds none."""


@dataclass(frozen=True)
class Attribute:
    """A column and the attribute it is read from.

    `is_optional`: its absence is no drift. `is_personal`: null unless personal data are kept.
    """

    column: str
    kind: Kind
    comment: str
    is_optional: bool = False
    is_personal: bool = False


@dataclass(frozen=True, eq=False)
class TableSpec:
    """A table: its columns, its primary key, and `unique`, the other columns by which a row is found.

    `identity` names the columns that stay when a row's key changes; rows are written by it. `parent` is the
    table that its rows belong to, and `links` the columns that say to which row; `also_of` is a further
    table that they name a row of, by the column of the same name. `is_found_by_name`: the key of words stays
    what a row is known by, since it may come without its number.
    """

    name: str
    comment: str
    key: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    unique: tuple[str, ...] = ()
    parent: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    also_of: tuple[str, str] | None = None
    is_found_by_name: bool = False

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns by which rows are written: the unique id, where there is one beside the key."""
        return self.unique if self._has_numbered_id else self.key

    @property
    def _has_numbered_id(self) -> bool:
        # A number outlives a key of words.
        is_single = len(self.unique) == 1 and not self.is_found_by_name
        return is_single and self.kind_of(self.unique[0]) is Kind.INTEGER

    @property
    def movable(self) -> tuple[str, ...]:
        """The other columns by which a row is found: what it is called may change."""
        return self.unique if self.identity == self.key else self.key

    def kind_of(self, column: str) -> Kind:
        """Return what a column holds."""
        return next(item.kind for item in self.attributes if item.column == column)


class Growth(StrEnum):
    """What the rows of an answer say about those that it lacks."""

    SET = "set"
    """They are all there are: what is missing is deleted."""
    APPEND = "append"
    """They only grow in number: nothing is ever deleted."""
    SHARED = "shared"
    """They belong to others, too: nothing is deleted, and one that is named but missing is a placeholder."""


Reader = Callable[[Mapping[str, Any]], list[Mapping[str, Any]]]
"""Returns the objects of a node from the object around them, where they are no plain list."""


@dataclass(frozen=True, eq=False)
class Node:
    """How the objects of an answer become rows of a table.

    `member` is the attribute that holds them in the object around them, empty for the root. `given` are
    constants of their rows; `renamed` and `derived` give columns the value of another attribute, the latter
    as another kind; `inherited` gives columns the value of the parent's row. `line_number` is a column that
    counts them. A node that is not `is_hashed` is computed by Maximo anew each time.
    """

    table: TableSpec
    member: str = ""
    select: str = "{*}"
    given: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    derived: tuple[tuple[str, str, Kind], ...] = ()
    inherited: Mapping[str, str] = field(default_factory=dict)
    children: tuple[Node, ...] = ()
    read: Reader | None = None
    growth: Growth = Growth.SET
    line_number: str | None = None
    is_optional: bool = False
    is_hashed: bool = True
    is_selected: bool = True


class Cursor(StrEnum):
    """How a structure tells what has changed."""

    CHANGEDATE = "changedate"
    ROWSTAMP = "rowstamp"
    NONE = "none"


@dataclass(frozen=True)
class StatusScope:
    """Which rows a full read asks for, by the internal value of their status, and where its words stand."""

    internal_values: tuple[str, ...]
    domain: str
    is_excluding: bool = False

    @property
    def condition(self) -> str:
        """The scope as `domaininternalwhere` takes it."""
        return f"status{'!=' if self.is_excluding else '='}{','.join(self.internal_values)}"

    def includes(self, internal_value: str) -> bool:
        """Tell whether rows of an internal value belong to a full read."""
        return (internal_value in self.internal_values) is not self.is_excluding


@dataclass(frozen=True, eq=False)
class Structure:
    """One object structure: what is asked for, and which tables it fills.

    `short` is its name on the command line and in our tables. `names` are selected besides the children;
    `personal_names` only where personal data are kept. `condition` is added to each question that names no
    ids. Rows of `is_fleeting` ones leave the scope at any time, also while they are read. `weekly` structures
    are read in full on Sundays, the others each day. `unhashed` are children that Maximo computes and that
    have no table.
    """

    short: str
    name: str
    object_name: str
    id: str
    title: str
    root: Node
    cursor: Cursor
    page_size: int
    names: tuple[str, ...] = ("*",)
    personal_names: tuple[str, ...] = ()
    has_site: bool = False
    status: StatusScope | None = None
    flag: tuple[str, int] | None = None
    is_weekly: bool = False
    must_narrow: bool = False
    is_fleeting: bool = False
    unhashed: tuple[str, ...] = ()

    def select(self, *, has_personal_data: bool) -> str:
        """Return the value of `oslc.select`."""
        names = [*self.names, *(self.personal_names if has_personal_data else ())]
        return ",".join([*names, *(_select(child) for child in self.root.children if child.is_selected)])

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """Yield the nodes, parents first, with their paths below the root: groupuser/maxgroup."""
        yield from _walk("", self.root)

    def tables(self) -> list[TableSpec]:
        """Return the tables, parents first, each once."""
        return list({node.table.name: node.table for _, node in self.nodes()}.values())

    @property
    def appended(self) -> tuple[Node, ...]:
        """The children that only grow."""
        return tuple(child for child in self.root.children if child.growth is Growth.APPEND)


def _walk(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    yield path, node
    for child in node.children:
        yield from _walk(f"{path}/{child.member}" if path else child.member, child)


def _select(node: Node) -> str:
    inner = [_select(child) for child in node.children if child.is_selected]
    if not inner:
        return f"{node.member}{node.select}"
    return f"{node.member}{{{','.join([node.select.strip('{}'), *inner])}}}"


def as_list(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a child, which is a list, a single object, or an object around a list.

    Null, an empty list and an empty object are no child.
    """
    if isinstance(value, Mapping):
        if "member" in value:
            return as_list(value["member"])
        return [value] if value else []
    return [item for item in value if isinstance(item, Mapping) and item] if isinstance(value, list) else []
