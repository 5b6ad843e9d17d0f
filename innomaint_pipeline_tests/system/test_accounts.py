"""Two accounts in one `innomaint up`: each at its own pace, and the trouble of one is nobody else's."""

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from innomaint_pipeline.embedded.server import EmbeddedPostgres, embedded_postgres
from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.record import RequestStart
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline_tests.conftest import Pipeline
from innomaint_pipeline_tests.invariants import check_invariants, find_tables_with
from innomaint_pipeline_tests.system.conftest import (
    Ended,
    command_line,
    find_files_with,
    find_free_port,
    find_processes,
    new_home,
    start,
    wait_until,
)
from innomaint_pipeline_tests.system.ui import Ui

pytestmark = pytest.mark.system

SIZE, BATCH_SIZE = 40, 20
# A fetch of the slow one lasts longer than a lease: both of its batches share its clock.
RATES_MS = {"slow": 1000, "fast": 20}
TOKENS = {name: f"account-token-of-{name}-5b1e" for name in RATES_MS}


@dataclass
class Account:
    """An account of a folder, with a simulator that takes its token alone."""

    name: str
    simulator: InnomaintSimulator
    admin_port: int
    url: str

    def statuses(self) -> dict[str, int]:
        """Return the CMMS assets by state."""
        with psycopg.connect(self.url) as connection:
            query = "select state, count(*) from innomaint_sync_state group by 1"
            return dict(connection.execute(query).fetchall())

    def write_settings(self, folder: Path) -> None:
        (folder / f".env.{self.name}").write_text(
            f"INNOMAINT_API_URL={self.simulator.url}\n"
            f"INNOMAINT_API_TOKEN={TOKENS[self.name]}\n"
            f"INNOMAINT_RATE_MS={RATES_MS[self.name]}\n"
            f"INNOMAINT_ADMIN_PORT={self.admin_port}\n",
            encoding="utf-8",
        )
        (folder / f".env.{self.name}").chmod(0o600)


@dataclass(frozen=True)
class SideBySide:
    """What was seen; runs are Dagster's, with their tags, by account."""

    starts: dict[str, tuple[RequestStart, ...]]
    serials: dict[str, tuple[str, ...]]
    order: list[str]
    runs: dict[str, list[dict[str, Any]]]
    partitions: dict[str, list[str]]
    failures_before: int
    locations: dict[str, str]
    materialized: set[str]
    refused_says: dict[str, Any]
    slow_says: dict[str, Any]
    leaks: list[str]
    tokens_held: dict[str, set[str]]
    stopped: Ended


@contextmanager
def folder_of_two() -> Iterator[tuple[Path, EmbeddedPostgres, dict[str, Account]]]:
    """Yield a folder with two accounts, whose masters each hold the world of its simulator."""
    with ExitStack() as stack:
        home = stack.enter_context(new_home("acc"))
        postgres = stack.enter_context(embedded_postgres(home, fast_and_unsafe=True))
        accounts = {}
        for name in RATES_MS:
            simulator = stack.enter_context(InnomaintSimulator(World(SIZE), token=TOKENS[name]))
            postgres.ensure_database(f"ic3_{name}")
            database = Database(postgres.url(f"ic3_{name}"))
            stack.callback(database.close)
            upgrade_database(database, batch_size=BATCH_SIZE, account=name)
            Pipeline(database, simulator).import_serials(batch_size=BATCH_SIZE)
            accounts[name] = Account(name, simulator, find_free_port(), database.url)
            accounts[name].write_settings(home)
        (home / ".env").write_text(
            f"INNOMAINT_ACCOUNTS=slow,fast\nINNOMAINT_BATCH_SIZE={BATCH_SIZE}\nINNOMAINT_SYNC_INTERVAL_S=5\n",
            encoding="utf-8",
        )
        (home / ".env").chmod(0o600)
        yield home, postgres, accounts


def find_tokens_held(home: Path) -> dict[str, set[str]]:
    """Return whose tokens stand in the variables of each process of a home, by its command line."""
    found = {}
    for process in find_processes(home):
        with suppress(psutil.NoSuchProcess):
            values = set(process.environ().values())
            found[command_line(process)] = {name for name, token in TOKENS.items() if token in values}
    return found


