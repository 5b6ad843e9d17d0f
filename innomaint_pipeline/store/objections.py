"""What stands in the way of adopting tables that are there, each with the statement that helps.

Belongs here: judging, before anything is changed, what a database holds (docs/adoption.md). A limit of a
single value (a length, a range, a CHECK) is its owner's word: rows that keep to it are stored, others are
named when they come. What could refuse a good row, or keep another value than was written, is an objection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.exc import DBAPIError

from innomaint_pipeline.store.catalog import (
    Catalog,
    FoundColumn,
    FoundKey,
    FoundReference,
    FoundTable,
    simplify_name,
)
from innomaint_pipeline.store.column_types import convert, find_misfit, write_type

_SHOWN_DUPLICATES = 10
_LARGEST_INTEGER = 2_147_483_647
RELATION_KINDS = {
    "v": ("a view", "VIEW"),
    "m": ("a materialized view", "MATERIALIZED VIEW"),
    "f": ("a foreign table", "FOREIGN TABLE"),
    "p": ("a partitioned table", "TABLE"),
    "S": ("a sequence", "SEQUENCE"),
    "i": ("an index", "INDEX"),
    "I": ("an index", "INDEX"),
    "c": ("a type", "TYPE"),
    "r": ("a table", "TABLE"),
}


@dataclass(frozen=True)
class Objection:
    """What stands in the way at a place (table or table.column), and the SQL, or the words, that help."""

    place: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place} {self.reason}: {self.remedy}"


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name with a suffix that no other relation has."""
    number = 1
    while (name := f"{wanted[:50]}_old{'' if number == 1 else number}") in taken:
        number += 1
    return name


