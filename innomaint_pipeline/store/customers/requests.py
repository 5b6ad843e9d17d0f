"""Requests for a run of the customer list: stored for Dagster to carry out, one in flight at a time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.domain.customers.runs import PART, SYNC_REQUESTS, Trigger
from innomaint_pipeline.store.customers.runs import (
    find_run_since,
    has_schema,
    is_start_run_wanted,
)
from innomaint_pipeline.store.database import AdvisoryLock, take_lock
from innomaint_pipeline.store.requests import Wish, find_open, submit
from innomaint_pipeline.store.settings import PAUSED, load_setting


def submit_run(connection: Connection, trigger: Trigger, *, asked_by: str) -> datetime:
    """Store a request, unless one is in flight for which no run has ended yet, whatever began it.

    Return since when a run that ends is the one that was asked for.
    """
    take_lock(connection, AdvisoryLock.SUBMIT)
    options: dict[str, str] = {"trigger": trigger}
    for request in find_open(connection, SYNC_REQUESTS):
        done = find_run_since(connection, request.requested_at)
        if done is None:
            return request.requested_at
        # Done, and only not closed yet: what it has read is older than what is asked for now.
        options["after"] = done["run_id"]
    wish = Wish(SYNC_REQUESTS, options, "the customer list", 1, {PART: ()}, {})
    return submit(connection, wish, asked_by=asked_by).requested_at


def ask_at_start(connection: Connection, start_minutes: int) -> bool:
    """Ask for a run because the program was started, where the last accepted list is old; tell whether."""
    if not has_schema(connection):
        return False
    is_paused = bool(load_setting(connection, SOURCE, PAUSED))
    is_wanted = not is_paused and is_start_run_wanted(connection, start_minutes)
    if is_wanted:
        submit_run(connection, Trigger.STARTUP, asked_by="innomaint up")
    return is_wanted
