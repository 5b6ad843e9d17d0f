"""The tables of the schema `maximo`: those of the declared structures, and our own.

Belongs here: declarations and nothing that runs. The columns of the structures come from
`domain.maximo.declarations`; a column's `comment` is its description.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    Time,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.domain.maximo.structures import Kind, Structure, TableSpec
from innomaint_pipeline.store.tables import TIME

maximo_metadata = MetaData(schema=SOURCE)
"""Apart from the tables of IC3: nothing in this schema was there before, so that nothing is adopted."""

maximo_views = MetaData(schema=SOURCE)
"""What people query beside the tables; `store.maximo.schema` defines it."""

SYNCED, OUT_OF_SCOPE, DELETED, PLACEHOLDER = "synced", "out_of_scope", "deleted", "placeholder"

_TYPES: dict[Kind, TypeEngine] = {
    Kind.TEXT: Text(),
    Kind.NUMBER_TEXT: Text(),
    Kind.INTEGER: BigInteger(),
    Kind.NUMERIC: Numeric(),
    Kind.READING: Numeric(),
    Kind.BOOLEAN: Boolean(),
    Kind.MOMENT: TIME,
    Kind.DATE: Date(),
    Kind.CLOCK: Time(),
}


def _own_columns() -> list[Column]:
    return [
        Column(
            "_rowstamp", BigInteger, quote=True, comment="Maximo's row stamp; null: it was no whole number"
        ),
        Column(
            "_extra", JSONB, quote=True, comment="attributes without a column, and values of a wrong type"
        ),
        Column("_row_hash", Text, quote=True, comment="hash by which an unchanged row is not written"),
        Column(
            "_sync_status",
            Text,
            quote=True,
            nullable=False,
            server_default=SYNCED,
            comment="synced, out_of_scope, deleted or placeholder",
        ),
        Column(
            "_first_seen_at",
            TIME,
            quote=True,
            nullable=False,
            server_default=func.now(),
            comment="when it was first written",
        ),
        Column(
            "_last_sync",
            TIME,
            quote=True,
            nullable=False,
            server_default=func.now(),
            comment="when it was last written",
        ),
        Column("_sync_run_id", Text, quote=True, comment="the run that last wrote it"),
    ]


OWN_COLUMNS = tuple(column.name for column in _own_columns())


def _build(spec: TableSpec) -> Table:
    columns = []
    for item in spec.attributes:
        is_key = item.column in spec.key
        keys = []
        if item.column in spec.links:
            target = f"{SOURCE}.{spec.parent}.{spec.links[item.column]}"
            keys.append(ForeignKey(target, ondelete="CASCADE", onupdate="CASCADE"))
        if spec.also_of is not None and item.column == spec.also_of[1]:
            keys.append(ForeignKey(f"{SOURCE}.{spec.also_of[0]}.{item.column}", onupdate="CASCADE"))
        columns.append(
            Column(
                item.column,
                _TYPES[item.kind],
                *keys,
                quote=True,
                primary_key=is_key,
                autoincrement=False,
                nullable=not is_key,
                comment=item.comment,
            )
        )
    name = f"uq_{spec.name}_{'_'.join(spec.unique)}"
    unique = [UniqueConstraint(*spec.unique, name=name)] if spec.unique else []
    table = Table(
        spec.name, maximo_metadata, *columns, *_own_columns(), *unique, comment=spec.comment, quote=True
    )
    for column in (*spec.links, *((spec.also_of[1],) if spec.also_of else ())):
        if spec.key[:1] != (column,):
            Index(f"ix_{spec.name}_{column}", table.c[column])
    return table


TABLES: dict[str, Table] = {
    spec.name: _build(spec) for structure in STRUCTURES for spec in structure.tables()
}
"""The tables of all structures, by name, in the order of their structures."""


def root_table(structure: Structure) -> Table:
    """Return the table of a structure's roots."""
    return TABLES[structure.root.table.name]


_ENDPOINT = "the structure, by its short name"
_SITE = "the site; empty: the structure has none"


def _place(*, is_key: bool) -> list[Column]:
    return [
        Column("endpoint", Text, primary_key=is_key, nullable=False, comment=_ENDPOINT),
        Column("site", Text, primary_key=is_key, nullable=False, comment=_SITE),
    ]


response = Table(
    "response",
    maximo_metadata,
    *_place(is_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="unique id of the root"),
    Column(
        "is_pending",
        Boolean,
        primary_key=True,
        comment="fetched by a read whose rows are not in the tables yet",
    ),
    Column("body", JSONB, comment="the root as it came, secrets removed; null while pending: as before"),
    Column("body_hash", Text, nullable=False, comment="hash of the body"),
    Column("fetched_at", TIME, nullable=False, server_default=func.now(), comment="when it was fetched"),
    comment="The last answer for each root, from which the tables can be built anew",
)

