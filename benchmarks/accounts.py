"""Two accounts of very different rates in one `innomaint up`: each at its pace, neither in the way."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.place import (
    INNOMAINT,
    NOTE_STARTS,
    Place,
    Scale,
    count_synced,
    find_free_port,
    find_noted_pauses_ms,
    import_serials,
    keep_running,
    wait_until,
)
from benchmarks.report import Row
from benchmarks.servers import Server, running_postgres
from innomaint_pipeline.accounts import WITHOUT_ENV_FILE
from innomaint_pipeline.domain.pacing import START_TOLERANCE_SECONDS
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database

_SIZE, _BATCH_SIZE = 100, 50
_RATES_MS = {"slow": 1000, "fast": 20}
_PASSWORD = "invented-password-of-the-benchmarks"
# How long a lease lives: a fetch that lasts longer was once taken for lost.
_LEASE_SECONDS = 30
_LIVE = "('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"
_FAILURES = "select count(*) from event_logs where dagster_event_type like '%FAILURE'"
_RUNS = """
select a.value, p.value from runs
join run_tags a on a.run_id = runs.run_id and a.key = 'innomaint/account'
join run_tags p on p.run_id = runs.run_id and p.key = 'dagster/partition'
"""
# Of each step that fetches, how long it lasted.
_FETCHES = """
select step_key, extract(epoch from max(timestamp) - min(timestamp)) from event_logs
where step_key like '%innomaint_response' and dagster_event_type in ('STEP_START', 'STEP_SUCCESS')
group by run_id, step_key
"""


@dataclass
class _Account:
    """An account, its database, and a simulator that takes its token alone."""

    name: str
    database: Database
    simulator: InnomaintSimulator
    serials: tuple[str, ...]
    synced_after_seconds: float | None = None
    pauses_ms: list[float] = field(default_factory=list)

    @property
    def rate_ms(self) -> int:
        return _RATES_MS[self.name]

    @property
    def variables(self) -> dict[str, str]:
        return {
            "INNOMAINT_API_URL": self.simulator.url,
            "INNOMAINT_API_TOKEN": _token_of(self.name),
            "INNOMAINT_RATE_MS": str(self.rate_ms),
            "INNOMAINT_ADMIN_PORT": str(find_free_port()),
            "IC3_DATABASE_URL": self.database.url,
        }


def run(place: Place, scale: str) -> list[Row]:
    """Let both sync everything; the tiny scale leaves it to the tests, which trouble one of them too."""
    if scale == Scale.TINY:
        return []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imb-")))
        server = stack.enter_context(running_postgres(folder, password=_PASSWORD))
        accounts = [_open_account(name, number, server, stack) for number, name in enumerate(_RATES_MS)]
        server.ensure_database("dagster")
        common = {
            "INNOMAINT_ACCOUNTS": ",".join(_RATES_MS),
            "INNOMAINT_BATCH_SIZE": str(_BATCH_SIZE),
            "DAGSTER_PG_URL": server.url("dagster"),
        }
        _write_settings(folder / ".env", common)
        for account in accounts:
            _write_settings(folder / f".env.{account.name}", account.variables)
        environment = place.environment(INNOMAINT_HOME=str(folder / "home"))
        # The files are what is measured here.
        del environment[WITHOUT_ENV_FILE]
        command = [*INNOMAINT, "up", "--port", str(find_free_port())]
        began = time.monotonic()
        with (
            keep_running(command, folder=folder, environment=environment, log=folder / "up.log") as up,
            psycopg.connect(server.url("dagster"), autocommit=True) as dagster,
        ):

            def are_synced() -> bool:
                for account in accounts:
                    if account.synced_after_seconds is None and count_synced(account.database) == _SIZE:
                        account.synced_after_seconds = time.monotonic() - began
                return all(account.synced_after_seconds for account in accounts)

            wait_until(are_synced, "both accounts are synced", [up], folder)
            query = f"select from runs where status in {_LIVE}".encode()
            wait_until(lambda: not dagster.execute(query).rowcount, "no run is under way", [up], folder)
            failures = dagster.execute(_FAILURES).fetchall()[0][0]
            runs = Counter(dagster.execute(_RUNS).fetchall())
            fetches = dagster.execute(_FETCHES).fetchall()
        for account in accounts:
            account.pauses_ms = find_noted_pauses_ms(account.database)
    return list(_rows(accounts, failures, runs, fetches))


def _open_account(name: str, number: int, server: Server, stack: ExitStack) -> _Account:
    # The vendor's example is the first of every world: without it, no two accounts have an asset in common.
    world = World(_SIZE + 1, seed=number + 1)
    simulator = stack.enter_context(InnomaintSimulator(world, token=_token_of(name)))
    database = stack.enter_context(server.database(f"ic3_{name}", batch_size=_BATCH_SIZE, account=name))
    import_serials(database, world.serials[1:], batch_size=_BATCH_SIZE)
    with database.begin() as connection:
        connection.exec_driver_sql(NOTE_STARTS)
    return _Account(name, database, simulator, world.serials[1:])


def _token_of(name: str) -> str:
    return f"invented-token-of-{name}"


def _write_settings(path: Path, variables: dict[str, str]) -> None:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as stream:  # noqa: PTH123 - with its mode
        stream.writelines(f"{name}={value}\n" for name, value in variables.items())


def _rows(
    accounts: list[_Account],
    failures: int,
    runs: Counter[tuple[str, str]],
    fetches: list[tuple[str, float]],
) -> Iterator[Row]:
    scale = f"two accounts of {_SIZE} assets in batches of {_BATCH_SIZE}, at 1,000 and 20 ms"
    slow, fast = accounts
    ends = {account.name: account.synced_after_seconds or 0.0 for account in accounts}
    yield Row(
        "fast account synced, then the slow one, from the start of everything",
        "the fast one first",
        f"{ends['fast']:.0f} s, {ends['slow']:.0f} s",
        "-",
        scale,
        ends["fast"] < ends["slow"],
        {"seconds": ends},
    )
    longest = max(float(seconds) for key, seconds in fetches if key.startswith("slow"))
    yield Row(
        "longest fetch of a batch, of the slow account",
        f"> {_LEASE_SECONDS} s, the life of a lease",
        f"{longest:.0f} s",
        "-",
        scale,
        longest > _LEASE_SECONDS,
        {"seconds": [(key, float(seconds)) for key, seconds in fetches]},
    )
    asked = {account.name: account.simulator.record for account in accounts}
    strange = sum(
        start.status != 200 or start.serial not in account.serials
        for account in accounts
        for start in asked[account.name].starts
    )
    once = [sum(asked[account.name].count(serial) == 1 for serial in account.serials) for account in accounts]
    yield Row(
        "assets asked once with the token of their account, and all other requests",
        f"{_SIZE} and {_SIZE}, 0",
        f"{once[0]} and {once[1]}, {strange}",
        "-",
        scale,
        once == [_SIZE, _SIZE] and strange == 0,
    )
    yield Row(
        "least time between two starts of an account, by its clock",
        f">= {slow.rate_ms} and {fast.rate_ms} ms, less 2 ms of a timer",
        f"{slow.pauses_ms[0]:.1f} and {fast.pauses_ms[0]:.1f} ms",
        "-",
        scale,
        all(item.pauses_ms[0] >= item.rate_ms - 1000 * START_TOLERANCE_SECONDS for item in accounts),
    )
    expected = {(account.name, f"batch_{number:06}"): 1 for account in accounts for number in (1, 2)}
    yield Row(
        "failure events of runs, and runs of the same batch",
        "0, 1",
        f"{failures}, {max(runs.values())}",
        "-",
        scale,
        failures == 0 and runs == expected,
        {"runs": [[*key, count] for key, count in runs.items()]},
    )
