"""What tests stand on: a real PostgreSQL, a database for each test, a simulated Innomaint on a socket.

Each database is checked when its test ends, and whatever the test printed or logged (`invariants`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import text
from xdist.scheduler import LoadScopeScheduling

from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline.store.workbook import ImportCounts, import_rows
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline.sync.innomaint.steps import (
    EnrichReport,
    FetchReport,
    SettleReport,
    enrich_batch,
    fetch_batch,
    settle_batch,
)
from innomaint_pipeline_tests.compiled import share_compiled_statements
from innomaint_pipeline_tests.homes import temporary_server
from innomaint_pipeline_tests.invariants import check_invariants, names_left, pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]

CANARY_TOKEN = "canary-token-3f9d1c7e"
FIRST_BATCH = "batch_000001"
KOLKATA = ZoneInfo("Asia/Kolkata")
BATCH_SIZE = 100
WORLD_SIZE = 12
_TEMPLATE = "template_upgraded"
_numbers = count(1)


# What these tests share is costly to make, once for each worker that runs some of them. In the order in which
# they are handed out: those that mostly wait first, so that the others run beside them.
_TOGETHER = (
    "/system/test_rate.py",
    "/system/",
    "/page/",
    "/faults/test_database_faults.py",
    "/embedded/test_server.py",
    "/faults/test_crash_points.py",
    "/faults/test_body_faults.py",
    "/faults/test_field_faults.py",
    "/faults/",
    "/store/test_roles.py",
)


def _place_in_order(nodeid: str) -> int:
    """Return which of `_TOGETHER` a test belongs to, or the number after the last: it shares nothing."""
    path = nodeid.split("::", 1)[0]
    return next((number for number, part in enumerate(_TOGETHER) if part in path), len(_TOGETHER))


class _SharingTestsTogether(LoadScopeScheduling):
    """Hands tests to workers one by one, but those that share their scenarios or servers to one.

    Not by xdist's own groups: pytest 9.2 takes no notice of the names by which they work.
    """

    def _split_scope(self, nodeid: str) -> str:
        place = _place_in_order(nodeid)
        return nodeid if place == len(_TOGETHER) else _TOGETHER[place]


def pytest_configure() -> None:
    share_compiled_statements()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place_in_order(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    # xdist would begin with what has the most tests.
    config.option.loadscopereorder = False
    return _SharingTestsTogether(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with temporary_server() as running:
        yield running


@pytest.fixture(scope="session")
def upgraded_template(postgres: EmbeddedPostgres) -> str:
    postgres.ensure_database(_TEMPLATE)
    database = Database(postgres.url(_TEMPLATE))
    upgrade_database(database, batch_size=BATCH_SIZE)
    database.close()
    return _TEMPLATE


class _Databases:
    """Copies of a template, one for each test; the next is made, and the last dropped, while a test runs."""

    def __init__(self, postgres: EmbeddedPostgres, template: str) -> None:
        self._postgres = postgres
        self._template = template
        self._connection = psycopg.connect(postgres.url("postgres"), autocommit=True)
        self._worker = ThreadPoolExecutor(1)
        self._ahead = self._worker.submit(self._create)
        self._drops: list[Future[None]] = []

    def _create(self) -> str:
        name = f"test_{next(_numbers)}"
        # Page by page through the log of changes, as is the default, costs twice the time.
        statement = sql.SQL("create database {} template {} strategy file_copy")
        self._connection.execute(statement.format(sql.Identifier(name), sql.Identifier(self._template)))
        return name

    def _drop(self, name: str) -> None:
        self._connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    @contextmanager
    def take(self) -> Iterator[str]:
        name = self._ahead.result()
        self._ahead = self._worker.submit(self._create)
        try:
            yield self._postgres.url(name)
        finally:
            self._drops.append(self._worker.submit(self._drop, name))

    def close(self) -> None:
        self._drops.append(self._worker.submit(self._drop, self._ahead.result()))
        self._worker.shutdown()
        self._connection.close()
        for drop in self._drops:
            drop.result()


@pytest.fixture(scope="session")
def _empty_databases(postgres: EmbeddedPostgres) -> Iterator[_Databases]:
    with closing(_Databases(postgres, "template0")) as databases:
        yield databases


@pytest.fixture(scope="session")
def _upgraded_databases(postgres: EmbeddedPostgres, upgraded_template: str) -> Iterator[_Databases]:
    with closing(_Databases(postgres, upgraded_template)) as databases:
        yield databases


@contextmanager
def _checked(url: str, node: pytest.Item) -> Iterator[Database]:
    opened = Database(url)
    began = datetime.now(UTC)
    try:
        yield opened
        check_invariants(opened, began, names_left(node))
    finally:
        opened.close()


@pytest.fixture
def empty_database(_empty_databases: _Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database without any table."""
    with _empty_databases.take() as url, _checked(url, request.node) as opened:
        yield opened


