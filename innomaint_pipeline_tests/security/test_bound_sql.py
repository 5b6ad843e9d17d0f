"""No value is ever written into the text of a statement: only names that the program itself declares."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import innomaint_pipeline

ROOT = Path(innomaint_pipeline.__file__).parent
_REVISIONS = "store/migrations/versions"
_TAKE_SQL = {"text", "exec_driver_sql", "copy", "execute", "literal_column", "DDL"}
# What may stand in a statement's text, by module and expression, and why it is no value.
BUILT = {
    ("store/adoption.py", "_quoted(connection, table.name)"): "a name of tables.py, quoted",
    ("store/adoption.py", "name"): "a name of tables.py, quoted",
    ("store/adoption.py", "key"): "a name of tables.py, quoted",
    ("store/adoption.py", "change"): "names and columns of tables.py, quoted or compiled; a count",
    ("store/objections.py", "empty"): "names of tables.py, quoted",
    ("store/objections.py", "key"): "a name of tables.py, quoted",
    ("store/objections.py", "name"): "a name of tables.py, quoted",
    ("store/objections.py", "names"): "names of tables.py, quoted",
    ("store/objections.py", "present"): "names of tables.py, quoted",
    ("store/objections.py", "query"): "names, checks and types of the catalogue, as PostgreSQL quotes them",
    ("store/objections.py", "self._quote(table.name)"): "a name of tables.py, quoted",
    ("store/database.py", "seconds * 1000"): "a whole number, written as one",
    ("store/comments.py", "';\\n'.join(statements)"): "names and words of the declarations, quoted",
    ("store/workbook.py", "_STAGE"): "a constant",
    ("store/workbook.py", "described"): "columns of tables.py, compiled",
    (f"{_REVISIONS}/r0001_states_follow_the_master.py", "schema"): "a name, quoted by PostgreSQL",
    (f"{_REVISIONS}/r0002_count_by_batch.py", "schema"): "a name, quoted by PostgreSQL",
    (f"{_REVISIONS}/r0002_count_by_batch.py", "change"): "a constant",
    (f"{_REVISIONS}/r0002_count_by_batch.py", "tables"): "a constant",
    ("store/rows.py", "statement"): "names of a table that the caller declares, quoted",
    ("store/rows.py", "str(compiled)"): "a statement that SQLAlchemy has compiled, its values bound",
    ("store/connections.py", "_SNAPSHOT if options.get(_IS_SNAPSHOT) else _COMMITTED"): "constants",
    ("store/connections.py", "statement"): "settings that the module declares",
    ("store/readiness.py", "_PLACE"): "a constant",
    ("store/readiness.py", "_TABLES_WITHOUT_RIGHTS.format(names=':names')"): "constants",
    ("store/readiness.py", "_SEQUENCES_WITHOUT_RIGHTS.format(names=':names')"): "constants",
    ("store/upgrade.py", "_LONGEST_LOCK_WAIT_SECONDS"): "a constant",
    ("store/upgrade.py", "_VERSION_TABLE"): "a constant",
    ("store/maximo/conditions.py", "SOURCE"): "a constant",
    ("store/maximo/conditions.py", "extras"): "names of the declarations",
    ("store/maximo/conditions.py", "table"): "a name of the declarations",
    ("store/maximo/merging.py", "at"): "a constant",
    ("store/maximo/merging.py", "key"): "a name of the declarations",
    ("store/maximo/merging.py", "node.table.name"): "a name of the declarations",
    ("store/maximo/merging.py", "seen"): "a constant",
    ("store/maximo/merging.py", "structure.id"): "a name of the declarations",
    ("store/maximo/merging.py", "table.name"): "a name of the declarations",
    ("store/maximo/offline.py", "', '.join(columns)"): "names of the declarations, quoted",
    ("store/maximo/offline.py", "_quote(column.name)"): "a name of the declarations, quoted",
    ("store/maximo/offline.py", "_quote(table.name)"): "a name of the declarations, quoted",
    ("store/maximo/offline.py", "keys"): "names of the declarations, quoted",
    ("store/maximo/offline.py", "name"): "a name of the declarations, quoted",
    ("store/maximo/overview.py", "SOURCE"): "a constant",
    ("store/maximo/overview.py", "counts"): "names of the declarations",
    ("store/maximo/overview.py", "table"): "one of two names, each written where it is called",
    ("store/maximo/responses.py", "structure.id"): "a name of the declarations",
    ("store/maximo/responses.py", "structure.root.table.name"): "a name of the declarations",
    ("store/maximo/responses.py", "where"): "names of the declarations",
    ("store/maximo/schema.py", "statement"): "names of the declarations, and one quoted by PostgreSQL",
    ("store/maximo/schema.py", "view.fullname"): "a name of the declarations",
    ("store/schemas.py", "schema"): "a name that a source declares",
    ("store/schemas.py", "specification"): "a column of the declarations, compiled",
    ("store/schemas.py", "table.name"): "a name of the declarations",
    ("store/schemas.py", "table.schema"): "a name that a source declares",
}


def built_parts(source: str) -> Iterator[str]:
    """Yield the expressions that become part of a statement's text."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in _TAKE_SQL:
            continue
        first = node.args[0]
        if isinstance(first, ast.JoinedStr):
            yield from (
                ast.unparse(part.value) for part in first.values if isinstance(part, ast.FormattedValue)
            )
        elif isinstance(first, ast.BinOp) or (
            not isinstance(first, ast.Constant) and name in {"text", "exec_driver_sql", "copy"}
        ):
            yield ast.unparse(first)


def modules_with_sql() -> Iterator[Path]:
    yield from sorted((ROOT / "store").rglob("*.py"))
    yield from sorted(ROOT.glob("embedded*.py"))


def test_statements_are_built_from_declared_names_alone():
    found = {
        (path.relative_to(ROOT).as_posix(), part)
        for path in modules_with_sql()
        for part in built_parts(path.read_text("utf-8"))
    }
    assert found == set(BUILT)


@pytest.mark.parametrize(
    "source",
    [
        "connection.execute(text(f'select {value}'))",
        "connection.execute(text('select ' + value))",
        "connection.execute(text('select %s' % value))",
        "connection.execute(text('select {}'.format(value)))",
        "connection.exec_driver_sql(statement)",
        "cursor.execute(f'select {value}')",
        "cursor.execute('select ' + value)",
    ],
)
def test_a_value_in_a_statement_is_found(source):
    assert list(built_parts(source))