sync_state = Table(
    "sync_state",
    maximo_metadata,
    *_place(is_key=True),
    Column("state", Text, nullable=False, server_default="pending", comment="how the last read ended"),
    Column("error_class", Text, comment="class of the error that ended it"),
    Column("message", Text, comment="what is to be told of it"),
    Column("last_sync_at", TIME, comment="when the tables were last brought up to date"),
    Column("last_run_at", TIME, comment="when a read last ended, well or not"),
    Column("last_full_at", TIME, comment="when a full read was last complete"),
    Column("server_total", BigInteger, comment="rows that the server counted at the last full read"),
    Column("watermark", Text, comment="latest changedate stored, as Maximo wrote it"),
    Column("rowstamps", JSONB, comment="row stamps and when each was the newest, oldest first"),
    Column("date_form", Text, comment="offset or plain: how the server takes a moment in a filter"),
    Column("words", JSONB, comment="status words asked for where internal values are ignored"),
    Column("booked_since", Text, comment="reach of transactions that the last full read gave"),
    Column("booked_offset", Text, comment="a transdate as Maximo wrote it"),
    Column("restored_on", Date, comment="UTC day of the last full read for a row stamp that went backwards"),
    Column("due_at", TIME, comment="when the next read is due"),
    Column("full_due_at", TIME, comment="when the next full read is due"),
    Column("open_faults", JSONB, comment="what the last full read found wrong, a sentence each"),
    Column("known", JSONB, comment="attributes seen so far, by node, with their types"),
    Column("reading", JSONB, comment="how far the read under way is"),
    comment="One row for each structure and site: how it stands, and from where it goes on",
)

reject = Table(
    "reject",
    maximo_metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the reject"),
    *_place(is_key=False),
    Column("row_id", BigInteger, nullable=False, comment="unique id of the root"),
    Column("reason", Text, nullable=False, comment="the database's own words, or which value was left out"),
    Column("run_id", Text, comment="the run that found it last"),
    Column("found_at", TIME, nullable=False, server_default=func.now(), comment="when it was found last"),
    Column("resolved_at", TIME, comment="when it could be stored; null: it is open"),
    comment="Roots that the database refuses, each with its children, and those stored without a value",
)
Index(
    "uq_reject_open",
    reject.c.endpoint,
    reject.c.row_id,
    unique=True,
    postgresql_where=reject.c.resolved_at.is_(None),
)

schema_drift = Table(
    "schema_drift",
    maximo_metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the drift"),
    *_place(is_key=False),
    Column("path", Text, nullable=False, comment="the node, like assetmeter; empty: the root"),
    Column("attribute", Text, nullable=False, comment="the attribute; empty: the child as a whole"),
    Column("kind", Text, nullable=False, comment="new, vanished or type"),
    Column("detail", Text, nullable=False, comment="what was found"),
    Column("run_id", Text, comment="the run that found it"),
    Column("found_at", TIME, nullable=False, server_default=func.now(), comment="when it was found"),
    Column("resolved_at", TIME, comment="when it was accepted or gone; null: it is open"),
    comment="Attributes and children that are new, have vanished or changed their type, each once",
)
Index(
    "uq_schema_drift_open",
    *(schema_drift.c[name] for name in ("endpoint", "site", "path", "attribute", "kind")),
    unique=True,
    postgresql_where=schema_drift.c.resolved_at.is_(None),
)


def _counted(name: str, words: str) -> Column:
    return Column(name, BigInteger, nullable=False, server_default=text("0"), comment=words)


sync_run = Table(
    "sync_run",
    maximo_metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the row"),
    Column("run_id", Text, nullable=False, comment="the run"),
    Column("endpoint", Text, nullable=False, comment=_ENDPOINT),
    Column("site", Text, comment="the site; null: the structure has none"),
    Column("mode", Text, nullable=False, comment="full, increment or since"),
    Column("started_at", TIME, nullable=False, comment="when the read began"),
    Column("finished_at", TIME, nullable=False, server_default=func.now(), comment="when it ended"),
    Column("watermark_from", Text, comment="from where it read"),
    Column("watermark_to", Text, comment="to where it brought the tables"),
    Column("pages", Integer, nullable=False, server_default=text("0"), comment="pages fetched"),
    Column("server_total", BigInteger, comment="rows that the server counted; null: it was not asked"),
    _counted("fetched", "roots fetched"),
    _counted("inserted", "roots new in the tables"),
    _counted("updated", "roots that changed, or a child of which did"),
    _counted("unchanged", "roots as they were"),
    _counted("deleted", "roots that nobody answers for any more"),
    _counted("out_of_scope", "roots that left the scope"),
    _counted("placeholders", "shared rows of which the name alone is known"),
    _counted("rejected", "roots that the database refuses"),
    _counted("drift", "lines of schema_drift that it wrote, and vanished ones that remain"),
    Column("status", Text, nullable=False, comment="success, partial or error"),
    Column("error_class", Text, comment="class of the error"),
    Column("message", Text, comment="what is to be told of it"),
    comment="One row for each read of a structure at a site; only added to",
)
Index("ix_sync_run_endpoint_finished_at", sync_run.c.endpoint, sync_run.c.finished_at)

Table(
    "sync_status",
    maximo_views,
    Column("endpoint", Text, comment="the structure, by its short name, or ALL"),
    Column("last_sync", TIME, comment="when it was last read, at the site where that is longest ago"),
    Column("record_count", BigInteger, comment="rows of the root table that are synced"),
    Column("status", Text, comment="pending, in_progress, success, partial or error: the worst of its sites"),
    Column("message", Text, comment="what is to be told of it"),
    comment="View: how each structure stands, and all of them together",
)
Table(
    "dangling_reference",
    maximo_views,
    Column("table_name", Text, comment="the table whose row refers to something"),
    Column("id", BigInteger, comment="unique id of that row's root"),
    Column("siteid", Text, comment="the site"),
    Column("column_name", Text, comment="the column that refers"),
    Column("value", Text, comment="what it refers to, and what is not there"),
    Column("target", Text, comment="the table in which it is missed"),
    comment="View: references between structures that lead to no row",
)

OWN_TABLES = (response, sync_state, reject, schema_drift, sync_run)
RUN_COLUMNS = tuple(column.name for column in sync_run.columns if column.name != "id")
EXPORTED = (*TABLES.values(), sync_state, reject, schema_drift, sync_run)
"""What the offline file holds: every table but the answers."""