class Judge:
    """Judges the tables of one catalogue; reads rows only where a key is missing."""

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._quote: Callable[[str], str] = connection.dialect.identifier_preparer.quote

    def judge(self, table: Table) -> Iterator[Objection]:
        """Yield everything that stands in the way of one declared table."""
        found = self._catalog.tables.get(table.name)
        if found is None and table.name not in self._catalog.relations:
            yield from self._judge_absence(table)
        elif found is None or found.kind != "r" or found.is_partition:
            yield self._judge_kind(table, found)
            return
        else:
            yield from self._judge_whole(table, found)
        if found is not None and found.is_owned and not found.is_readable:
            role = self._quote(self._catalog.role)
            yield Objection(
                table.name,
                f"cannot be read by the role {role}, although it may change the table",
                f"GRANT ALL ON {self._quote(table.name)} TO {role};",
            )
        elif found is not None and found.is_readable and not found.is_row_security_active:
            yield from self._judge_columns(table, found)
            yield from self._judge_keys(table, found)
            yield from self._judge_references(table, found)
            yield from self._judge_checks(table, found)

    def _judge_absence(self, table: Table) -> Iterator[Objection]:
        alike = [name for name in self._catalog.tables if simplify_name(name) == simplify_name(table.name)]
        for name in alike:
            yield Objection(
                table.name,
                f"is missing, but there is {self._quote(name)}: programs look for the name in small letters",
                f"ALTER {RELATION_KINDS[self._catalog.tables[name].kind][1]} {self._quote(name)} RENAME TO "
                f"{self._quote(table.name)};",
            )
        schema = self._catalog.elsewhere.get(table.name)
        if schema is not None and not alike:
            yield Objection(
                table.name,
                f"is not in the schema {self._quote(self._catalog.schema)}, where it would be made, but in "
                f"{self._quote(schema)}: choose the schema that holds the IC3 tables, or, where new ones are "
                f"wanted beside them, {self._quote(self._catalog.schema)} alone",
                f"ALTER ROLE {self._quote(self._catalog.role)} IN DATABASE "
                f"{self._quote(self._catalog.database)} SET search_path = {self._quote(schema)};",
            )

    def _judge_kind(self, table: Table, found: FoundTable | None) -> Objection:
        kind = found.kind if found else self._catalog.relations[table.name]
        if found is not None and found.is_partition:
            return Objection(
                table.name,
                f"is a partition of {found.parents[0]}, to which columns and triggers cannot be added",
                f"ALTER TABLE {found.parents[0]} DETACH PARTITION {self._quote(table.name)};",
            )
        words, statement = RELATION_KINDS[kind]
        return Objection(
            table.name,
            f"is {words}, expected a plain table, to which columns, keys and a trigger can be added: give it "
            "another name, and the upgrade makes the table; its rows can be copied",
            f"ALTER {statement} {self._quote(table.name)} RENAME TO "
            f"{self._quote(free_name(table.name, self._catalog.relations))};",
        )

    def _judge_whole(self, table: Table, found: FoundTable) -> Iterator[Objection]:
        name = self._quote(table.name)
        if found.is_row_security_active:
            helps = (
                f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY;"
                if found.is_owned
                else f"ALTER ROLE {self._quote(self._catalog.role)} BYPASSRLS;"
            )
            yield Objection(
                table.name,
                f"has row-level security, which hides rows from the role {self._quote(self._catalog.role)}",
                helps,
            )
        for rule in found.rules:
            yield Objection(
                table.name,
                f"has the rule {self._quote(rule)}, with which rows cannot be upserted",
                f"DROP RULE {self._quote(rule)} ON {name};",
            )
        for child in found.children:
            yield Objection(
                table.name,
                f"shows the rows of {child}, which inherits from it: no key reaches over both",
                f"ALTER TABLE {child} NO INHERIT {name};",
            )

    def _judge_columns(self, table: Table, found: FoundTable) -> Iterator[Objection]:
        theirs = [name for name in found.columns if name not in table.columns]
        renamed: set[str] = set()
        for column in table.columns:
            actual = found.columns.get(column.name)
            if actual is not None:
                yield from self._judge_column(table, column, found, actual)
                continue
            simple = simplify_name(column.name)
            alike = next((name for name in theirs if simplify_name(name) == simple), None)
            if alike is not None:
                yield Objection(
                    f"{table.name}.{column.name}",
                    f"is missing, but there is {self._quote(alike)}: programs look for the name in small "
                    "letters",
                    f"ALTER TABLE {self._quote(table.name)} RENAME COLUMN {self._quote(alike)} TO "
                    f"{self._quote(column.name)};",
                )
                renamed.add(alike)
        for name in theirs:
            actual = found.columns[name]
            if name not in renamed and actual.is_required and not actual.is_filled:
                yield Objection(
                    f"{table.name}.{name}",
                    "is NOT NULL without a default, so that no row could be added",
                    self._fill(table, found, actual),
                )

    def _fill(self, table: Table, found: FoundTable, actual: FoundColumn) -> str:
        change = f"ALTER TABLE {self._quote(table.name)} ALTER COLUMN {self._quote(actual.name)}"
        if actual.is_domain_required:
            return self._loosen(table, found, actual)
        if not any(key.is_primary and actual.name in key.columns for key in found.keys):
            return f"{change} DROP NOT NULL;"
        if actual.base_type in {"int2", "int4", "int8"} and actual.domain is None:
            start = self._highest(table, actual.name) + 1
            return f"{change} ADD GENERATED BY DEFAULT AS IDENTITY (START WITH {start});"
        if actual.base_type == "uuid":
            return f"{change} SET DEFAULT gen_random_uuid();"
        return self._loosen(table, found, actual)

    def _highest(self, table: Table, column: str) -> int:
        query = f"SELECT coalesce(max({self._quote(column)}), 0) FROM {self._quote(table.name)}"  # noqa: S608 # names of the catalogue
        return int(self._connection.execute(text(query)).scalar_one())

    def _loosen(self, table: Table, found: FoundTable, actual: FoundColumn) -> str:
        name = self._quote(table.name)
        if actual.is_domain_required:
            return (
                f"ALTER TABLE {name} ALTER COLUMN {self._quote(actual.name)} TYPE "
                f"{write_type(actual)}, ALTER COLUMN {self._quote(actual.name)} DROP NOT NULL;"
            )
        drop = f"ALTER COLUMN {self._quote(actual.name)} DROP NOT NULL"
        for key in found.keys:
            if key.is_primary and actual.name in key.columns:
                # A column of a primary key stays NOT NULL when the key has gone.
                constraint = self._quote(key.constraint or key.name)
                return f"ALTER TABLE {name} DROP CONSTRAINT {constraint}, {drop};"
        return f"ALTER TABLE {name} {drop};"

    def _judge_column(
        self, table: Table, column: Column, found: FoundTable, actual: FoundColumn
    ) -> Iterator[Objection]:
        place = f"{table.name}.{column.name}"
        name = self._quote(table.name)
        key = self._quote(column.name)
        if actual.generated:
            yield Objection(
                place,
                "is generated from other columns, so that nothing can be written there",
                f"ALTER TABLE {name} ALTER COLUMN {key} DROP EXPRESSION;"
                if actual.generated == "s"
                else f"ALTER TABLE {name} DROP COLUMN {key};",
            )
            return
        if actual.identity == "a" and column.identity is None:
            yield Objection(
                place,
                "is GENERATED ALWAYS, so that Innomaint's own number cannot be written there",
                f"ALTER TABLE {name} ALTER COLUMN {key} SET GENERATED BY DEFAULT;",
            )
        why = find_misfit(column, actual)
        if why is not None:
            yield Objection(place, why, self._convert(table, column, found, actual))
            return
        if actual.is_required and not _is_always_given(column):
            yield Objection(
                place,
                "is NOT NULL, and not every answer has a value for it",
                self._loosen(table, found, actual),
            )
        if column.identity is not None and column.primary_key:
            yield from self._judge_generated_key(table, column, actual)

    def _judge_generated_key(self, table: Table, column: Column, actual: FoundColumn) -> Iterator[Objection]:
        name, key = self._quote(table.name), self._quote(column.name)
        if not actual.is_required:
            count = self._connection.execute(
                text(f"SELECT count(*) FROM {name} WHERE {key} IS NULL")  # noqa: S608 # names of tables.py
            ).scalar_one()
            if count:
                yield self._nulls(table, [column.name], count)
        if not isinstance(column.type, BigInteger):
            highest = self._highest(table, column.name)
            if highest > _LARGEST_INTEGER:
                yield Objection(
                    f"{table.name}.{column.name}",
                    f"holds {highest}, expected numbers up to {_LARGEST_INTEGER}",
                    "Its owner has to give the rows smaller numbers, there and where they are referred to.",
                )

    def _nulls(self, table: Table, columns: Sequence[str], count: int) -> Objection:
        empty = " OR ".join(f"{self._quote(name)} IS NULL" for name in columns)
        return Objection(
            table.name,
            f"cannot take the primary key ({', '.join(columns)}): {count} rows hold null there. Fill or "
            "remove them",
            f"DELETE FROM {self._quote(table.name)} WHERE {empty};",  # noqa: S608 # shown, not executed
        )

    def _convert(self, table: Table, column: Column, found: FoundTable, actual: FoundColumn) -> str:
        name, key = self._quote(table.name), self._quote(column.name)
        value = convert(key, column, actual)
        if value is None:
            new = free_name(column.name, found.columns)
            return f"ALTER TABLE {name} RENAME COLUMN {key} TO {self._quote(new)};"
        wanted = column.type.compile(self._connection.dialect)
        if not actual.is_deterministic:
            wanted = f'{wanted} COLLATE "default"'
        default = f"ALTER COLUMN {key} DROP DEFAULT, " if actual.default is not None else ""
        before = (
            f"Drop {', '.join(actual.views)}, which uses it, before, and make it again after: "
            if actual.views
            else ""
        )
        return f"{before}ALTER TABLE {name} {default}ALTER COLUMN {key} TYPE {wanted} USING {value};"

    def _judge_keys(self, table: Table, found: FoundTable) -> Iterator[Objection]:
        ours = declared_keys(table)
        declared = {index.name for index in table.indexes}
        for key in found.keys:
            if key.name in declared:
                continue
            if key.is_deferrable and not key.is_partial and key.columns in map(frozenset, ours):
                yield Objection(
                    table.name,
                    f"has the key {self._quote(key.name)}, which is DEFERRABLE, so that rows cannot be "
                    "upserted by it; the upgrade adds a plain one",
                    self._drop_key(table, key),
                )
                continue
            is_implied = any(set(columns) <= key.columns for columns in ours)
            is_written = key.has_expressions or bool(key.columns & set(table.columns.keys()))
            if (is_implied and not key.is_exclusion) or not is_written:
                continue
            shown = ", ".join(sorted(key.columns)) or "an expression"
            yield Objection(
                table.name,
                f"has the unique key {self._quote(key.name)} over {shown}, by which a right row could be "
                "refused",
                self._drop_key(table, key),
            )
        usable = {key.columns for key in found.keys if key.is_usable}
        for columns in ours:
            if frozenset(columns) not in usable and all(_is_sound(table, found, name) for name in columns):
                yield from self._judge_rows(table, columns, is_primary=columns == _primary_key(table))

    def _drop_key(self, table: Table, key: FoundKey) -> str:
        if key.constraint is None:
            return f"DROP INDEX {self._quote(key.name)};"
        return f"ALTER TABLE {self._quote(table.name)} DROP CONSTRAINT {self._quote(key.constraint)};"

    def _judge_rows(self, table: Table, columns: Sequence[str], *, is_primary: bool) -> Iterator[Objection]:
        """Look for the rows that stand in the way of a key."""
        names = ", ".join(self._quote(name) for name in columns)
        present = " AND ".join(f"{self._quote(name)} IS NOT NULL" for name in columns)
        rows = self._connection.execute(
            text(
                f"SELECT {names}, count(*) FROM {self._quote(table.name)} WHERE {present} "  # noqa: S608
                f"GROUP BY {names} HAVING count(*) > 1 ORDER BY {names}"
            )
        ).all()
        if rows:
            shown = "; ".join(
                f"{', '.join(repr(value) for value in row[:-1])} ({row[-1]} rows)"
                for row in rows[:_SHOWN_DUPLICATES]
            )
            more = f" and {len(rows) - _SHOWN_DUPLICATES} more" if len(rows) > _SHOWN_DUPLICATES else ""
            same = " AND ".join(f"a.{self._quote(name)} = b.{self._quote(name)}" for name in columns)
            yield Objection(
                table.name,
                f"cannot take the unique key ({', '.join(columns)}): {shown}{more}. Merge the duplicates, or "
                "keep the first of each",
                f"DELETE FROM {self._quote(table.name)} AS a USING {self._quote(table.name)} AS b "  # noqa: S608
                f"WHERE {same} AND a.ctid > b.ctid;",
            )
        is_generated = any(table.columns[name].identity is not None for name in columns)
        if is_primary and not is_generated:
            empty = " OR ".join(f"{self._quote(name)} IS NULL" for name in columns)
            count = self._connection.execute(
                text(f"SELECT count(*) FROM {self._quote(table.name)} WHERE {empty}")  # noqa: S608
            ).scalar_one()
            if count:
                yield self._nulls(table, columns, count)

    def _judge_references(self, table: Table, found: FoundTable) -> Iterator[Objection]:
        for reference in found.references:
            if not _is_kept(table, reference) and set(reference.columns) & set(table.columns.keys()):
                yield Objection(
                    f"{table.name}.{reference.columns[0]}",
                    f"refers to {reference.to_table} by {self._quote(reference.name)}: an answer may name "
                    "what is not there yet, and this program does not fill that table",
                    self._drop(reference),
                )
        if not table.info.get("is_log"):
            return
        for reference in found.referenced_by:
            if reference.on_delete in {"a", "r"}:
                yield Objection(
                    table.name,
                    f"is referred to by {reference.table} ({self._quote(reference.name)}), so that rows "
                    "beyond their retention could not go",
                    self._drop(reference),
                )

    def _drop(self, reference: FoundReference) -> str:
        return f"ALTER TABLE {reference.table} DROP CONSTRAINT {self._quote(reference.name)};"

    def _judge_checks(self, table: Table, found: FoundTable) -> Iterator[Objection]:
        """Look whether the words that this program writes itself are let in by checks and lengths."""
        for column in table.columns:
            actual = found.columns.get(column.name)
            if actual is None or actual.base_type not in {"text", "varchar"}:
                continue
            longest = self._least_length(column)
            if actual.length is not None and longest is not None and actual.length < longest:
                yield Objection(
                    f"{table.name}.{column.name}",
                    f"takes {actual.length} characters, which is too few for what is written there",
                    self._convert(table, column, found, actual),
                )
            values: Sequence[str] = column.info.get("values", ())
            if actual.domain is not None and (refused := self._refused_by_domain(actual, values)):
                yield Objection(
                    f"{table.name}.{column.name}",
                    f"has the type {actual.domain}, which refuses {', '.join(refused)}",
                    self._convert(table, column, found, actual),
                )
            for name, expression, columns in found.checks:
                if columns == (column.name,) and (refused := self._refused(column, expression, values)):
                    yield Objection(
                        f"{table.name}.{column.name}",
                        f"has the check {self._quote(name)}, which refuses {', '.join(refused)}",
                        f"ALTER TABLE {self._quote(table.name)} DROP CONSTRAINT {self._quote(name)};",
                    )

    def _least_length(self, column: Column) -> float | None:
        """Return how many characters a column must take: those of the longest word, or of a CMMS asset id."""
        if column.name == "serialnumber":
            master = self._catalog.tables.get("ic3_asset_master")
            actual = master.columns.get("cmms_asset_id") if master else None
            return float("inf") if actual is None or actual.length is None else actual.length
        words: Iterable[str] = column.info.get("values", ())
        return column.info.get("characters") or max(map(len, words), default=None)

    def _refused(self, column: Column, expression: str, values: Sequence[str]) -> list[str]:
        query = (
            f"SELECT coalesce(({_escape(expression)}), true) "  # noqa: S608 # the check's own words
            f"FROM (SELECT cast(:value AS text) AS {self._quote(column.name)}) AS given"
        )
        return [value for value in values if not self._is_taken(query, value)]

    def _refused_by_domain(self, actual: FoundColumn, values: Sequence[str]) -> list[str]:
        query = f"SELECT cast(:value AS {_escape(actual.domain or '')}) IS NOT NULL"  # quoted by PostgreSQL
        return [value for value in values if not self._is_taken(query, value)]

    def _is_taken(self, query: str, value: str) -> bool:
        """Tell whether a query is true of a value; a check that fails refuses it, too."""
        try:
            with self._connection.begin_nested():
                return bool(self._connection.execute(text(query), {"value": value}).scalar_one())
        except DBAPIError:
            return False