def work_side_by_side() -> SideBySide:
    """Sync both; when the fast one is done, refuse its token and drop its database; wait for the slow one."""
    with folder_of_two() as (home, postgres, accounts):
        began = datetime.now(UTC)
        variables = {"INNOMAINT_HOME": str(home)}
        port = find_free_port()

        def run(*arguments: str) -> Ended:
            return start(home, variables, *arguments, is_bare=True).end()

        def rows(query: str) -> list[dict[str, Any]]:
            with psycopg.connect(postgres.url("dagster"), row_factory=dict_row) as connection:
                return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

        def is_synced(name: str) -> Callable[[], bool]:
            return lambda: accounts[name].statuses() == {"synced": SIZE}

        up = start(home, variables, "up", "--port", str(port), is_bare=True)
        try:
            wait_until(is_synced("fast"), "the fast account is synced")
            slow_then = accounts["slow"].statuses()
            failures = rows("select 1 from event_logs where dagster_event_type like '%FAILURE'")
            held = find_tokens_held(home)
            seen = {name: account.simulator.record.starts for name, account in accounts.items()}
            accounts["fast"].simulator.faults.always_everywhere(Status(401))
            refused = run("--account", "fast", "sync", "--all", "--json")
            with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
                connection.execute(sql.SQL("drop database ic3_fast with (force)"))
            wait_until(is_synced("slow"), "the slow account is synced")
            wait_until(
                lambda: (
                    not rows(
                        "select 1 from runs r join run_tags t using (run_id) where t.value = 'slow'"
                        " and t.key = 'innomaint/account'"
                        " and r.status not in ('SUCCESS', 'FAILURE', 'CANCELED')"
                    )
                ),
                "no run of the slow account is left unfinished",
            )
            slow = run("--account", "slow", "status", "--json")
            ui = Ui(port)
            nodes = ui.ask(
                "{ assetNodes { assetKey { path } repository { location { name } } isMaterializable } }"
            )["assetNodes"]
            locations = {
                "/".join(node["assetKey"]["path"]): node["repository"]["location"]["name"] for node in nodes
            }
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in accounts}
            for item in ui.runs():
                tags = {tag["key"]: tag["value"] for tag in item["tags"]}
                runs.setdefault(tags.get("innomaint/account", "nobody"), []).append({**item, "tags": tags})
            partitions: dict[str, list[str]] = {}
            for row in rows("select partitions_def_name, partition from dynamic_partitions order by 2"):
                partitions.setdefault(row["partitions_def_name"], []).append(row["partition"])
            made = {
                "/".join(json.loads(row["asset_key"]))
                for row in rows("select asset_key from asset_keys where last_materialization is not null")
            }
        finally:
            stopped = up.signal(signal.SIGINT)
        database = Database(postgres.url("ic3_slow"))
        check_invariants(database, began)
        database.close()
        leaks = [
            *(
                f"{token} in {table}"
                for token in TOKENS.values()
                for name in ("ic3_slow", "dagster")
                for table in find_tables_with(postgres.url(name), token)
            ),
            *(
                str(path)
                for token in TOKENS.values()
                for path in find_files_with(home, token)
                if not path.name.startswith(".env.")
            ),
        ]
        return SideBySide(
            {**seen, "slow": accounts["slow"].simulator.record.starts},
            {name: account.simulator.world.serials for name, account in accounts.items()},
            ["fast", "slow"] if slow_then != {"synced": SIZE} else ["slow", "fast"],
            runs,
            partitions,
            len(failures),
            locations,
            made,
            {"code": refused.code, **refused.json},
            slow.json,
            leaks,
            held,
            stopped,
        )


SCENARIOS: dict[str, Callable[[], Any]] = {"two accounts": work_side_by_side}


@pytest.fixture
def seen(outcomes: dict[str, Future[SideBySide]]) -> SideBySide:
    return outcomes["two accounts"].result()


def test_each_account_asks_for_its_own_assets_once_at_its_own_pace_and_the_fast_one_ends_first(
    seen: SideBySide,
) -> None:
    assert seen.order == ["fast", "slow"]
    for name, starts in seen.starts.items():
        assert sorted(start.serial or "" for start in starts) == sorted(seen.serials[name])
        # Each simulator takes the token of its own account alone.
        assert {start.status for start in starts} == {200}
        # The first and the last may arrive a little late.
        lasted = starts[-1].monotonic_seconds - starts[0].monotonic_seconds
        assert lasted > 0.8 * (SIZE - 1) * RATES_MS[name] / 1000


def test_no_run_is_lost_or_made_again_and_each_says_whose_it_is(seen: SideBySide) -> None:
    assert seen.failures_before == 0
    assert set(seen.runs) == {"slow", "fast"}
    for name, runs in seen.runs.items():
        batches = [run for run in runs if run["jobName"] == "sync_batch"]
        assert {run["tags"]["dagster-celery/queue"] for run in runs} == {name}
        if name == "slow":
            assert [run["status"] for run in batches] == ["SUCCESS"] * 2
    assert seen.partitions == {
        f"innomaint_batches_{name}": ["batch_000001", "batch_000002"] for name in ("fast", "slow")
    }


def test_each_account_has_a_code_location_with_assets_of_its_own(seen: SideBySide) -> None:
    assert set(seen.locations.values()) == {"innomaint_slow", "innomaint_fast"}
    for key, location in seen.locations.items():
        assert key.startswith(f"{location.removeprefix('innomaint_')}/")
    assert {f"{name}/cmms_sync_log" for name in ("slow", "fast")} <= seen.materialized
    assert all(key.startswith(("slow/", "fast/")) for key in seen.materialized)


def test_a_refused_token_and_a_lost_database_of_one_account_leave_the_other_healthy(seen: SideBySide) -> None:
    assert seen.refused_says["code"] == 3
    assert (seen.slow_says["health"], seen.slow_says["synced_assets"]) == ("healthy", SIZE)
    assert '"ic3_fast" does not exist' in seen.stopped.err
    assert "ic3_slow" not in seen.stopped.err


def test_a_process_holds_the_token_of_its_own_account_alone(seen: SideBySide) -> None:
    for command, names in seen.tokens_held.items():
        assert len(names) <= 1, command
        if "webserver" in command or "_daemon" in command:
            assert not names
    servers = [names for command, names in seen.tokens_held.items() if "--location-name" in command]
    assert {"slow"} in servers
    assert {"fast"} in servers


def test_up_ends_in_order_and_no_token_is_written_anywhere(seen: SideBySide) -> None:
    assert seen.stopped.code == 130
    assert seen.leaks == []
    assert not any(token in seen.stopped.out + seen.stopped.err for token in TOKENS.values())
