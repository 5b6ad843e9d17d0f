"""What the UI says of each asset: descriptions, and the columns as declared in `store.tables`."""

from typing import Any

import dagster as dg

from innomaint_pipeline.store.tables import metadata as tables

DESCRIPTIONS = {
    "ic3_asset_master": (
        "The physical assets, imported from the Excel asset master: inserted, updated, never removed. "
        "Rows that cannot be imported stand in innomaint_import_reject with their reason."
    ),
    "innomaint_response": (
        "Fetch: the last raw answer of Innomaint for each CMMS asset of the batch. Asks only for "
        "those that are due. "
        "A single CMMS asset never fails this step; a refused token, an open circuit breaker or the "
        "database does."
    ),
    "ic3_building": "Buildings, from the stored answers: a later answer updates the name.",
    "ic3_floor_master": "Floors, from the stored answers.",
    "ic3_department_master": "Departments, from the stored answers.",
    "ic3_asset_enrichment": (
        "The API's columns of ic3_asset_master, from the stored answers. The API overrides Excel for "
        "criticality, "
        "capacity_rating and in_charge_person where it gives a value."
    ),
    "ic3_asset_performance": "Performance of each CMMS asset: the vendor's texts, and the same as numbers.",
    "ic3_workorder_summary": "Work orders of each CMMS asset, in all and in the last year.",
    "cmms_sync_log": (
        "Settle: asks once more for what is left with a class worth retrying, and writes the batch's "
        "row. Its partition "
        "fails while such an asset remains: re-execute from failure, or materialize the partition "
        "again, and only the "
        "missing ones are asked for."
    ),
}


def column_schema(table_name: str) -> dict[str, Any]:
    """Return the metadata that shows a table's columns in the UI."""
    table = tables.tables[table_name]
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
