"""What a list and an error mean for a run: its findings, its words, its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innomaint_pipeline.domain.customers.checks import (
    WHAT_TO_DO,
    Guards,
    check_newer,
    compare,
    refuse_unnamed,
)
from innomaint_pipeline.domain.customers.lists import CustomerList, Finding
from innomaint_pipeline.domain.customers.runs import Outcome
from innomaint_pipeline.errors import (
    ConfigurationError,
    DatabaseError,
    DiskFullError,
    RefusedRowError,
    RunCancelledError,
    SourceRefusedError,
    TransientSourceError,
)
from innomaint_pipeline.sources.customers.inbox import Export, TooLarge, tell_ahead
from innomaint_pipeline.store.customers.applying import find_unknown
from innomaint_pipeline.store.customers.lists import KnownList, load_accepted
from innomaint_pipeline.store.database import Database, find_now

NOT_A_PDF = "not_a_pdf"
_MARK = b"%PDF-"
_EXIT_CODES = {
    "unreachable": SourceRefusedError.exit_code,
    "database": DatabaseError.exit_code,
    "disk_full": DatabaseError.exit_code,
    "settings": ConfigurationError.exit_code,
    NOT_A_PDF: ConfigurationError.exit_code,
    "cancelled": RunCancelledError.exit_code,
}


def exit_code_of(row: Mapping[str, Any]) -> int:
    """Return the exit code that the row of a run stands for."""
    if row["outcome"] in {Outcome.FAILED, Outcome.REJECTED, Outcome.CANCELLED}:
        return _EXIT_CODES.get(row["error_class"], 1)
    return 0


def class_of(error: BaseException) -> str:
    """Return the class of an error, as `sync_run` names it."""
    if isinstance(error, RunCancelledError) or not isinstance(error, Exception):
        return "cancelled"
    kinds = (
        (DiskFullError, "disk_full"),
        (DatabaseError, "database"),
        (SourceRefusedError, "unreachable"),
        (ConfigurationError, "settings"),
    )
    return next((word for kind, word in kinds if isinstance(error, kind)), "internal")


def is_transient(error: BaseException) -> bool:
    """Tell what may pass by itself: a source out of reach, a database that is away or busy."""
    if isinstance(error, (RefusedRowError, DiskFullError)):
        return False
    return isinstance(error, (TransientSourceError, DatabaseError))


def check_list(
    database: Database, export: Export, content: CustomerList, guards: Guards
) -> tuple[Finding, ...]:
    """Return what every blocking check finds; a file that is not whole is compared with nothing."""
    if not all(item.passed for item in content.findings):
        return content.findings
    nameless = [row.erp_id for row in content.rows if row.values.get("name") is None]
    with database.begin() as connection:
        before = load_accepted(connection)
        now = find_now(connection)
        unnamed = find_unknown(connection, nameless) if nameless else set()
    if unnamed:
        # Of a customer that is known the stored name stays; a new one has none.
        places = [place for place, row in enumerate(content.rows, 1) if row.erp_id in unnamed]
        found = refuse_unnamed(places)
        return tuple(found if item.check == found.check else item for item in content.findings)
    newer = check_newer(export.exported_at, before.exported_at if before else None, now)
    return (*content.findings, newer, *compare(content.rows, before, guards))


def name_rejection(export: Export, failed: tuple[Finding, ...]) -> str:
    """Return the word for why a list is rejected: its first failed check, or that it is no PDF at all."""
    with export.path.open("rb") as file:
        is_pdf = file.read(len(_MARK)) == _MARK
    return failed[0].check if is_pdf else NOT_A_PDF


def describe_failed(failed: tuple[Finding, ...]) -> str:
    """Return what checks found and what a person does about it."""
    return "; ".join(f"{item.check}: {item.message}. What to do: {WHAT_TO_DO[item.check]}" for item in failed)


def describe_known(export: Export, known: KnownList) -> str:
    """Return why a list that was read before is not read again."""
    return (
        f"{export.name} was read before, on {known.received_at:%Y-%m-%d %H:%M} UTC, and is {known.status}: "
        f"there is no newer list{tell_ahead(export.passed_over)}"
    )


def find_oversize(found: TooLarge) -> Finding:
    """Return the finding about a file that is too large."""
    message = (
        f"{found.name} has {found.size / 2**20:.1f} MB, more than CUSTOMERS_MAX_MB allows: it was neither "
        "copied nor read"
    )
    return Finding("file_is_whole", passed=False, message=message, figures={"bound": "size"})
