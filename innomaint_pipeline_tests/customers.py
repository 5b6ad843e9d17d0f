"""Invented customer lists without a PDF, and runs that read them into a real database."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from innomaint_pipeline.domain.customers.checks import OF_THE_FILE, Guards
from innomaint_pipeline.domain.customers.columns import COLUMNS
from innomaint_pipeline.domain.customers.lists import CustomerList, CustomerRow, Finding, Value
from innomaint_pipeline.domain.customers.runs import Trigger
from innomaint_pipeline.sources.customers.inbox import Export, Nothing, TooLarge
from innomaint_pipeline.store.customers.applying import release_list
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.sync.customers.running import Kept, ListRun, RunReport, sync_list

CANARY = "Zaffiro Canarino"
"""A name that must stand in the tables of customers alone."""
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
_numbers = itertools.count(1)


def invent_row(number: int, **values: Value) -> CustomerRow:
    """Return a customer whose id is derived from a number."""
    erp_id = str(54_000 + 10 * number)
    made: dict[str, Value] = dict.fromkeys(column.name for column in COLUMNS if column.kind != "id")
    made |= {
        "name": f"{CANARY} {number}",
        "street": f"Via Canarino, {number}",
        "vat_number": f"IT{number:011d}",
        "type": "Potential customer",
        "external_account_number": erp_id,
        "actual_order_count": number,
        "actual_sales": Decimal(number) / 4,
    }
    return CustomerRow(erp_id, f"{erp_id[:-3]}.{erp_id[-3:]}", {**made, **values})


def invent_rows(count: int) -> list[CustomerRow]:
    return [invent_row(number) for number in range(1, count + 1)]


def changed(row: CustomerRow, **values: Value) -> CustomerRow:
    return replace(row, values={**row.values, **values})


def without(rows: Iterable[CustomerRow], *numbers: int) -> list[CustomerRow]:
    gone = {invent_row(number).erp_id for number in numbers}
    return [row for row in rows if row.erp_id not in gone]


def make_list(rows: Sequence[CustomerRow], *failed: str) -> CustomerList:
    """Return a list as it is read; `failed` are checks of the file that it does not pass."""
    findings = tuple(
        Finding(name, name not in failed, f"{name} was made", {"page": 1}) for name in OF_THE_FILE
    )
    return CustomerList(tuple(rows), len(rows), {"actual_order_count": 1}, 8, 8, (), findings)


@dataclass
class Customers:
    """A database, a folder of copies, and what the next run finds."""

    database: Database
    folder: Path
    guards: Guards = field(default_factory=Guards)
    hours: float = 0.0

    def run(
        self,
        rows: Sequence[CustomerRow] | CustomerList | None,
        exported_at: datetime | None = None,
        *,
        content: bytes | None = None,
        **options: Any,
    ) -> ListRun:
        """Return a run that finds a list of these rows, exported an hour after the one before; None: none."""
        number = next(_numbers)
        self.hours += 1
        moment = exported_at or START + timedelta(hours=self.hours)
        found = rows if isinstance(rows, CustomerList) else make_list(rows or ())

        async def fetch(folder: Path) -> Export | Nothing | TooLarge:
            if rows is None:
                return Nothing("the folder holds no list")
            body = content or b"%PDF-" + str(number).encode()
            digest = sha256(body).hexdigest()
            path = folder / f"{digest}.pdf"
            path.write_bytes(body)
            return Export(path, digest, moment, f"list-{number}.pdf", len(body), moment)

        async def read(export: Export, on_progress: Any) -> CustomerList:
            assert export.path.exists()
            on_progress(len(found.rows), found.count)
            return found

        return replace(
            ListRun(
                self.database,
                f"run-{number}",
                Trigger.MANUAL,
                fetch,
                read,
                self.guards,
                Kept(self.folder),
                "test 1",
                wait=lambda _: None,
            ),
            **options,
        )

    def sync(self, rows: Any, exported_at: datetime | None = None, **options: Any) -> RunReport:
        report = sync_list(self.run(rows, exported_at, **options))
        assert report is not None
        return report

    def release(self, sha: str, reason: str = "it is right") -> dict[str, Any]:
        return release_list(self.database, sha, reason, "a person", self.guards)

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.database.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), parameters).mappings()]

    def value(self, query: str, **parameters: Any) -> Any:
        ((found,),) = (row.values() for row in self.rows(query, **parameters))
        return found

    def execute(self, statement: str, **parameters: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement), parameters)

    def states(self) -> dict[str, int]:
        found = self.rows("select state, count(*) as n from customers.customer group by 1")
        return {row["state"]: row["n"] for row in found}

    def state(self, number: int) -> str:
        return self.value(
            "select state from customers.customer where erp_id = :id", id=invent_row(number).erp_id
        )


@pytest.fixture
def customers(database: Database, tmp_path: Path) -> Customers:
    """An empty database, and a folder for copies."""
    return Customers(database, tmp_path / "copies")
