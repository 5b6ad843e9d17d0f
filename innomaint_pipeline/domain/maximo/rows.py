"""An object of an answer -> the rows of its tables, and what was seen on the way.

Belongs here: parsing by the declaration, hashes of rows, and counting which attributes came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from innomaint_pipeline.domain.documents import dump_json
from innomaint_pipeline.domain.maximo.structures import Attribute, Growth, Kind, Node, Structure, as_list
from innomaint_pipeline.domain.maximo.values import (
    READERS,
    WrongTypeError,
    is_absent,
    is_link,
    read_rowstamp,
    type_of,
)

ROWSTAMP = "_rowstamp"
_BY_LANGUAGE = "_description"

Place = tuple[str, str]
"""A node's path and an attribute of it; an empty attribute means the child as a whole."""


@dataclass(frozen=True)
class ParsedRow:
    """A row of a node's table; `columns` holds neither those that are kept nor our own."""

    path: str
    node: Node
    columns: Mapping[str, Any]
    extra: Mapping[str, Any]
    row_hash: str
    rowstamp: int | None


@dataclass(frozen=True)
class Unit:
    """A root with its children: the root's row comes first, then the others, parents before children."""

    id: int
    rows: tuple[ParsedRow, ...]

    @property
    def root(self) -> ParsedRow:
        """The row of the root's table."""
        return self.rows[0]


@dataclass
class Seen:
    """How many objects of each node came, and of each attribute how often and as which types of JSON."""

    objects: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, dict[str, int]] = field(default_factory=dict)
    types: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def note(self, path: str, name: str, value: Any) -> None:
        """Count an attribute that came with a value."""
        counts = self.attributes.setdefault(path, {})
        counts[name] = counts.get(name, 0) + 1
        types = self.types.setdefault(path, {}).setdefault(name, [])
        kind = type_of(value)
        if kind not in types:
            types.append(kind)

    def to_json(self) -> dict[str, Any]:
        """Return what was seen as JSON, from which `Seen(**value)` makes the same."""
        return {"objects": self.objects, "attributes": self.attributes, "types": self.types}


def count_seen(structure: Structure, bodies: Iterable[Mapping[str, Any]], seen: Seen) -> None:
    """Add what is seen in the objects of a page."""
    for body in bodies:
        _count(structure.root, "", body, seen)


def _count(node: Node, path: str, body: Mapping[str, Any], seen: Seen) -> None:
    seen.objects[path] = seen.objects.get(path, 0) + 1
    members = {child.member for child in node.children if child.is_selected}
    for name, value in body.items():
        if name not in members and name != ROWSTAMP and not is_link(name) and not is_absent(value):
            seen.note(path, name, value)
    for child in node.children:
        if child.is_selected:
            below = f"{path}/{child.member}" if path else child.member
            for item in _objects(child, body):
                _count(child, below, item, seen)


