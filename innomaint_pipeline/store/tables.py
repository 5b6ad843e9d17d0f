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
from sqlalchemy.types import TypeEngine

metadata = MetaData()

TIME = DateTime(timezone=True)
"""Every moment is stored with its time zone."""

_SECONDS = "seconds of the database's clock"


def _count(name: str, column_type: type[TypeEngine], words: str) -> Column:
    return Column(name, column_type, nullable=False, server_default="0", comment=words)


rate_limit = Table(
    "innomaint_rate_limit",
    metadata,
    Column("account", Text, primary_key=True, comment="the API's address"),
    *(
        Column(name, Double, nullable=False, server_default="0", comment=f"{words}, {_SECONDS}")
        for name, words in (
            ("next_start_at", "when the next request may start"),
            ("last_start_at", "when the last one started"),
            ("blocked_until", "until when none may start"),
        )
    ),
    Column("reduced_rate", Double, comment="starts a second after a 429; null: the configured rate"),
    _count("reduced_at", Double, f"when the rate was last reduced, {_SECONDS}"),
    _count("successes", Integer, "good answers since then, towards the next raise"),
    _count("consecutive_429", Integer, "answers 429 in a row"),
    Column(
        "failing",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="items that failed in a row: ten open the breaker",
    ),
    Column("contract_error", Text, comment="how the latest answers in a row broke the contract"),
    Column(
        "contract_items",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="whose answers those were",
    ),
    Column("breaker_opened_at", Double, comment=f"since when the breaker is open, {_SECONDS}; null: closed"),
    Column(
        "breaker_wait_seconds",
        Double,
        nullable=False,
        server_default="30",
        comment="seconds between two probes while it is open",
    ),
    _count("breaker_probe_at", Double, f"when the next probe may be sent, {_SECONDS}"),
    Column("turn_owner", Text, comment="the run whose batch sends its first requests"),
    _count("turn_until", Double, f"until when its turn lasts, {_SECONDS}"),
    _count("window_started_at", Double, f"since when starts are counted, {_SECONDS}"),
    _count("window_starts", Integer, "requests started since then"),
    _count("previous_starts", Integer, "requests started in the window before"),
    comment="One row for each API account: the clock, rate and breaker that every process shares",
)

lease = Table(
    "innomaint_lease",
    metadata,
    Column("resource", Text, primary_key=True, comment="what is held, like innomaint/batch_000001"),
    Column("owner", Text, nullable=False, comment="the Dagster run"),
    Column("acquired_at", TIME, nullable=False, comment="since when it is held"),
    Column("expires_at", TIME, nullable=False, comment="until when, unless it is renewed"),
    Column("total", Integer, nullable=False, server_default="0", comment="units of work of the run's pass"),
    Column("done", Integer, nullable=False, server_default="0", comment="of those, done"),
    comment="What a run holds for itself, like a batch that it works on",
)

request = Table(
    "innomaint_request",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="number of the request"),
    Column("kind", Text, nullable=False, comment="what kind of work is asked for, like innomaint/sync"),
    Column("options", JSONB, nullable=False, comment="what was asked for, by which the same is recognized"),
    Column("requested_at", TIME, nullable=False, server_default=func.now(), comment="when it was asked for"),
    Column("finished_at", TIME, comment="when it ended; null: it is open"),
    Column("asked_by", Text, comment="whose request Dagster carries out; null: a command does it itself"),
    Column("what", Text, comment="what was asked for, in words"),
    Column("state", Text, comment="waiting, running, done, partial or failed"),
    Column("message", Text, comment="what it waits for, why it failed, or what was left undone"),
    Column("stop_code", Integer, comment="exit code of what stopped it for everybody"),
    Column("total", Integer, comment="units of work selected"),
    Column("result", JSONB, comment="the JSON of the result"),
    comment="Work that a person or a program asked for",
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
        comment="key of innomaint_request",
    ),
    Column("part", Text, primary_key=True, comment="what one run does, like batch_000001"),
    Column("items", JSONB, nullable=False, comment="those selected of the part; empty: all of it"),
    Column("state", Text, nullable=False, comment="waiting, running, done or failed"),
    Column("run_ids", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="oldest first"),
    Column("message", Text, comment="what it waits for, or why it failed"),
    comment="A part of such work that one run does",
)

setting = Table(
    "innomaint_setting",
    metadata,
    Column("name", Text, primary_key=True, comment="source and name, like innomaint/paused"),
    Column("value", JSONB, nullable=False, comment="the value"),
    Column("updated_at", TIME, nullable=False, server_default=func.now(), comment="when it was stored"),
    comment="Settings stored while the program runs",
)

alert = Table(
    "innomaint_alert",
    metadata,
    Column("name", Text, primary_key=True, comment="the condition"),
    Column("value", Text, nullable=False, comment="what people were told is wrong"),
    Column("told_at", TIME, nullable=False, comment="when people were told"),
    comment="Conditions that people are told of",
)
