"""A process killed at every named moment; the work is then done again and ends as if nothing had happened.

What may differ in the end: times, run ids, generated ids, and what a request cost (a killed run takes the
count of its requests along). The two logs are added to, never changed, so a killed run may have left rows of
its own there: what they must say is asserted by itself.
"""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

import innomaint_pipeline
from innomaint_pipeline.crash_points import CRASH_POINTS
from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.embedded.server import EmbeddedPostgres
from innomaint_pipeline.simulator.innomaint.faults import Status, StatusFalse
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.states import RETRYABLE_CLASSES
from innomaint_pipeline.store.settings import LAST_IMPORT, stored_name
from innomaint_pipeline_tests.conftest import (
    CANARY_TOKEN,
    WORLD_SIZE,
    Pipeline,
    running_simulator,
)
from innomaint_pipeline_tests.faults.crash_child import BATCH_SIZE, Order, do_work, write_order
from innomaint_pipeline_tests.invariants import check_invariants
from innomaint_pipeline_tests.store.test_adoption import OLD_TABLES

PACKAGE = Path(innomaint_pipeline.__file__).parent
UPGRADES = [point for point in CRASH_POINTS if point.startswith("upgrade: ")]
SYNCS = [point for point in CRASH_POINTS if not point.startswith(("upgrade: ", "maximo ", "list: "))]
# Reached for each of the two batches, and a third time in the second pass of settle.
SECOND_PASS = 3
IN_SECOND_PASS = [
    *("store: answers at hand", "store: answers written", "store: answers committed"),
    *("store: failures committed", "enrich: details written", "enrich: states written", "enrich: committed"),
]

KNOWN = BATCH_SIZE
UNCHANGED, CHANGED = 0, 1
HEALED, MISSING, CONTRARY, REFUSED = 6, 7, 8, 9
HEADER = "Sr No,CMMS Asset ID,Asset Name,Criticality,Colour"

COSTS = {"attempts", "duration_ms"}
GENERATED = {"id", "asset_id", "run_id", "owner"}
# Times that the answers hold; of all others only whether there is one can be the same.
TIMES_OF_ANSWERS = {"asset_created_at", "traceability_updated_on"}
LOGS = {"ic3_sync_log", "cmms_sync_log"}
# The shared clock: its numbers are times.
CLOCK = "innomaint_rate_limit"


def calls_of_reach() -> Counter[str]:
    """Return how often the package calls `crash_points.reach` with each point."""
    found: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        named = re.findall(r'\bcrash_points\.reach\("([^"]+)"\)', source)
        calls = re.findall(r"(?<!def )\breach\((?=[\"'\w])", source)
        assert len(calls) == len(named), f"{path}: a call that cannot be replaced"
        found.update(named)
    return found


def test_every_point_is_declared_and_reached_at_one_place() -> None:
    assert calls_of_reach() == dict.fromkeys(CRASH_POINTS, 1)


class Killer:
    """A process that forks a child for each order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "innomaint_pipeline_tests.faults.crash_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PACKAGE.parent,
            # Threads of a library for numbers would not survive a fork.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._orders, self._answers = self._process.stdin, self._process.stdout

    def kill(self, order: Order) -> None:
        """Let a child work until the order's point is reached."""
        self._orders.write(write_order(order))
        self._orders.flush()
        code = int(self._answers.readline())
        assert code == -signal.SIGKILL, f"{order.point!r} was not reached the {order.occurrence}. time"

    def close(self) -> None:
        self._orders.close()
        assert self._process.wait(60) == 0
        self._answers.close()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    made = Killer()
    yield made
    made.close()