def _objects(node: Node, around: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return node.read(around) if node.read is not None else as_list(around.get(node.member))


# parsing


@dataclass(frozen=True)
class _Plan:
    """What to do with the attributes of a node, looked up by name.

    `inner` are those that are read by way of `dotted`, `unread` the children and the row stamp.
    """

    columns: Mapping[str, tuple[tuple[Attribute, Kind], ...]]
    dotted: tuple[tuple[str, str, Attribute], ...]
    inner: frozenset[str]
    unread: frozenset[str]


@lru_cache(maxsize=64)
def _plan_of(node: Node) -> _Plan:
    by_column = {item.column: item for item in node.table.attributes}
    taken = {*node.given, *node.inherited, *node.renamed, *(name for name, _, _ in node.derived)}
    columns: dict[str, list[tuple[Attribute, Kind]]] = {}
    dotted = []
    for column, name in node.renamed.items():
        if "." in name:
            outer, _, inner = name.partition(".")
            dotted.append((outer, inner, by_column[column]))
        else:
            columns.setdefault(name, []).append((by_column[column], by_column[column].kind))
    for column, name, kind in node.derived:
        columns.setdefault(name, []).append((by_column[column], kind))
    for column, attribute in by_column.items():
        if column not in taken and column != node.line_number:
            columns.setdefault(column, []).append((attribute, attribute.kind))
    inner = {f"{outer}.{name}" for outer, name, _ in dotted} | {outer for outer, _, _ in dotted}
    return _Plan(
        {name: tuple(found) for name, found in columns.items()},
        tuple(dotted),
        frozenset(inner),
        frozenset({ROWSTAMP, *(child.member for child in node.children)}),
    )


def parse_root(
    structure: Structure, body: Mapping[str, Any], kept: Collection[Place] = frozenset()
) -> tuple[Unit, list[tuple[str, str, str]]]:
    """Return the rows that a root of an answer becomes, and its values of a wrong type.

    Of those: path, attribute, the type that came. Columns of `kept` are left out of their rows, which then
    keep what is stored. Raises `WrongTypeError` for a root without a whole number as its id.
    """
    parser = _Parser(structure, kept)
    rows = list(parser.parse(structure.root, "", body, {}, 1))
    identifier = rows[0].columns.get(structure.id)
    if not isinstance(identifier, int):
        raise WrongTypeError
    root_hash = rows[0].row_hash
    # What Maximo computes anew each time counts as changed with its root alone.
    rows = [row if row.node.is_hashed else replace(row, row_hash=root_hash) for row in rows]
    return Unit(identifier, tuple(rows)), parser.mistakes


class _Parser:
    """Parses one root."""

    def __init__(self, structure: Structure, kept: Collection[Place]) -> None:
        self._unhashed = structure.unhashed
        self._kept = kept
        self.mistakes: list[tuple[str, str, str]] = []

    def parse(
        self, node: Node, path: str, body: Mapping[str, Any], parent: Mapping[str, Any], number: int
    ) -> Iterator[ParsedRow]:
        """Yield the row of an object, then those of its children."""
        columns: dict[str, Any] = {
            item.column: None for item in node.table.attributes if (path, item.column) not in self._kept
        }
        plan = _plan_of(node)
        plain = {
            name: _without_links(value) if isinstance(value, (dict, list)) else value
            for name, value in body.items()
            if name not in plan.unread and not is_absent(value) and not is_link(name)
        }
        if not node.is_selected:
            # It shares its objects with another node, which keeps the rest.
            plain = {name: value for name, value in plain.items() if name in plan.columns}
        extra = self._fill(node, path, columns, plain)
        self._fill_dotted(node, path, columns, body, extra)
        columns |= node.given
        for column, source in node.inherited.items():
            if columns.get(column) is None:
                columns[column] = parent.get(source)
        if node.line_number is not None:
            columns[node.line_number] = number
        row_hash = self._hash(node, path, columns, plain)
        yield ParsedRow(path, node, columns, extra, row_hash, read_rowstamp(body.get(ROWSTAMP)))
        for child in node.children:
            below = f"{path}/{child.member}" if path else child.member
            for position, item in enumerate(_objects(child, body), start=1):
                yield from self.parse(child, below, item, columns, position)

    def _fill(
        self, node: Node, path: str, columns: dict[str, Any], plain: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Give columns their values; return what has none, and what is of a wrong type."""
        plan = _plan_of(node)
        extra: dict[str, Any] = {}
        for name, value in plain.items():
            targets = plan.columns.get(name)
            if targets is None:
                if name not in plan.inner:
                    extra[name] = value
                continue
            for attribute, kind in targets:
                if attribute.column in columns:
                    self._read(path, name, value, (attribute.column, kind), columns, extra)
        return extra

    def _fill_dotted(
        self,
        node: Node,
        path: str,
        columns: dict[str, Any],
        body: Mapping[str, Any],
        extra: dict[str, Any],
    ) -> None:
        for outer, inner, attribute in _plan_of(node).dotted:
            value = _dotted(body, outer, inner)
            if attribute.column in columns and not is_absent(value):
                name = f"{outer}.{inner}"
                self._read(path, name, value, (attribute.column, attribute.kind), columns, extra)

    def _read(  # noqa: PLR0917 # where it goes, beside what it is
        self,
        path: str,
        name: str,
        value: Any,
        target: tuple[str, Kind],
        columns: dict[str, Any],
        extra: dict[str, Any],
    ) -> None:
        column, kind = target
        try:
            columns[column] = READERS[kind](value)
        except WrongTypeError:
            extra[name] = value
            self.mistakes.append((path, name, type_of(value)))

    def _hash(self, node: Node, path: str, columns: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
        hashed = {
            name: value
            for name, value in plain.items()
            if not name.endswith(_BY_LANGUAGE) and (path or name not in self._unhashed)
        }
        around = [str(columns.get(name)) for name in (*node.inherited, *node.given)]
        kept = sorted(column for place, column in self._kept if place == path)
        content = dump_json({**hashed, "": [kept, around]}, is_sorted=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def _dotted(body: Mapping[str, Any], outer: str, inner: str) -> Any:
    if f"{outer}.{inner}" in body:
        return body[f"{outer}.{inner}"]
    found = as_list(body.get(outer))
    return found[0].get(inner) if found else None


def _without_links(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_links(item)
            for name, item in value.items()
            if not is_link(name) and name != ROWSTAMP and item is not None
        }
    return [_without_links(item) for item in value] if isinstance(value, list) else value


def find_placeholders(unit: Unit) -> dict[str, bool]:
    """Return the names by which the rows of a unit name shared rows, and whether those came with them."""
    found: dict[str, bool] = {}
    for row in unit.rows:
        if row.node.table.also_of is not None:
            name = row.columns.get(row.node.table.also_of[1])
            if name is not None:
                found.setdefault(str(name), False)
    for row in unit.rows:
        if row.node.growth is Growth.SHARED and row.columns.get(row.node.table.key[0]) is not None:
            found[str(row.columns[row.node.table.key[0]])] = True
    return found