@pytest.fixture
def database(_upgraded_databases: _Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """An upgraded database without a row."""
    with _upgraded_databases.take() as url, _checked(url, request.node) as opened:
        yield opened


@pytest.fixture
def database_url(database: Database) -> str:
    """The address of `database`, for programs that open it themselves."""
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def running_simulator() -> Iterator[InnomaintSimulator]:
    """A simulated Innomaint of `WORLD_SIZE` CMMS assets on a real socket; it takes the canary token only."""
    with InnomaintSimulator(World(WORLD_SIZE), token=CANARY_TOKEN) as running:
        fix_world(running, running.world)
        yield running


@pytest.fixture
def simulator() -> Iterator[InnomaintSimulator]:
    """A test's own simulator: a request that an earlier test gave up on reaches no record but its own."""
    with running_simulator() as running:
        yield running


def fix_world(server: InnomaintSimulator, world: World) -> None:
    """Serve another world; its clock stands still: answers differ only where a test changes them."""
    moment = datetime(2026, 6, 20, 10, tzinfo=UTC)
    world.now = lambda: moment
    server.app.parts.world = world


def everything() -> Selection:
    """Select every CMMS asset that is not asked for from now on."""
    return Selection(asked_before=datetime.now(UTC))


@dataclass
class Pipeline:
    """A database and a simulator, and the steps of a batch run between them."""

    database: Database
    simulator: InnomaintSimulator
    policy: RequestPolicy = field(
        default_factory=lambda: RequestPolicy(retry_base_seconds=0.001, timeout_seconds=20)
    )
    rate_ms: int = 0

    @property
    def serials(self) -> tuple[str, ...]:
        return self.simulator.world.serials

    def import_serials(
        self, serials: Sequence[str] | None = None, *, batch_size: int = BATCH_SIZE, **columns: Any
    ) -> ImportCounts:
        rows = [
            {"cmms_asset_id": serial, "report_seq_no": number, **columns}
            for number, serial in enumerate(serials or self.serials, start=1)
        ]
        with self.database.begin() as connection:
            return import_rows(
                connection, rows, ["report_seq_no", *columns], batch_size=batch_size, run_id="import"
            )

    def open_client(self, run_id: str) -> AbstractAsyncContextManager[InnomaintClient]:
        pacing = SharedPacing(self.database, self.simulator.url, owner=run_id, rate_ms=self.rate_ms)
        return InnomaintClient(self.simulator.url, SecretStr(CANARY_TOKEN), pacing, self.policy)

    def run(
        self,
        run_id: str,
        *,
        batch_key: str = FIRST_BATCH,
        selection: Selection | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> BatchRun:
        return BatchRun(self.database, batch_key, run_id, 1440, selection or Selection(), is_cancelled)

    def fetch(self, run: BatchRun, *, is_last_step: bool = False) -> FetchReport:
        return fetch_batch(run, self.open_client, KOLKATA, is_last_step=is_last_step)

    def enrich(self, run: BatchRun, *, is_rebuild: bool = False, is_last_step: bool = False) -> EnrichReport:
        return enrich_batch(run, KOLKATA, is_rebuild=is_rebuild, is_last_step=is_last_step)

    def settle(self, run: BatchRun) -> SettleReport:
        return settle_batch(run, self.open_client, KOLKATA)

    def sync(self, run: BatchRun) -> SettleReport:
        """Run the three steps of a batch."""
        self.fetch(run)
        self.enrich(run)
        return self.settle(run)

    def resync(self, run_id: str) -> SettleReport:
        """Run the three steps for every CMMS asset of the first batch, due or not."""
        return self.sync(self.run(run_id, selection=everything()))

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.database.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), parameters).mappings()]

    def one(self, query: str, **parameters: Any) -> dict[str, Any]:
        (row,) = self.rows(query, **parameters)
        return row

    def execute(self, statement: str, **parameters: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement), parameters)

    def state(self, serial: str) -> dict[str, Any]:
        return self.one(
            "select s.* from innomaint_sync_state s join ic3_asset_master m using (asset_id)"
            " where m.cmms_asset_id = :serial",
            serial=serial,
        )

    def states(self) -> dict[str, tuple[str, str | None]]:
        """Return state and error class of every CMMS asset by its id."""
        return {
            row["cmms_asset_id"]: (row["state"], row["error_class"])
            for row in self.rows(
                "select cmms_asset_id, state, error_class from innomaint_sync_state"
                " join ic3_asset_master using (asset_id) order by asset_id"
            )
        }


def import_two_batches(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Return a pipeline whose `WORLD_SIZE` CMMS assets are in two batches."""
    fix_world(simulator, World(WORLD_SIZE))
    made = Pipeline(database, simulator)
    made.import_serials(batch_size=WORLD_SIZE // 2)
    return made


@pytest.fixture
def empty_pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Database and simulator, without a CMMS asset in the database."""
    return Pipeline(database, simulator)


@pytest.fixture
def pipeline(database: Database, simulator: InnomaintSimulator) -> Pipeline:
    """Database and simulator, with every CMMS asset of the simulator imported into one batch."""
    made = Pipeline(database, simulator)
    made.import_serials()
    return made
