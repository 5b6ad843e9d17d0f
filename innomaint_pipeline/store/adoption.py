"""Bring a database to the declaration of `store.tables` without losing a row (docs/adoption.md).

Belongs here: what can be added to tables that may already exist: tables, columns, defaults, keys, indexes,
comments. What stands in the way is judged before by `store.objections`. What cannot be expressed as an
addition is an Alembic revision. Everything runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Executable, Index, Table, UniqueConstraint, text
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable

from innomaint_pipeline import crash_points
from innomaint_pipeline.errors import AdoptionError
from innomaint_pipeline.store.catalog import TYPE, Catalog, FoundTable, read_catalog
from innomaint_pipeline.store.comments import Place, declared_comments, find_comments, write_comments
from innomaint_pipeline.store.objections import RELATION_KINDS, Judge, Objection, declared_keys, free_name
from innomaint_pipeline.store.settings import load_setting, save_setting
from innomaint_pipeline.store.tables import metadata

_VERSION_TABLE = "innomaint_schema_version"
_SOURCE, _COMMENTS = "database", "comments"


@dataclass(frozen=True)
class _Step:
    """One addition: the statement, and the sentence that tells of it, None where it goes with another."""

    statement: Executable | None
    sentence: str | None
    table: str
    needs_name: str | None = None


def reconcile(connection: Connection) -> list[str]:
    """Create what is missing and return what was done, a sentence each; an empty list the second time.

    Raises `AdoptionError`, which names what stands in the way; nothing is changed then.
    """
    catalog = read_catalog(connection, metadata.tables.keys())
    judge = Judge(connection, catalog)
    objections = [item for table in metadata.sorted_tables for item in judge.judge(table)]
    closed = {name for name, table in catalog.tables.items() if not table.is_readable}
    blocked = closed | {item.place.partition(".")[0] for item in objections}
    steps: list[_Step] = []
    for table in metadata.sorted_tables:
        if table.name not in blocked:
            found = catalog.tables.get(table.name)
            steps += _create(table) if found is None else _adopt(connection, table, found)
    objections += _find_taken_names(connection, catalog, steps)
    changed = {step.table for step in steps} | closed
    objections += _find_foreign_tables(connection, catalog, changed)
    if objections:
        raise AdoptionError(describe_objections(objections))
    done: list[str] = []
    for number, step in enumerate(steps):
        if step.statement is not None:
            connection.execute(step.statement)
        if step.sentence is not None:
            done.append(step.sentence)
        if number + 1 == len(steps) or steps[number + 1].table != step.table:
            crash_points.reach("upgrade: table made or adopted")
    crash_points.reach("upgrade: tables declared")
    return done


def describe_objections(objections: Sequence[Objection]) -> str:
    """Return what stands in the way of an upgrade as one text, each with what helps."""
    end = "Then run innomaint db upgrade again; nothing was changed"
    if len(objections) == 1:
        return f"{objections[0]} {end}"
    lines = "\n".join(f"{number}. {item}" for number, item in enumerate(objections, start=1))
    return f"{len(objections)} things stand in the way of the upgrade:\n{lines}\n{end}"


def _create(table: Table) -> Iterator[_Step]:
    yield _Step(CreateTable(table), f"created table {table.name}", table.name)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and constraint.name:
            yield _Step(None, None, table.name, needs_name=str(constraint.name))
    for index in _indexes(table):
        yield _Step(CreateIndex(index), None, table.name, needs_name=str(index.name))


def _indexes(table: Table) -> list[Index]:
    return sorted(table.indexes, key=lambda item: str(item.name))


def _adopt(connection: Connection, table: Table, found: FoundTable) -> Iterator[_Step]:
    for column in table.columns:
        if column.name not in found.columns:
            yield _add_column(connection, table, column)
    yield from _adopt_defaults(connection, table, found)
    yield from _adopt_identity(connection, table, found)
    yield from _adopt_keys(table, found)
    for index in _indexes(table):
        columns = tuple(getattr(item, "name", None) for item in index.expressions)
        if found.index_columns.get(str(index.name)) != columns:
            yield _Step(
                CreateIndex(index), f"created index {index.name}", table.name, needs_name=str(index.name)
            )


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)


def _alter(connection: Connection, table: Table, change: str) -> Executable:
    return text(f"ALTER TABLE {_quoted(connection, table.name)} {change}")


def _add_column(connection: Connection, table: Table, column: Column) -> _Step:
    compiler = connection.dialect.ddl_compiler(connection.dialect, None)  # pyright: ignore[reportArgumentType]
    specification = compiler.get_column_specification(column)
    return _Step(
        _alter(connection, table, f"ADD COLUMN {specification}"),
        f"added column {table.name}.{column.name}",
        table.name,
    )


def _adopt_defaults(connection: Connection, table: Table, found: FoundTable) -> Iterator[_Step]:
    """Give columns that are filled by a default, like created_at, theirs.

    They may be NOT NULL without one.
    """
    compiler = connection.dialect.ddl_compiler(connection.dialect, None)  # pyright: ignore[reportArgumentType]
    for column in table.columns:
        actual = found.columns.get(column.name)
        default = compiler.get_column_default_string(column)
        if default is None or actual is None or actual.is_filled:
            continue
        key = _quoted(connection, column.name)
        yield _Step(
            _alter(connection, table, f"ALTER COLUMN {key} SET DEFAULT {default}"),
            f"gave {table.name}.{column.name} its default",
            table.name,
        )


def _adopt_identity(connection: Connection, table: Table, found: FoundTable) -> Iterator[_Step]:
    """Give a generated key of an existing table its generator, continuing after the highest value."""
    for column in table.columns:
        actual = found.columns.get(column.name)
        if column.identity is None or actual is None or actual.is_filled:
            continue
        name, key = _quoted(connection, table.name), _quoted(connection, column.name)
        if not actual.is_required:
            yield _Step(_alter(connection, table, f"ALTER COLUMN {key} SET NOT NULL"), None, table.name)
        highest = connection.execute(text(f"SELECT coalesce(max({key}), 0) + 1 FROM {name}")).scalar_one()  # noqa: S608 # names from tables.py
        yield _Step(
            _alter(
                connection,
                table,
                f"ALTER COLUMN {key} ADD GENERATED BY DEFAULT AS IDENTITY (START WITH {highest})",
            ),
            f"{table.name}.{column.name} is generated from {highest} on",
            table.name,
        )


def _adopt_keys(table: Table, found: FoundTable) -> Iterator[_Step]:
    usable = {key.columns for key in found.keys if key.is_usable}
    has_primary = any(key.is_primary for key in found.keys)
    for columns in declared_keys(table):
        if frozenset(columns) in usable:
            continue
        sentence = f"added the key {table.name} ({', '.join(columns)})"
        if columns == declared_keys(table)[0] and not has_primary:
            # Isolated, the declaration itself would lose its key for the next CREATE TABLE of this process.
            statement = AddConstraint(table.primary_key, isolate_from_table=False)
            yield _Step(statement, sentence, table.name)
            continue
        name = f"uq_{table.name}_{'_'.join(columns)}"
        unique = Index(name, *(table.c[item] for item in columns), unique=True)
        table.indexes.discard(unique)
        yield _Step(CreateIndex(unique), sentence, table.name, needs_name=name)


def _find_taken_names(connection: Connection, catalog: Catalog, steps: list[_Step]) -> Iterator[Objection]:
    """Look for relations, functions and triggers of others that have the names of ours."""
    for step in steps:
        kind = catalog.relations.get(step.needs_name or "")
        # An index may share the name of a type.
        if kind is None or kind == TYPE or step.needs_name is None:
            continue
        new = _quoted(connection, free_name(step.needs_name, catalog.relations))
        old = _quoted(connection, step.needs_name)
        yield Objection(
            step.table,
            f"needs an index called {old}, and something else has that name",
            f"ALTER {RELATION_KINDS[kind][1]} {old} RENAME TO {new};",
        )
    if _VERSION_TABLE in catalog.relations:
        return
    for name in sorted(catalog.functions & _FUNCTIONS):
        yield Objection(
            "ic3_asset_master",
            f"needs a function called {name}, and another one has that name",
            f"ALTER FUNCTION {name} RENAME TO {name}_old;",
        )
    for table in catalog.tables.values():
        for name in sorted(set(table.triggers) & _FUNCTIONS):
            yield Objection(
                table.name,
                f"has a trigger called {name}, which is the name of one of ours",
                f"ALTER TRIGGER {name} ON {_quoted(connection, table.name)} RENAME TO {name}_old;",
            )


_FUNCTIONS = frozenset(
    {"innomaint_follow_asset_master", "innomaint_recount_batches", "innomaint_follow_sync_state"}
)
"""Functions, and the trigger of the same name, that the revisions make."""


def _find_foreign_tables(
    connection: Connection, catalog: Catalog, changed: Collection[str]
) -> Iterator[Objection]:
    """Look for tables that the role would have to own, since something has to be added to them."""
    is_first = _VERSION_TABLE not in catalog.relations
    for table in catalog.tables.values():
        is_changed = is_first or table.name in changed
        if table.name in metadata.tables and not table.is_owned and is_changed:
            owner, role = _quoted(connection, table.owner), _quoted(connection, catalog.role)
            yield Objection(
                table.name,
                f"belongs to the role {owner}, and only its owner may add to it; use a role that may create "
                f"tables and is a member of {owner}, like {role} after",
                f"GRANT {owner} TO {role};",
            )


def describe_tables(connection: Connection, tables: Iterable[Table]) -> list[str]:
    """Set the declared comment of each table and column where there is none, or an older one of ours.

    What was set is kept as a setting, so that a comment of somebody else's is told from ours. Writes nothing
    the second time.
    """
    written: dict[str, str] = load_setting(connection, _SOURCE, _COMMENTS) or {}
    present = find_comments(connection, None)
    changed = {
        place: words
        for place, words in declared_comments(tables).items()
        if place in present
        and present[place] != words
        and present[place] in {None, written.get(_name_of(place))}
    }
    if not changed:
        return []
    write_comments(connection, changed)
    names = {_name_of(place): words for place, words in changed.items()}
    # A column that came back has the words that are known already.
    new = {name for name, words in names.items() if written.get(name) != words}
    if not new:
        return []
    save_setting(connection, _SOURCE, _COMMENTS, written | names)
    return [f"described {len(new)} tables and columns"]


def _name_of(place: Place) -> str:
    return ".".join(filter(None, place))
