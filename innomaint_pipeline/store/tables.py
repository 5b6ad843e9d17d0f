"""The tables that every source shares, and the one `metadata` to which each source adds its own.

Belongs here: declarations and nothing that runs. Statements, the adoption of existing tables and the data
dictionary are derived from them. A column's `comment` is its description.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

TIME = DateTime(timezone=True)
"""Every moment is stored with its time zone."""


rate_limit = Table(
    "innomaint_rate_limit",
    metadata,
    Column("account", Text, primary_key=True, comment="the API's address"),
    *(
        Column(name, Double, nullable=False, server_default="0", comment="seconds of the database's clock")
        for name in ("next_start_at", "last_start_at", "blocked_until")
    ),
    Column("reduced_rate", Double, comment="starts a second after a 429; null: the configured rate"),
    Column("reduced_at", Double, nullable=False, server_default="0"),
    Column("successes", Integer, nullable=False, server_default="0"),
    Column("consecutive_429", Integer, nullable=False, server_default="0"),
    Column("failing", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("contract_error", Text, comment="how the latest answers in a row broke the contract"),
    Column(
        "contract_items",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="whose answers those were",
    ),
    Column("breaker_opened_at", Double),
    Column("breaker_wait_seconds", Double, nullable=False, server_default="30"),
    Column("breaker_probe_at", Double, nullable=False, server_default="0"),
    Column("turn_owner", Text, comment="the run whose batch sends its first requests"),
    Column("turn_until", Double, nullable=False, server_default="0"),
    Column("window_started_at", Double, nullable=False, server_default="0"),
    Column("window_starts", Integer, nullable=False, server_default="0"),
    Column("previous_starts", Integer, nullable=False, server_default="0"),
)

lease = Table(
    "innomaint_lease",
    metadata,
    Column("resource", Text, primary_key=True, comment="what is held, like innomaint/batch_000001"),
    Column("owner", Text, nullable=False, comment="the Dagster run"),
    Column("acquired_at", TIME, nullable=False),
    Column("expires_at", TIME, nullable=False),
    Column("total", Integer, nullable=False, server_default="0", comment="units of work of the run's pass"),
    Column("done", Integer, nullable=False, server_default="0", comment="of those, done"),
)

request = Table(
    "innomaint_request",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False, comment="what kind of work is asked for, like innomaint/sync"),
    Column("options", JSONB, nullable=False, comment="what was asked for, by which the same is recognized"),
    Column("requested_at", TIME, nullable=False, server_default=func.now()),
    Column("finished_at", TIME),
    Column("asked_by", Text, comment="whose request Dagster carries out; null: a command does it itself"),
    Column("what", Text, comment="what was asked for, in words"),
    Column("state", Text, comment="waiting, running, done or failed"),
    Column("message", Text, comment="what it waits for, or why it failed"),
    Column("stop_code", Integer, comment="exit code of what stopped it for everybody"),
    Column("total", Integer, comment="units of work selected"),
    Column("result", JSONB, comment="the JSON of the result"),
)

Index("ix_innomaint_request_open", request.c.id, postgresql_where=request.c.finished_at.is_(None))

request_part = Table(
    "innomaint_request_part",
    metadata,
    Column(
        "request_id",
        BigInteger,
        ForeignKey("innomaint_request.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("part", Text, primary_key=True, comment="what one run does, like batch_000001"),
    Column("items", JSONB, nullable=False, comment="those selected of the part; empty: all of it"),
    Column("state", Text, nullable=False, comment="waiting, running, done or failed"),
    Column("run_ids", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="oldest first"),
    Column("message", Text, comment="what it waits for, or why it failed"),
)

setting = Table(
    "innomaint_setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
    Column("updated_at", TIME, nullable=False, server_default=func.now()),
)

alert = Table(
    "innomaint_alert",
    metadata,
    Column("name", Text, primary_key=True, comment="the condition"),
    Column("value", Text, nullable=False, comment="what people were told is wrong"),
    Column("told_at", TIME, nullable=False),
)
