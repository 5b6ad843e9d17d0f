"""Writes the data dictionary of docs/tables.md: every column of every table, as the sources declare it.

`python -m tools.dictionary`, after a change of the tables; a test compares the page with the declaration.
"""

import sys
from pathlib import Path

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from innomaint_pipeline.store.customers.tables import customers_metadata
from innomaint_pipeline.store.maximo.tables import maximo_metadata, maximo_views
from innomaint_pipeline.store.upgrade import metadata

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tables.md"
HEADING = "## Data dictionary\n"
_INTRODUCTION = f"""{HEADING}
Made from the code by `make dictionary`. A key is a column by which a row is found. The database
holds the same words as comments (`\\d+` in psql).
"""


def _describe(column: Column) -> str:
    kind = str(column.type.compile(dialect=postgresql.dialect())).lower().replace(" with time zone", "tz")
    # A cell must not end where a comment holds the sign that ends it.
    words = (column.comment or "").replace("|", "\\|")
    key = "key" if column.primary_key else ""
    return f"| `{column.name}` | {kind} | {key} | {words} |"


def _list_columns(table: Table) -> str:
    rows = [_describe(column) for column in table.columns]
    return "\n".join(
        [
            f"### {table.fullname}",
            "",
            f"{table.comment}.",
            "",
            "| column | type | key | holds |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def build_dictionary() -> str:
    """Return the section of the page, from its heading to the end."""
    declared = (metadata, maximo_metadata, maximo_views, customers_metadata)
    tables = [table for item in declared for table in item.tables.values()]
    return "\n".join([_INTRODUCTION, *(_list_columns(table) for table in tables)])


def main() -> int:
    """Replace the section in the page; it is the last one."""
    before, _, _ = PAGE.read_text("utf-8").partition(HEADING)
    PAGE.write_text(f"{before.rstrip()}\n\n{build_dictionary()}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
