"""One database for a module of faults; each case plays on three CMMS assets that were synced before.

The first of the three meets the fault. No case waits: sleeping moves the shared clock instead.
"""

import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr
from sqlalchemy import text

from innomaint_pipeline.errors import RouteError
from innomaint_pipeline.simulator.innomaint.faults import Fault
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.sources.route import DIRECT, Route
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline.sync.innomaint.steps import SettleReport, close_failed_batch
from innomaint_pipeline_tests.conftest import (
    CANARY_TOKEN,
    Pipeline,
    everything,
    running_simulator,
)
from innomaint_pipeline_tests.invariants import check_invariants

_CLOCK = ("next_start_at", "last_start_at", "blocked_until", "reduced_at", "breaker_probe_at", "turn_until")
SETTLED_COLUMNS = ("created_at", "updated_at", "last_synced_at", "recorded_at", "sync_version")


@dataclass
class FaultPipeline(Pipeline):
    """A pipeline whose source can be another address, and whose waits are written down."""

    policy: RequestPolicy = field(default_factory=lambda: RequestPolicy(timeout_seconds=60))
    api_url: str | None = None
    route: Route = DIRECT
    waits: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    runs: int = 0

    def open_client(self, run_id: str) -> AbstractAsyncContextManager[InnomaintClient]:
        async def wait_for_retry(seconds: float) -> None:
            self.waits.append(seconds)

        async def let_the_clock_run(seconds: float) -> None:
            self.stops.append(seconds)
            earlier = ", ".join(f"{column} = {column} - {seconds}" for column in _CLOCK)
            self.execute(f"update innomaint_rate_limit set {earlier}")

        url = self.api_url or self.simulator.url
        pacing = SharedPacing(self.database, url, owner=run_id, rate_ms=self.rate_ms, sleep=let_the_clock_run)
        token = SecretStr(CANARY_TOKEN)
        return InnomaintClient(url, token, pacing, self.policy, route=self.route, sleep=wait_for_retry)

    def start_over(self) -> None:
        """Forget waits, pacing and issues, and sync every CMMS asset, so that it has good values."""
        self.execute("delete from innomaint_rate_limit")
        self.execute("delete from innomaint_data_issue")
        self.api_url, self.route, self.policy = None, DIRECT, RequestPolicy(timeout_seconds=60)
        assert self.resync(self.next_run()).status == "complete"
        self.execute("delete from innomaint_rate_limit")
        self.simulator.record.clear()
        self.waits.clear()
        self.stops.clear()

    def next_run(self) -> str:
        self.runs += 1
        return f"run {self.runs}"

    def sync_some(self, *serials: str) -> tuple[str, SettleReport]:
        run_id = self.next_run()
        selection = Selection(serials, asked_before=everything().asked_before)
        return run_id, self.sync(self.run(run_id, selection=selection))

    def snapshot(self, serial: str) -> dict[str, Any]:
        """Return every value that the IC3 tables, the stored answer and the success of an asset hold."""
        found: dict[str, Any] = {}
        for table in ("ic3_asset_performance", "ic3_workorder_summary", "innomaint_response"):
            found[table] = self.rows(
                f"select t.* from {table} t join ic3_asset_master m using (asset_id)"
                " where m.cmms_asset_id = :serial order by t::text",
                serial=serial,
            )
        found["master"] = self.one(
            "select * from ic3_asset_master where cmms_asset_id = :serial", serial=serial
        )
        for key, table in (
            ("building_id", "ic3_building"),
            ("floor_id", "ic3_floor_master"),
            ("department_id", "ic3_department_master"),
        ):
            found[table] = self.rows(f"select * from {table} where {key} = :id", id=found["master"][key])
        state = self.state(serial)
        found["success"] = (state["last_success_at"], state["response_hash"])
        return found

    def logged(self, run_id: str, serial: str) -> dict[str, Any]:
        """Return the one row of ic3_sync_log of an asset and run."""
        return self.one(
            "select status, error_class, http_status, attempts from ic3_sync_log"
            " where run_id = :run and serialnumber = :serial",
            run=run_id,
            serial=serial,
        )

    def batch_row(self, run_id: str) -> dict[str, Any]:
        return self.one(
            "select status, total, assets_synced, failed from cmms_sync_log where run_id = :run", run=run_id
        )


@dataclass(frozen=True)
class Expected:
    """What a fault that stays makes of its CMMS asset in one batch run."""

    error_class: str
    requests: int
    http_status: int | None
    waits: tuple[int, ...] = ()

    @classmethod
    def transient(cls, http_status: int | None) -> "Expected":
        """Three attempts in each of two passes, with 1 s and 2 s between them."""
        return cls("transient", 6, http_status, (1, 2, 1, 2))


def assert_waits(waits: list[float], expected: tuple[int, ...]) -> None:
    """Assert the waits between attempts, each with up to a tenth of jitter."""
    assert len(waits) == len(expected), waits
    for wait, base in zip(waits, expected, strict=True):
        assert base <= wait <= 1.1 * base


def assert_failed(
    pipeline: FaultPipeline, run_id: str, serial: str, expected: Expected, before: dict[str, Any]
) -> None:
    """Assert the rows that a failed CMMS asset has, and that its good values are untouched."""
    state = pipeline.state(serial)
    found = {name: state[name] for name in ("state", "error_class", "http_status", "attempts")}
    outcome = {
        "error_class": expected.error_class,
        "http_status": expected.http_status,
        "attempts": expected.requests,
    }
    assert found == {"state": "failed", **outcome}, state["error_message"]
    assert state["consecutive_failures"] == 1
    assert CANARY_TOKEN not in state["error_message"]
    assert pipeline.logged(run_id, serial) == {"status": "error", **outcome}
    assert pipeline.snapshot(serial) == before


