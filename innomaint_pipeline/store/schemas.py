"""The schema of a source in a database: made where it is missing, added to where it is older.

Belongs here: creating a schema, its tables, columns, indexes and comments, in the upgrade's transaction.
Which tables there are is the source's, as one `MetaData` with the schema's name; nothing in such a schema was
there before, so that nothing is adopted.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Column, Connection, MetaData, Table, text
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable

from innomaint_pipeline.errors import AdoptionError, DatabaseError
from innomaint_pipeline.store.adoption import describe_objections
from innomaint_pipeline.store.comments import declared_comments, find_comments, write_comments
from innomaint_pipeline.store.objections import Objection


def _exists(connection: Connection, schema: str) -> bool:
    statement = text("SELECT count(*) FROM pg_namespace WHERE nspname = :name")
    return bool(connection.execute(statement, {"name": schema}).scalar_one())


def _present(connection: Connection, schema: str) -> set[tuple[str, str]]:
    rows = connection.execute(
        text(
            "SELECT table_name::text, column_name::text FROM information_schema.columns "
            "WHERE table_schema = :name"
        ),
        {"name": schema},
    )
    return set(rows.tuples().all())


def _name_of(tables: MetaData) -> str:
    if tables.schema is None:
        raise ValueError("these tables have no schema of their own")
    return tables.schema


def require_tables(connection: Connection, tables: MetaData) -> None:
    """Raise `DatabaseError` where tables of a schema are missing."""
    schema = _name_of(tables)
    present = _present(connection, schema)
    for table in tables.sorted_tables:
        for column in table.columns:
            if (table.name, column.name) not in present:
                raise DatabaseError(
                    f"the database lacks {schema}.{table.name}.{column.name}; run: innomaint db upgrade, as "
                    f"a role that may create the schema {schema} or owns it"
                )


def create_tables(connection: Connection, tables: MetaData) -> list[str] | None:
    """Create what is missing of a schema; return what was done, a sentence each. Repeatable.

    Return None, nothing done, where the schema is missing and the role may not create one: the tables of IC3
    need none, and a sync of the source says what it lacks (`require_tables`).
    """
    schema = _name_of(tables)
    done: list[str] = []
    if not _exists(connection, schema):
        may_create = text("SELECT has_database_privilege(current_database(), 'CREATE')")
        if not connection.execute(may_create).scalar_one():
            return None
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        done.append(f"created schema {schema}")
    _refuse_hidden_rows(connection, schema)
    present = _present(connection, schema)
    names = {name for name, _ in present}
    for table in tables.sorted_tables:
        if table.name not in names:
            _create_table(connection, table)
            done.append(f"created table {schema}.{table.name}")
            continue
        for column in table.columns:
            if (table.name, column.name) not in present:
                _add_column(connection, table, column)
                done.append(f"added column {schema}.{table.name}.{column.name}")
    return done


_HIDING = text("""
SELECT c.relname::text, pg_has_role(c.relowner, 'USAGE'), current_user::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :name AND c.relkind IN ('r', 'p') AND row_security_active(c.oid) ORDER BY 1
""")


def _refuse_hidden_rows(connection: Connection, schema: str) -> None:
    """Raise `AdoptionError` where policies of somebody else's hide rows from this role."""
    quote = connection.dialect.identifier_preparer.quote
    objections = [
        Objection(
            f"{schema}.{name}",
            f"has row-level security, which hides rows from the role {quote(role)}",
            f"ALTER TABLE {schema}.{quote(name)} NO FORCE ROW LEVEL SECURITY;"
            if is_owned
            else f"ALTER ROLE {quote(role)} BYPASSRLS;",
        )
        for name, is_owned, role in connection.execute(_HIDING, {"name": schema}).tuples()
    ]
    if objections:
        raise AdoptionError(describe_objections(objections))


def upgrade_tables(connection: Connection, tables: MetaData) -> list[str]:
    """Create what is missing of a schema without views, and describe it; return what was done. Repeatable."""
    done = create_tables(connection, tables)
    return [] if done is None else done + describe_schema(connection, tables)


def describe_schema(connection: Connection, tables: MetaData, views: Sequence[Table] = ()) -> list[str]:
    """Set the comments that are not as declared; nothing in such a schema is somebody else's."""
    schema = _name_of(tables)
    present = find_comments(connection, schema)
    declared = declared_comments((*tables.sorted_tables, *views))
    changed = {
        place: words for place, words in declared.items() if place in present and present[place] != words
    }
    write_comments(connection, changed, schema=schema, views=[view.name for view in views])
    return [f"described {len(changed)} tables and columns of schema {schema}"] if changed else []


def _create_table(connection: Connection, table: Table) -> None:
    connection.execute(CreateTable(table))
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        connection.execute(CreateIndex(index))


def _add_column(connection: Connection, table: Table, column: Column) -> None:
    compiler = connection.dialect.ddl_compiler(connection.dialect, None)  # pyright: ignore[reportArgumentType]
    specification = compiler.get_column_specification(column)
    connection.execute(text(f'ALTER TABLE {table.schema}."{table.name}" ADD COLUMN {specification}'))
    for key in column.foreign_keys:
        if key.constraint is not None:
            connection.execute(AddConstraint(key.constraint))