@contextmanager
def copied(postgres: EmbeddedPostgres, template: str, name: str) -> Iterator[str]:
    """Copy a database for as long as the block lasts; return its address."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template "{template}"'.encode())
        try:
            yield postgres.url(name)
        finally:
            connection.execute(f'drop database "{name}" with (force)'.encode())


def normalised(database: Database) -> dict[str, list[str]]:
    """Return the rows of every table but logs and clock, without what differs from run to run."""
    with database.begin() as connection:
        names = connection.execute(
            text("select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")
        )
        tables = set(names.scalars()) - LOGS - {CLOCK}
        serials: dict[Any, Any] = {
            key: serial or f"nameless {name}"
            for key, serial, name in connection.execute(
                text("select asset_id, cmms_asset_id, asset_name from ic3_asset_master")
            )
        }
        contents = {}
        for table in sorted(tables):
            rows = connection.execute(text(f'select * from "{table}"')).mappings().all()
            # What the last import counted is told of that import alone.
            rows = [row for row in rows if row.get("name") != stored_name(SOURCE, LAST_IMPORT)]
            contents[table] = sorted(repr(without_chance(dict(row), serials)) for row in rows)
    return contents


def without_chance(row: dict[str, Any], serials: dict[Any, Any]) -> dict[str, Any]:
    kept = {
        name: "a time" if isinstance(value, datetime) and name not in TIMES_OF_ANSWERS else value
        for name, value in row.items()
        if name not in COSTS | GENERATED
    }
    if "asset_id" in row:
        kept["asset"] = serials[row["asset_id"]]
    if row.get("next_due_at") and row.get("last_attempt_at"):
        kept["due after"] = round((row["next_due_at"] - row["last_attempt_at"]).total_seconds())
    return kept


# Upgrade


@pytest.fixture(scope="module")
def old_template(postgres: EmbeddedPostgres) -> str:
    """A predecessor's database with rows."""
    name = "template_of_a_predecessor"
    postgres.ensure_database(name)
    with psycopg.connect(postgres.url(name)) as connection:
        connection.execute(OLD_TABLES.encode())
        connection.execute(
            "insert into ic3_asset_master (cmms_asset_id, report_seq_no, criticality, created_at)"
            " select 'Pump ' || n, 100 - n, 'High', '2024-01-01' from generate_series(1, 8) n"
        )
        connection.execute("insert into ic3_building (building_id, building_name) values (7, 'old')")
    return name


def schema_of(database: Database) -> dict[str, list[Any]]:
    """Return all that an upgrade makes: columns, keys, indexes, checks, triggers, functions."""
    queries = {
        "columns": "select table_name, column_name, data_type, is_nullable, is_identity, column_default"
        " from information_schema.columns where table_schema = 'public'",
        "indexes": "select indexdef from pg_indexes where schemaname = 'public'",
        "constraints": "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'public'::regnamespace",
        "triggers": "select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
        "functions": "select proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace",
    }
    with database.begin() as connection:
        return {
            name: sorted(tuple(row) for row in connection.execute(text(query)))
            for name, query in queries.items()
        }


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(scope="module")
def undisturbed_upgrade(postgres: EmbeddedPostgres, old_template: str) -> tuple[Any, Any]:
    with copied(postgres, old_template, "undisturbed_upgrade") as url, opened(url) as database:
        do_work(Order("upgrade", "undisturbed", url))
        return schema_of(database), normalised(database)


@pytest.mark.parametrize("point", UPGRADES)
def test_an_upgrade_killed_at_any_point_changed_all_or_nothing_and_can_be_repeated(
    point: str,
    postgres: EmbeddedPostgres,
    old_template: str,
    undisturbed_upgrade: tuple[Any, Any],
    killer: Killer,
) -> None:
    with copied(postgres, old_template, "killed_upgrade") as url, opened(url) as database:
        before = schema_of(database)
        order = Order("upgrade", "killed", url, point=point, occurrence=3 if "table made" in point else 1)
        killer.kill(order)
        is_done = point == "upgrade: committed"
        assert schema_of(database) == (undisturbed_upgrade[0] if is_done else before)
        do_work(replace(order, run_id="again"))
        assert (schema_of(database), normalised(database)) == undisturbed_upgrade
        check_invariants(database)


# Import, fetch, store, enrich, settle


