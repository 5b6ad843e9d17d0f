"""What the UI shows of the table that an asset writes: its columns, as the declaration of the tables says."""

from typing import Any

import dagster as dg

from innomaint_pipeline.store.tables import metadata as tables


def column_schema(table_name: str, declared: Any = tables) -> dict[str, Any]:
    """Return the metadata that shows a table's columns in the UI; `declared` holds its declaration."""
    table = declared.tables[table_name]
    columns = [
        dg.TableColumn(
            column.name,
            str(column.type),
            description=column.comment,
            constraints=dg.TableColumnConstraints(nullable=bool(column.nullable), unique=bool(column.unique)),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns), "dagster/table_name": table_name}
