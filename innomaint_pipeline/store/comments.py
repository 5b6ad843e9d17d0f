"""The comments of tables, views and columns in the database, written from their declarations.

Belongs here: reading those that are there, and writing many in one round trip. Which may be written is the
caller's to say: a table that was adopted keeps the comments of its owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, String, Table, text

Place = tuple[str, str | None]
"""A relation and a column of it, or None for the relation itself."""

# Of others' relations nobody but they may change a comment.
_FOUND = text(
    """
    with relation as (
        select oid, relname::text as name, obj_description(oid, 'pg_class') as comment from pg_class
        where relnamespace = to_regnamespace(quote_ident(coalesce(:schema, current_schema())))
          and relkind in ('r', 'p', 'v') and pg_has_role(relowner, 'USAGE')
    )
    select name, null as column, comment from relation
    union all
    select r.name, a.attname::text, d.description
    from relation r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    left join pg_description d
      on d.classoid = 'pg_class'::regclass and d.objoid = a.attrelid and d.objsubid = a.attnum
    """
)


def find_comments(connection: Connection, schema: str | None) -> dict[Place, str | None]:
    """Return the comments of the relations of a schema, or of the current one, that the role may describe."""
    rows = connection.execute(_FOUND, {"schema": schema})
    return {(name, column): comment for name, column, comment in rows.tuples()}


def declared_comments(tables: Iterable[Table]) -> dict[Place, str]:
    """Return the declared comments of tables, or of views that are declared like them."""
    return {
        (table.name, None if item is table else item.name): item.comment
        for table in tables
        for item in (table, *table.columns)
        if item.comment is not None
    }


def write_comments(
    connection: Connection,
    comments: Mapping[Place, str],
    *,
    schema: str | None = None,
    views: Iterable[str] = (),
) -> None:
    """Set comments, all of them in one statement of many; `views` names the relations that are views."""
    quote = connection.dialect.identifier_preparer.quote
    as_literal = String().literal_processor(connection.dialect)
    if as_literal is None:
        raise NotImplementedError("the dialect writes no literals")
    kinds = dict.fromkeys(views, "VIEW")
    statements = []
    for (relation, column), words in comments.items():
        name = quote(relation) if schema is None else f"{quote(schema)}.{quote(relation)}"
        what = (
            f"{kinds.get(relation, 'TABLE')} {name}" if column is None else f"COLUMN {name}.{quote(column)}"
        )
        statements.append(f"COMMENT ON {what} IS {as_literal(words)}")
    if statements:
        connection.exec_driver_sql(";\n".join(statements))
