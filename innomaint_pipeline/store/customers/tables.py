"""The tables of the schema `customers`.

Belongs here: declarations and nothing that runs. The columns of a customer come from
`domain.customers.columns`; a column's `comment` is its description. Personal values stand in `customer`,
`snapshot_row` and `data_issue`, and in no other table.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.columns import COLUMNS, Kind
from innomaint_pipeline.domain.customers.delta import State
from innomaint_pipeline.store.tables import TIME

customers_metadata = MetaData(schema=SOURCE)
"""Apart from the tables of IC3: nothing in this schema was there before, so that nothing is adopted."""

ACCEPTED, QUARANTINED, RELEASED = "accepted", "quarantined", "released"

_TYPES: dict[Kind, TypeEngine] = {
    "id": Text(),
    "text": Text(),
    "date": Date(),
    "integer": BigInteger(),
    "money": Numeric(14, 2),
}
_MEANINGS = {
    "account_num": "account profile; filled where the type is Debitor",
    "name": "name, required, no key",
    "vat_number": "VAT number",
    "pec": "certified e-mail address",
    "sdi": "code for electronic invoices",
    "fiscal_code": "fiscal code",
    "delivery_terms": "terms of delivery",
    "street": "street",
    "postal_code": "postal code",
    "city": "city",
    "phone": "phone",
    "mobile": "mobile phone",
    "url": "web address",
    "attention_to": "for the attention of",
    "last_order_date": "date of the last order",
    "actual_order_count": "orders of this year",
    "actual_sales": "sales of this year; the list mistranslates the header",
    "previous_order_count_1": "orders of the year before",
    "previous_sales_1": "sales of the year before",
    "previous_order_count_2": "orders two years before",
    "previous_sales_2": "sales two years before",
    "description": "description",
    "type": "type of customer, like Debitor",
    "external_account_number": "account number elsewhere: mostly the id",
    "our_account_number": "our account number there, always empty so far",
}


def _value_columns() -> list[Column]:
    return [
        Column(
            item.name,
            _TYPES[item.kind],
            nullable=item.name != "name",
            comment=f"{_MEANINGS[item.name]} ({item.header})",
        )
        for item in COLUMNS
        if item.kind != "id"
    ]


customer = Table(
    "customer",
    customers_metadata,
    Column("erp_id", Text, primary_key=True, comment="id without dots (ID)"),
    Column("erp_id_printed", Text, nullable=False, comment="id as the list prints it"),
    *_value_columns(),
    Column("extra", JSONB, nullable=False, server_default="{}", comment="unknown columns by their header"),
    Column("contact_hash", Text, nullable=False, comment="SHA-256 of columns 2 to 15, 23 to 26 and extra"),
    Column("analytics_hash", Text, nullable=False, comment="SHA-256 of columns 16 to 22"),
    Column("hash_version", Integer, nullable=False, comment="how the hashes were made"),
    Column(
        "state",
        Text,
        nullable=False,
        server_default=State.ACTIVE,
        comment="active; missing: not in the newest list, still served; deleted",
    ),
    Column("missing_since", TIME, comment="when the first list without the customer was exported"),
    Column("deleted_at", TIME, comment="when the customer was deleted, softly"),
    Column(
        "first_seen_at", TIME, nullable=False, server_default=func.now(), comment="when it was written first"
    ),
    Column("updated_at", TIME, nullable=False, server_default=func.now(), comment="when it was written last"),
    Column("updated_run_id", Text, comment="the run that wrote it last"),
    comment="The customers of the list, and those that were in it",
)
Index("ix_customer_state", customer.c.state)

snapshot = Table(
    "snapshot",
    customers_metadata,
    Column("sha256", Text, primary_key=True, comment="SHA-256 of the file"),
    Column("exported_at", TIME, nullable=False, comment="when the ERP made the list"),
    Column("received_at", TIME, nullable=False, server_default=func.now(), comment="when it was read"),
    Column("accepted_at", TIME, comment="when it was accepted or released; null: it is quarantined"),
    Column("rows", Integer, nullable=False, comment="customers in it"),
    Column("pages", Integer, nullable=False, comment="its pages"),
    Column("cycle_pages", Integer, nullable=False, comment="pages that a slice of rows takes"),
    Column("totals", JSONB, nullable=False, comment="count and sums as printed"),
    Column("fill_shares", JSONB, nullable=False, comment="share of filled cells by column"),
    Column("checks", JSONB, nullable=False, comment="what each blocking check found"),
    Column("status", Text, nullable=False, comment="accepted, quarantined or released"),
    Column("held", ARRAY(Text), comment="ids whose deletion waits for a release"),
    Column("parser_version", Text, nullable=False, comment="by what it was read"),
    comment="The lists that were read: accepted, or refused and kept for a person to judge",
)
Index("ix_snapshot_exported_at", snapshot.c.exported_at)

snapshot_row = Table(
    "snapshot_row",
    customers_metadata,
    Column(
        "sha256",
        Text,
        ForeignKey(f"{SOURCE}.snapshot.sha256", ondelete="CASCADE"),
        primary_key=True,
        comment="key of customers.snapshot",
    ),
    Column("position", Integer, primary_key=True, autoincrement=False, comment="its row in the list, from 1"),
    Column("erp_id", Text, nullable=False, comment="id without dots"),
    Column("erp_id_printed", Text, nullable=False, comment="id as the list prints it"),
    Column("cells", JSONB, nullable=False, comment="values by column; an unreadable one is absent"),
    Column("extra", JSONB, nullable=False, comment="unknown columns by their header"),
    Column("issues", JSONB, nullable=False, comment="unreadable values: field, raw_value, reason"),
    comment="The rows of the last accepted list and of quarantined ones, from which they can be applied anew",
)

change = Table(
    "change",
    customers_metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the change"),
    Column("run_id", Text, nullable=False, comment="the run"),
    Column("erp_id", Text, nullable=False, comment="the customer"),
    Column("kind", Text, nullable=False, comment="new, updated, missing, deleted or restored"),
    Column("fields", ARRAY(Text), nullable=False, comment="names of the fields that changed, no values"),
    Column("changed_at", TIME, nullable=False, server_default=func.now(), comment="when"),
    comment="What each run changed",
)
Index("ix_change_erp_id", change.c.erp_id)
Index("ix_change_run_id", change.c.run_id)

data_issue = Table(
    "data_issue",
    customers_metadata,
    Column("erp_id", Text, primary_key=True, comment="the customer"),
    Column("field", Text, primary_key=True, comment="the column, or the header of an unknown one"),
    Column("raw_value", Text, nullable=False, comment="what stands in the list"),
    Column("reason", Text, nullable=False, comment="why it cannot be read"),
    Column("first_seen_at", TIME, nullable=False, comment="when it was seen first"),
    Column("last_seen_at", TIME, nullable=False, comment="when it was seen last"),
    Column("resolved_at", TIME, comment="when it could be read again; null: it is open"),
    comment="Values of accepted lists that cannot be read; the stored ones stay",
)


def _count(name: str, words: str) -> Column:
    return Column(name, Integer, comment=words)


sync_run = Table(
    "sync_run",
    customers_metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the run"),
    Column("run_id", Text, nullable=False, unique=True, comment="the run; in Dagster its id there"),
    Column("trigger", Text, nullable=False, comment="schedule, manual, startup or release"),
    Column("started_at", TIME, nullable=False, server_default=func.now(), comment="when it began"),
    Column("finished_at", TIME, comment="when it ended; null: it is under way, or its process was killed"),
    Column(
        "outcome",
        Text,
        comment="succeeded_changed, succeeded_unchanged, rejected_by_guard, failed, skipped or cancelled",
    ),
    Column("error_class", Text, comment="what ended it, in a word"),
    Column("error_message", Text, comment="what ended it, and what helps"),
    Column("attempts", Integer, nullable=False, server_default="1", comment="how often it tried"),
    Column("stage", Text, comment="how far it is: receive, parse, check, apply or done"),
    Column("sha256", Text, comment="the list that it read"),
    _count("rows", "customers in the list"),
    _count("new", "customers that were unknown"),
    _count("updated", "customers whose data changed"),
    _count("unchanged", "customers that were not written, or whose hashes alone were"),
    _count("missing", "customers that are newly missing"),
    _count("deleted", "customers that were deleted"),
    _count("restored", "customers that are back"),
    _count("rehashed", "of the unchanged, those whose hashes were made anew"),
    Column("stage_ms", JSONB, comment="milliseconds of each stage"),
    comment="Every run, and how it ended",
)
Index("ix_sync_run_started_at", sync_run.c.started_at)

release = Table(
    "release",
    customers_metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the release"),
    Column("sha256", Text, nullable=False, comment="the list"),
    Column("released_at", TIME, nullable=False, server_default=func.now(), comment="when"),
    Column("released_by", Text, nullable=False, comment="who"),
    Column("reason", Text, nullable=False, comment="why"),
    Column("figures", JSONB, nullable=False, comment="the failed checks, or the held removals, as they were"),
    Column("run_id", Text, nullable=False, comment="the run that applied it"),
    comment="Which lists and removals people have released",
)