def write_workbook(path: Path, serials: tuple[str, ...]) -> Path:
    # In quotes: an id may hold a comma.
    rows = [
        f'{number},"{serial}",Booster {number},Low,blue' for number, serial in enumerate(serials, start=1)
    ]
    path.write_text("\n".join([HEADER, *rows, "99,,nameless,Low,red"]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def half_synced(postgres: EmbeddedPostgres, upgraded_template: str) -> Iterator[str]:
    """A database whose first half was imported and synced once, and that will refuse one of the others."""
    name = "template_half_synced"
    with copied(postgres, upgraded_template, name) as url:
        with opened(url) as database, running_simulator() as simulator:
            made = Pipeline(database, simulator)
            made.import_serials(made.serials[:KNOWN], batch_size=BATCH_SIZE, asset_name="Pump")
            assert made.sync(made.run("earlier")).status == "complete"
            made.execute(
                "alter table ic3_asset_performance add constraint refused"
                f" check (serialnumber <> '{made.serials[REFUSED]}')"
            )
        yield name


def prepare(simulator: InnomaintSimulator) -> None:
    """Let the world move on, and some CMMS assets fail, each in another way."""
    world, later = simulator.world, simulator.world.now() + timedelta(hours=1)
    world.now = lambda: later
    world.change(world.serials[CHANGED], {"data": {"barcode": "another"}})
    simulator.faults.next(world.serials[HEALED], *[Status(500)] * 3)
    simulator.faults.always(world.serials[MISSING], Status(404))
    simulator.faults.always(world.serials[CONTRARY], StatusFalse())


@contextmanager
def set_up(
    postgres: EmbeddedPostgres, template: str, simulator: InnomaintSimulator, folder: Path
) -> Iterator[tuple[Pipeline, Order]]:
    """Yield a database and the world as the work finds them, and the order to do it."""
    with copied(postgres, template, "synced_to_the_end") as url, opened(url) as database:
        prepare(simulator)
        order = Order(
            "sync",
            "killed",
            url,
            api_url=simulator.url,
            token=CANARY_TOKEN,
            workbook=str(write_workbook(folder / "assets.csv", simulator.world.serials)),
            asked_before=datetime.now(UTC).isoformat(),
        )
        yield Pipeline(database, simulator), order
        check_invariants(database)


@pytest.fixture
def scene(
    postgres: EmbeddedPostgres, half_synced: str, simulator: InnomaintSimulator, tmp_path: Path
) -> Iterator[tuple[Pipeline, Order]]:
    with set_up(postgres, half_synced, simulator, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed_end(
    postgres: EmbeddedPostgres,
    half_synced: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with (
        running_simulator() as simulator,
        set_up(postgres, half_synced, simulator, folder) as (pipeline, order),
    ):
        do_work(replace(order, run_id="undisturbed"))
        assert_worked(pipeline)
        return normalised(pipeline.database)


def assert_worked(pipeline: Pipeline) -> None:
    """Assert that the scenario holds what it is meant to hold: every outcome, and both kinds of answers."""
    states = list(pipeline.states().values())
    expected: list[tuple[str, str | None]] = [("synced", None)] * WORLD_SIZE
    expected[MISSING], expected[CONTRARY] = ("failed", "not_found"), ("failed", "contract")
    expected[REFUSED] = ("failed", "data")
    assert states == expected
    versions = pipeline.rows("select sync_version from ic3_asset_master order by asset_id")
    assert [versions[number]["sync_version"] for number in (UNCHANGED, CHANGED, HEALED)] == [1, 2, 1]
    assert pipeline.one("select count(*) from innomaint_import_reject") == {"count": 1}


def lacking(pipeline: Pipeline, asked_before: str) -> set[str]:
    """Return whose answer is not stored, and whose failure was not noted as one that no repeating heals."""
    rows = pipeline.rows(
        "select m.cmms_asset_id, s.state, s.error_class, s.last_attempt_at, r.fetched_at"
        " from ic3_asset_master m join innomaint_sync_state s using (asset_id)"
        " left join innomaint_response r using (asset_id)"
    )
    known = {row["cmms_asset_id"]: row for row in rows}
    since = datetime.fromisoformat(asked_before)

    def lacks(serial: str) -> bool:
        row = known.get(serial)
        if row is None or (row["fetched_at"] and row["fetched_at"] >= since):
            return row is None
        was_asked = row["last_attempt_at"] is not None and row["last_attempt_at"] >= since
        return not was_asked or row["error_class"] in RETRYABLE_CLASSES

    return {serial for serial in pipeline.serials if lacks(serial)}


def assert_all_or_nothing(pipeline: Pipeline) -> None:
    """Assert that what the tables hold of each CMMS asset comes from the answer that its state tells of."""
    rows = pipeline.rows(
        "select m.cmms_asset_id, m.barcode, m.last_synced_at, m.sync_version, s.last_success_at,"
        " (select count(*) from ic3_asset_performance p where p.asset_id = m.asset_id) as performance,"
        " (select count(*) from ic3_workorder_summary w where w.asset_id = m.asset_id) as workorders,"
        " r.body_hash = s.response_hash as is_applied"
        " from ic3_asset_master m join innomaint_sync_state s using (asset_id)"
        " left join innomaint_response r using (asset_id)"
    )
    for row in rows:
        is_synced = row["last_success_at"] is not None
        assert row["last_synced_at"] == row["last_success_at"], row
        assert (row["performance"], row["workorders"]) == ((1, 2) if is_synced else (0, 0)), row
        if row["cmms_asset_id"] == pipeline.serials[CHANGED]:
            is_new = row["barcode"] == "another"
            assert row["sync_version"] == (2 if is_new else 1), row
            assert not is_new or row["is_applied"], row


def assert_logged_once(pipeline: Pipeline) -> None:
    """Assert that the logs tell of every outcome once, whichever of the two runs it belongs to."""
    rows = pipeline.rows(
        "select serialnumber, status, error_class from ic3_sync_log"
        " where sync_type = 'api_sync' and run_id in ('killed', 'again')"
    )
    outcomes = Counter((row["serialnumber"], row["status"], row["error_class"]) for row in rows)
    # The first pass of a killed run failed for it: an outcome, when the killed run noted it.
    outcomes.pop((pipeline.serials[HEALED], "error", "transient"), None)
    states = pipeline.states()
    assert outcomes == {
        (serial, "success" if state == "synced" else "error", error_class): 1
        for serial, (state, error_class) in states.items()
    }
    assert pipeline.one("select count(*) from innomaint_sync_state where not is_logged") == {"count": 0}
    imported = pipeline.rows(
        "select count(*) from ic3_sync_log where sync_type = 'excel_import' and run_id <> 'import'"
        " group by serialnumber"
    )
    assert imported == [{"count": 1}] * WORLD_SIZE
    batches = pipeline.rows("select batch_key from cmms_sync_log where run_id = 'again' order by batch_key")
    assert [row["batch_key"] for row in batches] == ["batch_000001", "batch_000002"]


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [*((point, 1) for point in SYNCS), *((point, SECOND_PASS) for point in IN_SECOND_PASS)],
)
def test_work_killed_at_any_point_and_done_again_ends_as_if_it_had_not_been(
    point: str,
    occurrence: int,
    undisturbed_end: dict[str, list[str]],
    scene: tuple[Pipeline, Order],
    killer: Killer,
) -> None:
    pipeline, order = scene
    killer.kill(replace(order, point=point, occurrence=occurrence))
    check_invariants(pipeline.database)
    assert_all_or_nothing(pipeline)
    missing = lacking(pipeline, order.asked_before)
    # What 30 seconds would do.
    pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 second'")
    pipeline.simulator.record.clear()
    do_work(replace(order, run_id="again"))
    assert set(pipeline.simulator.record.count_by_serial()) == missing
    assert normalised(pipeline.database) == undisturbed_end
    assert_logged_once(pipeline)


@pytest.mark.parametrize(
    "point",
    [
        *("store: answers at hand", "store: answers written", "store: answers committed"),
        *("store: failures written", "store: failures committed"),
        *("enrich: details written", "enrich: states written", "enrich: committed"),
    ],
)
def test_a_killed_sync_of_a_few_at_once_is_ended_by_the_next_run(
    point: str, scene: tuple[Pipeline, Order], killer: Killer
) -> None:
    pipeline, order = scene
    few, missing = pipeline.serials[:3], pipeline.serials[2]
    pipeline.simulator.faults.always(missing, Status(404))
    killer.kill(replace(order, work="single", names=few, point=point))
    check_invariants(pipeline.database)
    assert_all_or_nothing(pipeline)
    pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 second'")

    do_work(replace(order, run_id="again"))

    rows = pipeline.rows(
        "select serialnumber, status from ic3_sync_log where sync_type = 'api_sync' and run_id <> 'earlier'"
    )
    outcomes = Counter((row["serialnumber"], row["status"]) for row in rows if row["serialnumber"] in few)
    assert outcomes == {(serial, "error" if serial == missing else "success"): 1 for serial in few}
    assert_all_or_nothing(pipeline)
