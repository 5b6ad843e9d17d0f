"""A small simulated Maximo on a socket, a real database, and syncs between them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME, STRUCTURES
from innomaint_pipeline.simulator.maximo.app import MaximoApp
from innomaint_pipeline.simulator.maximo.faults import Behaviour
from innomaint_pipeline.simulator.maximo.server import MaximoSimulator
from innomaint_pipeline.simulator.maximo.world import World
from innomaint_pipeline.sources.maximo.client import MaximoClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.maximo.reading import MaximoRun, ReadOptions, ReadSettings
from innomaint_pipeline.sync.maximo.steps import SyncReport, sync_all, sync_structure
from innomaint_pipeline_tests.conftest import CANARY_TOKEN

SITE = "KDFAC"
_numbers = count(1)


@dataclass
class Maximo:
    """A database and a simulator, and syncs between them."""

    database: Database
    simulator: MaximoSimulator
    settings: ReadSettings = field(default_factory=ReadSettings)
    policy: RequestPolicy = field(
        default_factory=lambda: RequestPolicy(
            max_in_flight=2,
            max_attempts=3,
            retry_base_seconds=0.001,
            timeout_seconds=20,
            answer_limit_bytes=50 * 1024 * 1024,
        )
    )

    @property
    def app(self) -> MaximoApp:
        return self.simulator.app

    @property
    def world(self) -> World:
        return self.app.world

    def open_client(self, run_id: str) -> AbstractAsyncContextManager[MaximoClient]:
        pacing = SharedPacing(self.database, self.simulator.url, owner=run_id, rate_ms=0)
        return MaximoClient(self.simulator.url, SecretStr(CANARY_TOKEN), pacing, self.policy)

    def run(self, short: str, site: str | None = SITE, **options: Any) -> MaximoRun:
        structure = BY_SHORT_NAME[short]
        return MaximoRun(
            self.database,
            structure,
            site if structure.has_site else None,
            f"run-{next(_numbers)}",
            self.settings,
            ReadOptions(**options),
        )

    def sync(self, short: str, site: str | None = SITE, **options: Any) -> dict[str, Any]:
        return sync_structure(self.run(short, site, **options), self.open_client)

    def sync_all(self, sites: Sequence[str] = (SITE,), **options: Any) -> SyncReport:
        runs = [
            self.run(structure.short, site, **options)
            for structure in STRUCTURES
            for site in (sites if structure.has_site else (None,))
        ]
        return sync_all(runs, self.open_client, lambda _: None)

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.database.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), parameters).mappings()]

    def value(self, query: str, **parameters: Any) -> Any:
        ((found,),) = (row.values() for row in self.rows(query, **parameters))
        return found

    def execute(self, statement: str, **parameters: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement), parameters)

    def statuses(self, table: str) -> dict[str, int]:
        found = self.rows(f'select "_sync_status" as s, count(*) as n from maximo.{table} group by 1')
        return {row["s"]: row["n"] for row in found}


@pytest.fixture(scope="session")
def _maximo_process() -> Iterator[MaximoSimulator]:
    with MaximoSimulator(World(persons=60, assets=230, domains=40), key=CANARY_TOKEN) as running:
        yield running


@pytest.fixture
def maximo(database: Database, _maximo_process: MaximoSimulator) -> Maximo:
    """A small Maximo that is as it was built, and an empty database."""
    app = _maximo_process.app
    app.world = World(persons=60, assets=230, domains=40)
    app.behaviour, app.on_page, app.latency = Behaviour(), None, None
    app.long_number = None
    app.default_site = app.insert_site = "KDFAC"
    app.has_other_key, app.refuses_second_key, app.made_keys = False, True, []
    app.key = CANARY_TOKEN
    app.faults.clear()
    app.record.clear()
    app.pages.clear()
    return Maximo(database, _maximo_process)