def _primary_key(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.primary_key.columns)


def declared_keys(table: Table) -> list[tuple[str, ...]]:
    """Return the columns of each key of a declared table, the primary one first."""
    constraints = sorted(
        (item for item in table.constraints if isinstance(item, (PrimaryKeyConstraint, UniqueConstraint))),
        key=lambda item: (item is not table.primary_key, str(item.name)),
    )
    return [tuple(column.name for column in item.columns) for item in constraints if len(item.columns)]


def _is_always_given(column: Column) -> bool:
    return (
        not column.nullable
        or column.primary_key
        or column.server_default is not None
        or bool(column.info.get("is_always_given"))
    )


def _is_sound(table: Table, found: FoundTable, name: str) -> bool:
    """Tell a column whose values can be compared from one that is missing, or objected to for its type."""
    actual = found.columns.get(name)
    return actual is not None and find_misfit(table.columns[name], actual) is None


def _is_kept(table: Table, reference: FoundReference) -> bool:
    """Tell a reference to a row that is always written before."""
    if any(set(reference.columns) == set(key.column_keys) for key in table.foreign_key_constraints):
        return True
    parent = reference.to_table.rpartition(".")[2].strip('"')
    wanted = tuple("cmms_asset_id" if name == "serialnumber" else name for name in reference.columns)
    return wanted == reference.to_columns and (parent, wanted) in {
        ("ic3_asset_master", ("asset_id",)),
        ("ic3_asset_master", ("cmms_asset_id",)),
        ("ic3_building", ("building_id",)),
        ("ic3_floor_master", ("floor_id",)),
        ("ic3_department_master", ("department_id",)),
    }


def _escape(expression: str) -> str:
    # SQLAlchemy would take a colon for a parameter's beginning.
    return expression.replace(":", "\\:")