def play(pipeline: FaultPipeline, fault: Fault, expected: Expected, **kwargs: Any) -> None:
    """Let one of three synced assets meet the fault at every request, and assert what becomes of all."""
    faulty, *others = pipeline.serials[1:4]
    pipeline.simulator.faults.always(faulty, fault)
    play_prepared(pipeline, faulty, others, expected, **kwargs)
    assert pipeline.simulator.record.count(faulty) == expected.requests
    assert [pipeline.simulator.record.count(serial) for serial in others] == [1, 1]


def play_prepared(pipeline: FaultPipeline, faulty: str, others: list[str], expected: Expected) -> None:
    """Sync three assets of which one fails, and assert the rows of all."""
    before = pipeline.snapshot(faulty)
    for serial in (faulty, *others):
        pipeline.simulator.world.change(serial, {"data": {"ticketcount": 4711}})
    run_id, report = pipeline.sync_some(faulty, *others)
    assert_failed(pipeline, run_id, faulty, expected, before)
    assert_waits(pipeline.waits, expected.waits)
    for serial in others:
        assert pipeline.snapshot(serial)["master"]["ticketcount"] == 4711
        assert pipeline.logged(run_id, serial)["status"] == "success"
    assert pipeline.batch_row(run_id) == {"status": "partial", "total": 3, "assets_synced": 2, "failed": 1}
    is_worth_retrying = expected.error_class in {"transient", "rate_limited"}
    assert [item.cmms_asset_id for item in report.remaining] == [faulty] * is_worth_retrying


def assert_nothing_is_reached(pipeline: FaultPipeline, attempts: int = 3) -> list[str]:
    """Sync three assets from a source out of reach, assert what is written, and return the messages."""
    serials = pipeline.serials[1:4]
    before = {serial: pipeline.snapshot(serial) for serial in serials}
    run_id, report = pipeline.sync_some(*serials)
    expected = Expected("transient", 2 * attempts, None)
    for serial in serials:
        assert_failed(pipeline, run_id, serial, expected, before[serial])
    assert_waits(sorted(pipeline.waits), tuple(sorted([*range(1, attempts)] * 2 * len(serials))))
    assert pipeline.batch_row(run_id) == {"status": "failed", "total": 3, "assets_synced": 0, "failed": 3}
    assert len(report.remaining) == 3
    assert set(pipeline.states().values()) == {("synced", None), ("failed", "transient")}
    assert len(pipeline.simulator.record) == 0
    return [pipeline.state(serial)["error_message"] for serial in serials]


def assert_the_way_is_closed(pipeline: FaultPipeline) -> str:
    """Sync three assets by a way that is closed, assert that none is marked, and return the message."""
    serials = pipeline.serials[1:4]
    before = {serial: pipeline.snapshot(serial) for serial in serials}
    run = pipeline.run(pipeline.next_run(), selection=Selection(serials, everything().asked_before))
    with pytest.raises(RouteError) as caught:
        pipeline.fetch(run, is_last_step=True)
    close_failed_batch(run, caught.value)
    assert pipeline.batch_row(run.run_id)["status"] == "failed"
    assert set(pipeline.states().values()) == {("synced", None)}
    assert {serial: pipeline.snapshot(serial) for serial in serials} == before
    assert pipeline.rows("select 1 from ic3_sync_log where run_id = :run", run=run.run_id) == []
    assert (pipeline.waits, len(pipeline.simulator.record)) == ([], 0)
    assert caught.value.exit_code == 3
    return str(caught.value)


@pytest.fixture(scope="module")
def _module_database(_upgraded_databases: Any) -> Iterator[Database]:
    with _upgraded_databases.take() as url:
        opened = Database(url)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def _module_pipeline(_module_database: Database) -> Iterator[FaultPipeline]:
    with running_simulator() as simulator:
        made = FaultPipeline(_module_database, simulator)
        made.import_serials()
        yield made


@pytest.fixture
def faults(_module_pipeline: FaultPipeline, simulator: InnomaintSimulator) -> Iterator[FaultPipeline]:
    """Every CMMS asset of a world of `WORLD_SIZE`, synced, nothing wrong yet."""
    _module_pipeline.simulator = simulator
    _module_pipeline.start_over()
    yield _module_pipeline
    check_invariants(_module_pipeline.database)


def count_open_issues(pipeline: FaultPipeline, serial: str) -> dict[str, str]:
    """Return the raw values of an asset's open data issues by field."""
    with pipeline.database.begin() as connection:
        rows = connection.execute(
            text(
                "select field, raw_value from innomaint_data_issue join ic3_asset_master using (asset_id)"
                " where cmms_asset_id = :serial and resolved_at is null"
            ),
            {"serial": serial},
        )
        return {row[0]: row[1] for row in rows}


# certificates

PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def issue(authority: trustme.CA, *hosts: str, is_expired: bool = False) -> ssl.SSLContext:
    dates = {"not_before": PAST, "not_after": PAST + timedelta(days=1)} if is_expired else {}
    return server_context(authority.issue_cert(*hosts, key_type=trustme.KeyType.ECDSA, **dates))
