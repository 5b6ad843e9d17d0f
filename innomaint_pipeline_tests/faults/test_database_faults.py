"""A database that is lost, harmed, full or in the way, at every step of a real batch run.

Expected each time: the class of the error (`DatabaseError`, exit code 4; a refused value: class `data`, of
that CMMS asset alone), how many requests were sent, what stays, and that the repeated step asks for exactly
what is lacking. The server is the module's own. What is done to it is real: it is restarted, its processes
are killed, connections end at a chosen moment, transactions block each other, and the file of a table stands
on a device that is always full.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.embedded.watch import ServerFiles, account_of, run_program
from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.limit import build_fixed_latency
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline_tests.conftest import WORLD_SIZE, Pipeline
from innomaint_pipeline_tests.faults.database_wire import Moment, Trap, Wire
from innomaint_pipeline_tests.homes import temporary_server
from innomaint_pipeline_tests.invariants import check_invariants

TEMPLATE = "template_of_faults"
WAIT_SECONDS = 60
REFUSED = 4
numbers = count(1)


class Server:
    """A PostgreSQL server that tests may harm."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self.files = ServerFiles(postgres.home)

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction, as the superuser."""
        url, writable = self.postgres.url(database), "-c default_transaction_read_only=off"
        with psycopg.connect(url, autocommit=True, connect_timeout=10, options=writable) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def restart(self) -> None:
        """Stop at once, without a word to anybody, and start again."""
        options = ("-D", str(self.files.data), "-m", "immediate", "-w", "-l", str(self.files.log))
        code, said = run_program("pg_ctl", "restart", *options, account=account_of(self.files.data))
        assert code == 0, said

    def crash(self) -> None:
        """Kill one of the server's processes: it ends every connection and recovers by itself."""
        url = self.postgres.url("postgres")
        with closing(psycopg.connect(url)) as victim, closing(psycopg.connect(url)) as witness:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            # Only when it ends the others does the server know; until then it takes connections.
            with pytest.raises(psycopg.OperationalError):
                witness.execute("select pg_sleep(600)")

    def end_connections(self, database: str) -> None:
        """End every connection to a database, as an administrator does."""
        self.execute(
            f"select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = '{database}'"
        )

    def wait_until_ready(self) -> None:
        """Return once connections are taken."""
        wait_for(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            return self.execute("select 1") == [(1,)]
        except psycopg.OperationalError:
            return False


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, f"waited {WAIT_SECONDS} s in vain"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with temporary_server() as running:
        made = Server(running)
        # What was committed survives these crashes, as it does in production.
        made.execute("alter role postgres set synchronous_commit = on")
        running.ensure_database(TEMPLATE)
        with closing(Database(running.url(TEMPLATE))) as database:
            upgrade_database(database, batch_size=100)
        yield made


@pytest.fixture(scope="module")
def wire(server: Server) -> Iterator[Wire]:
    with Wire(f"{server.postgres.host}/.s.PGSQL.{server.postgres.port}") as made:
        yield made


class HarmedPipeline(Pipeline):
    """A pipeline whose every connection goes over the wire."""

    def __init__(self, server: Server, wire: Wire, simulator: InnomaintSimulator, name: str) -> None:
        self.server = server
        self.wire = wire
        self.name = name
        super().__init__(self.connect("postgres"), simulator)

    def connect(self, role: str) -> Database:
        address = f"127.0.0.1:{self.wire.port}/{self.name}?sslmode=disable&gssencmode=disable"
        return Database(f"postgresql://{quote(role)}@{address}")

    @property
    def first(self) -> BatchRun:
        return self.run("first")

    def administer(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on another connection, which no trap sees."""
        return self.server.execute(statement, database=self.name)

    def stored(self) -> set[str]:
        rows = self.administer(
            "select cmms_asset_id from innomaint_response join ic3_asset_master using (asset_id)"
        )
        return {serial for (serial,) in rows}

    def asked(self) -> set[Any]:
        """Return who was asked for since the last time, no one twice."""
        by_serial = self.simulator.record.count_by_serial()
        self.simulator.record.clear()
        assert set(by_serial.values()) <= {1}
        return set(by_serial)

    def fail(self, step: Callable[[], object], match: str = "unreachable or refuses") -> None:
        """Let a step fail as one does that the database fails."""
        with pytest.raises(DatabaseError, match=match) as caught:
            step()
        assert caught.value.exit_code == 4

    def finish(self) -> None:
        """Repeat the steps of the run as Dagster does; everything is then synced, and told of once."""
        self.server.wait_until_ready()
        self.wire.set_trap(None)
        assert self.sync(self.first).status == "complete"
        assert set(self.states().values()) == {("synced", None)}
        logged = self.rows("select serialnumber from ic3_sync_log where sync_type = 'api_sync'")
        assert sorted(row["serialnumber"] for row in logged) == sorted(self.serials)
        (row,) = self.rows("select * from cmms_sync_log")
        assert (row["run_id"], row["status"], row["assets_synced"]) == ("first", "complete", WORLD_SIZE)
        assert self.one("select count(*) from ic3_asset_performance") == {"count": WORLD_SIZE}
        assert self.one("select count(*) from ic3_workorder_summary") == {"count": 2 * WORLD_SIZE}


@contextmanager
def harmed(server: Server, wire: Wire, simulator: InnomaintSimulator) -> Iterator[HarmedPipeline]:
    name = f"faults_{next(numbers)}"
    server.execute(f"create database {name} template {TEMPLATE}")
    pipeline = HarmedPipeline(server, wire, simulator, name)
    try:
        yield pipeline
        check_invariants(pipeline.database)
    finally:
        wire.set_trap(None)
        pipeline.database.close()
        server.wait_until_ready()
        server.execute(f"drop database {name} with (force)")


@pytest.fixture
def unimported(server: Server, wire: Wire, simulator: InnomaintSimulator) -> Iterator[HarmedPipeline]:
    with harmed(server, wire, simulator) as made:
        yield made


@pytest.fixture
def pipeline(unimported: HarmedPipeline) -> HarmedPipeline:
    unimported.import_serials()
    return unimported


# Restarts


def test_a_restart_between_the_steps_costs_neither_an_error_nor_a_request(pipeline: HarmedPipeline) -> None:
    pipeline.server.restart()
    pipeline.fetch(pipeline.first)
    pipeline.server.restart()
    pipeline.enrich(pipeline.first)
    pipeline.server.restart()
    assert pipeline.settle(pipeline.first).status == "complete"
    assert pipeline.asked() == set(pipeline.serials)
    pipeline.finish()
    assert pipeline.asked() == set()


HARMS = {
    "crash": lambda pipeline: pipeline.server.crash(),
    "ended": lambda pipeline: pipeline.server.end_connections(pipeline.name),
}
MOMENTS: tuple[Moment, ...] = ("statement", "before commit", "after commit")
EVERY_HARM = pytest.mark.parametrize(
    ("moment", "harm"), [*((moment, "crash") for moment in MOMENTS), ("statement", "ended")]
)


def lay_trap(pipeline: HarmedPipeline, fragment: bytes, moment: Moment, harm: str, **options: Any) -> Trap:
    trap = Trap(fragment, moment, lambda: HARMS[harm](pipeline), **options)
    pipeline.wire.set_trap(trap)
    return trap


@EVERY_HARM
def test_a_server_lost_while_answers_are_stored(pipeline: HarmedPipeline, moment: Moment, harm: str) -> None:
    trap = lay_trap(pipeline, b"INSERT INTO innomaint_response", moment, harm)
    pipeline.fail(lambda: pipeline.fetch(pipeline.first))
    assert trap.has_sprung
    pipeline.server.wait_until_ready()
    asked, stored = pipeline.asked(), pipeline.stored()
    assert stored <= asked
    assert stored or moment != "after commit"
    pipeline.finish()
    assert pipeline.asked() == set(pipeline.serials) - stored


@EVERY_HARM
def test_a_server_lost_while_the_tables_are_written(
    pipeline: HarmedPipeline, moment: Moment, harm: str
) -> None:
    pipeline.fetch(pipeline.first)
    trap = lay_trap(pipeline, b"INSERT INTO ic3_workorder_summary", moment, harm)
    pipeline.fail(lambda: pipeline.enrich(pipeline.first))
    assert trap.has_sprung
    pipeline.server.wait_until_ready()
    is_written = moment == "after commit"
    assert set(pipeline.states().values()) == {("synced", None) if is_written else ("never", None)}
    held = pipeline.one("select count(*) from ic3_asset_performance")
    assert held == {"count": WORLD_SIZE if is_written else 0}, "all of each CMMS asset, or nothing"
    pipeline.finish()
    assert pipeline.asked() == set(pipeline.serials)


@EVERY_HARM
def test_a_server_lost_while_the_batch_is_settled(
    pipeline: HarmedPipeline, moment: Moment, harm: str
) -> None:
    pipeline.fetch(pipeline.first)
    pipeline.enrich(pipeline.first)
    trap = lay_trap(pipeline, b"INSERT INTO cmms_sync_log", moment, harm)
    pipeline.fail(lambda: pipeline.settle(pipeline.first))
    assert trap.has_sprung
    pipeline.server.wait_until_ready()
    assert len(pipeline.rows("select 1 from cmms_sync_log")) == (1 if moment == "after commit" else 0)
    pipeline.finish()
    assert pipeline.asked() == set(pipeline.serials)


@EVERY_HARM
def test_a_server_lost_while_a_workbook_is_imported(
    unimported: HarmedPipeline, moment: Moment, harm: str
) -> None:
    trap = lay_trap(unimported, b"INSERT INTO ic3_asset_master", moment, harm)
    unimported.fail(unimported.import_serials)
    assert trap.has_sprung
    unimported.server.wait_until_ready()
    there = WORLD_SIZE if moment == "after commit" else 0
    assert unimported.one("select count(*) from ic3_asset_master") == {"count": there}
    counts = unimported.import_serials()
    assert (counts.inserted, counts.unchanged, counts.batches) == (WORLD_SIZE - there, there, 1)
    unimported.finish()


def test_a_server_lost_amid_the_requests_stops_them_and_keeps_the_answers(pipeline: HarmedPipeline) -> None:
    pipeline.rate_ms = 1
    trap = lay_trap(pipeline, b"UPDATE innomaint_rate_limit", "statement", "ended", number=6)
    pipeline.fail(lambda: pipeline.fetch(pipeline.first))
    assert trap.has_sprung
    asked = pipeline.asked()
    assert len(asked) < 6, "no request without a slot of the shared clock"
    assert pipeline.stored() <= asked
    lacking = set(pipeline.serials) - pipeline.stored()
    pipeline.finish()
    assert pipeline.asked() == lacking


def test_answers_that_could_not_be_stored_are_stored_at_the_end(pipeline: HarmedPipeline) -> None:
    pipeline.policy = RequestPolicy(max_in_flight=2, timeout_seconds=60)
    pipeline.simulator.app.latency = build_fixed_latency(0.2)
    lay_trap(pipeline, b"INSERT INTO innomaint_response", "statement", "ended")
    pipeline.fail(lambda: pipeline.fetch(pipeline.first))
    pipeline.simulator.app.latency = None
    asked, stored = pipeline.asked(), pipeline.stored()
    assert asked < set(pipeline.serials), "what is lost while requests are sent stops them"
    assert set() < stored <= asked
    pipeline.finish()
    assert pipeline.asked() == set(pipeline.serials) - stored


# Transactions in each other's way


def test_a_deadlock_with_another_program_is_repeated_and_harms_nobody(pipeline: HarmedPipeline) -> None:
    """The other program holds a row of the master and waits for a building that enriching holds."""
    pipeline.fetch(pipeline.first)
    pipeline.asked()
    other = psycopg.connect(pipeline.server.postgres.url(pipeline.name))
    # Whose patience ends first is broken off.
    other.execute("set deadlock_timeout = '10min'")
    other.execute("update ic3_asset_master set asset_name = 'theirs'")
    pipeline.execute("alter role postgres set deadlock_timeout = '10ms'")
    pipeline.database.close()
    ended = threading.Event()

    def wait_for_us() -> None:
        other.execute("insert into ic3_building (building_id) values (16420) on conflict do nothing")
        other.commit()
        ended.set()

    def provoke() -> None:
        threading.Thread(target=wait_for_us, daemon=True).start()
        waiting = "select 1 from pg_stat_activity where pid = {} and wait_event_type = 'Lock'"
        wait_for(lambda: pipeline.administer(waiting.format(other.info.backend_pid)))

    pipeline.wire.set_trap(Trap(b"UPDATE ic3_asset_master", "statement", provoke, is_cut=False))
    try:
        report = pipeline.enrich(pipeline.first)
        assert ended.wait(WAIT_SECONDS)
    finally:
        pipeline.administer("alter role postgres reset deadlock_timeout")
        other.close()
    assert (report.success, report.failed) == (WORLD_SIZE, 0)
    assert "deadlock detected" in pipeline.server.files.log.read_text(encoding="utf-8")
    names = pipeline.rows("select distinct asset_name from ic3_asset_master")
    assert names == [{"asset_name": "theirs"}], "the other program's change is there, too"
    pipeline.finish()
    assert pipeline.asked() == set()


def raise_on(pipeline: HarmedPipeline, table: str, event: str, code: str, times: int) -> None:
    """Let the first changes of a table fail with an SQLSTATE; a sequence counts them, as it is not undone."""
    pipeline.administer(f"create sequence times_{table}")
    pipeline.administer(
        f"create function fail_{table}() returns trigger language plpgsql as $$ begin"
        f" if nextval('times_{table}') <= {times} then raise exception 'made' using errcode = '{code}';"
        f" end if; return null; end $$"
    )
    pipeline.administer(
        f"create trigger fail_{table} after {event} on {table} for each row execute function fail_{table}()"
    )


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_conflict_while_the_tables_are_written_is_repeated_and_no_assets_fault(
    pipeline: HarmedPipeline, code: str
) -> None:
    raise_on(pipeline, "ic3_workorder_summary", "insert", code, times=1000)
    pipeline.fetch(pipeline.first)
    pipeline.fail(lambda: pipeline.enrich(pipeline.first), match=f"each of {WORLD_SIZE} rows")
    assert set(pipeline.states().values()) == {("never", None)}, "a conflict is no CMMS asset's fault"
    pipeline.administer("alter sequence times_ic3_workorder_summary restart 993")
    pipeline.finish()
    assert pipeline.asked() == set(pipeline.serials)


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_conflict_at_any_other_place_is_the_databases_trouble(pipeline: HarmedPipeline, code: str) -> None:
    raise_on(pipeline, "innomaint_lease", "update", code, times=1000)
    pipeline.fail(lambda: pipeline.fetch(pipeline.first), match="met another")
    assert set(pipeline.states().values()) == {("never", None)}
    pipeline.administer("drop trigger fail_innomaint_lease on innomaint_lease")
    lacking = set(pipeline.serials) - pipeline.stored()
    pipeline.asked()
    pipeline.finish()
    assert pipeline.asked() == lacking


def test_a_conflict_while_a_workbook_is_imported_costs_no_row(unimported: HarmedPipeline) -> None:
    raise_on(unimported, "ic3_asset_master", "insert", "40P01", times=1)
    counts = unimported.import_serials()
    assert (counts.inserted, counts.refused) == (WORLD_SIZE, {})
    unimported.finish()


def test_a_conflict_that_stays_leaves_the_old_state(unimported: HarmedPipeline) -> None:
    raise_on(unimported, "ic3_asset_master", "insert", "40P01", times=1000)
    unimported.fail(unimported.import_serials, match=f"each of {WORLD_SIZE} rows")
    assert unimported.rows("select 1 from ic3_asset_master") == []


def test_a_server_with_a_stricter_isolation_changes_nothing(pipeline: HarmedPipeline) -> None:
    pipeline.administer(f"alter database {pipeline.name} set default_transaction_isolation = 'serializable'")
    pipeline.database.close()
    assert pipeline.one("show transaction_isolation") == {"transaction_isolation": "read committed"}
    pipeline.finish()


# Values


@pytest.mark.parametrize(
    ("narrow", "widen", "change", "words"),
    [
        (
            "alter table ic3_asset_master alter barcode type varchar(30)",
            "alter table ic3_asset_master alter barcode type text",
            {"data": {"barcode": "x" * 31}},
            "value too long",
        ),
        (
            "alter table ic3_asset_master alter ticketcount type smallint",
            "alter table ic3_asset_master alter ticketcount type integer",
            {"data": {"ticketcount": 40000}},
            "out of range",
        ),
        (
            "alter table ic3_workorder_summary alter ticket_cost type numeric(9, 2)",
            "alter table ic3_workorder_summary alter ticket_cost type numeric(14, 2)",
            {"workorder_transactional": {"upto": {"ticket_cost": "12345678.90"}}},
            "numeric field overflow",
        ),
    ],
    ids=["text too long", "integer overflow", "money overflow"],
)
def test_a_value_that_an_adopted_column_cannot_hold_fails_its_asset_alone(
    pipeline: HarmedPipeline, narrow: str, widen: str, change: dict[str, Any], words: str
) -> None:
    serial = pipeline.serials[REFUSED]
    pipeline.administer(narrow)
    pipeline.simulator.world.change(serial, change)
    report = pipeline.sync(pipeline.first)
    assert (report.status, report.counts.success, report.counts.failed) == ("partial", WORLD_SIZE - 1, 1)
    assert pipeline.asked() == set(pipeline.serials)
    state = pipeline.state(serial)
    assert (state["state"], state["error_class"]) == ("failed", "data")
    assert words in state["error_message"]
    tables = ("ic3_asset_performance", "ic3_workorder_summary")
    for table in tables:
        query = f"select count(*) from {table} where asset_id = :asset"
        assert pipeline.one(query, asset=state["asset_id"]) == {"count": 0}, "nothing of it was written"

    pipeline.administer(widen)
    again = pipeline.run("second", selection=Selection((serial,), asked_before=datetime.now(UTC)))
    assert pipeline.sync(again).status == "complete"
    assert pipeline.asked() == {serial}
    assert set(pipeline.states().values()) == {("synced", None)}


def test_a_column_changed_under_a_running_program_harms_nobody(pipeline: HarmedPipeline) -> None:
    """Nothing is prepared in a session that could be void afterwards."""
    read = "select barcode from ic3_asset_master"
    with pipeline.database.begin() as connection:
        for _ in range(10):
            connection.exec_driver_sql(read)
    pipeline.administer("alter table ic3_asset_master alter barcode type varchar(300)")
    pipeline.rows(read)
    pipeline.finish()


# Servers that refuse


def make_read_only(pipeline: HarmedPipeline) -> None:
    pipeline.administer(f"alter database {pipeline.name} set default_transaction_read_only = on")


def make_writable(pipeline: HarmedPipeline) -> None:
    pipeline.administer(f"alter database {pipeline.name} reset default_transaction_read_only")


def take_every_connection(pipeline: HarmedPipeline) -> None:
    pipeline.administer("alter role worker connection limit 0")


def give_connections(pipeline: HarmedPipeline) -> None:
    pipeline.administer("alter role worker connection limit -1")


@pytest.fixture
def workers(pipeline: HarmedPipeline) -> Iterator[HarmedPipeline]:
    """A pipeline that works as a role of its own: limits do not hold a superuser."""
    superuser = pipeline.database
    pipeline.administer("create role worker login")
    pipeline.administer("grant all on all tables in schema public to worker")
    pipeline.database = pipeline.connect("worker")
    try:
        yield pipeline
    finally:
        pipeline.database.close()
        pipeline.database = superuser
        pipeline.administer("drop owned by worker")
        pipeline.administer("drop role worker")


@pytest.mark.parametrize(
    ("refuse", "allow", "words"),
    [
        (make_read_only, make_writable, "read-only transaction"),
        (take_every_connection, give_connections, "too many connections"),
    ],
    ids=["read-only", "no connections left"],
)
def test_a_server_that_refuses_stops_every_step_and_no_request_is_sent(
    workers: HarmedPipeline,
    refuse: Callable[[HarmedPipeline], None],
    allow: Callable[[HarmedPipeline], None],
    words: str,
) -> None:
    steps: list[Callable[[BatchRun], object]] = [workers.fetch, workers.enrich, workers.settle]
    for number, step in enumerate(steps):
        refuse(workers)
        # Connections that are open already know nothing of it.
        workers.database.close()
        workers.fail(lambda step=step: step(workers.first), match=words)
        assert workers.asked() == set()
        allow(workers)
        workers.database.close()
        never = workers.one("select count(*) from innomaint_sync_state where state = 'never'")
        assert never == {"count": 0 if number == 2 else WORLD_SIZE}
        step(workers.first)
        assert workers.asked() == (set(workers.serials) if number == 0 else set())
    workers.finish()
    assert workers.asked() == set()


@contextmanager
def full_disk(pipeline: HarmedPipeline, table: str) -> Iterator[None]:
    """Let an empty table stand on /dev/full, where the kernel answers every write with “no space left”.

    A small file system would need the right to mount one. Works for every user that may write to the server's
    folder, as the fsync of this server is off: /dev/full takes none.
    """
    (row,) = pipeline.administer(f"select pg_relation_filepath('{table}')")
    path = pipeline.server.files.data / row[0]
    aside = path.with_name(path.name + ".aside")
    assert path.stat().st_size == 0
    # A connection that has the file open would go on writing to it.
    pipeline.database.close()
    path.rename(aside)
    path.symlink_to("/dev/full")
    try:
        yield
    finally:
        pipeline.database.close()
        path.unlink()
        aside.rename(path)


@pytest.mark.parametrize("table", ["innomaint_response", "ic3_asset_performance", "cmms_sync_log"])
def test_a_full_disk_stops_the_step_that_needs_it_and_nothing_is_lost_but_requests(
    pipeline: HarmedPipeline, table: str
) -> None:
    steps = {
        "innomaint_response": pipeline.fetch,
        "ic3_asset_performance": pipeline.enrich,
        "cmms_sync_log": pipeline.settle,
    }
    for name, step in steps.items():
        if name == table:
            with full_disk(pipeline, table):
                pipeline.fail(lambda step=step: step(pipeline.first), match="No space left on device")
            break
        step(pipeline.first)
    asked, stored = pipeline.asked(), pipeline.stored()
    assert stored == (set() if table == "innomaint_response" else asked)
    is_synced = table == "cmms_sync_log"
    assert set(pipeline.states().values()) == {("synced", None) if is_synced else ("never", None)}
    pipeline.finish()
    assert pipeline.asked() == set(pipeline.serials) - stored


def test_an_import_on_a_full_disk_leaves_the_old_state(unimported: HarmedPipeline) -> None:
    with full_disk(unimported, "ic3_asset_master"):
        unimported.fail(unimported.import_serials, match="No space left on device")
    assert unimported.rows("select 1 from ic3_asset_master") == []
    assert unimported.import_serials().inserted == WORLD_SIZE
    unimported.finish()
