"""`innomaint demo`: an invented utility against simulated sources.

The demonstration lives in a home of its own, INNOMAINT_HOME/demo, with a database server of its own: its data
never meets real data, and no live command finds the simulator.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from innomaint_pipeline.accounts import ACCOUNT_VARIABLE, WITHOUT_ENV_FILE
from innomaint_pipeline.cli.customers.sync import read_into
from innomaint_pipeline.cli.environment import make_home, open_addresses, open_database
from innomaint_pipeline.cli.innomaint.status import as_json, read_status, render_status
from innomaint_pipeline.cli.innomaint.sync import run_sync
from innomaint_pipeline.cli.maximo.opening import build_runs, describe_row
from innomaint_pipeline.cli.output import people, print_counts, print_json, say
from innomaint_pipeline.cli.workbook import run_import
from innomaint_pipeline.defs.maximo.opening import client_opener
from innomaint_pipeline.domain.innomaint.selection import SyncOptions
from innomaint_pipeline.embedded.server import find_running
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings, load_settings
from innomaint_pipeline.simulator.customers.drawing import draw_list
from innomaint_pipeline.simulator.innomaint.demo import demo_faults
from innomaint_pipeline.simulator.innomaint.faults import FaultScript, Status
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import build_exponential_latency
from innomaint_pipeline.simulator.maximo.server import MaximoSimulator
from innomaint_pipeline.sync.maximo.steps import sync_all

DEMO_ASSETS = 2957
# The simulator allows more than the vendor, so that the demonstration takes a minute instead of ten.
DEMO_RATE_MS = 15
DEMO_LATENCY_SECONDS = 0.03
# A batch takes two seconds at that rate: the usual half a minute between two looks would be mostly idle.
DEMO_SYNC_INTERVAL_SECONDS = 5
DEMO_MAXIMO_KEY = "key-of-the-demonstration"
_REAL_THINGS = (
    "IC3_DATABASE_URL",
    "DAGSTER_PG_URL",
    "INNOMAINT_ALERT_URLS",
    "INNOMAINT_HEARTBEAT_URL",
    ACCOUNT_VARIABLE,
    "INNOMAINT_ACCOUNTS",
)
_WORKBOOK = "asset-master-sample.xlsx"
_INBOX, _LIST = "customer-lists", "customer-list-sample.pdf"


@contextmanager
def demo_environment(settings: Settings, *, has_outage: bool) -> Iterator[Settings]:
    """Run the simulator and yield the settings of the demonstration, which child processes get as well.

    `has_outage`: some assets answer 503 for a while, as they do in the first sync; without it they have
    recovered.
    """
    world = World(DEMO_ASSETS)
    faults = demo_faults(world)
    script = faults.script
    if not has_outage:
        script = FaultScript()
        for serial in faults.unknown:
            script.always(serial, Status(404))
    home = settings.shared_home / "demo"
    make_home(home)
    workbook = home / _WORKBOOK
    if not workbook.exists():
        write_sample_workbook(world, workbook)
    inbox = home / _INBOX
    make_home(inbox)
    if not (inbox / _LIST).exists():
        draw_list(inbox / _LIST)
    latency = build_exponential_latency(DEMO_LATENCY_SECONDS)
    with (
        InnomaintSimulator(world, faults=script, latency=latency) as simulator,
        MaximoSimulator(key=DEMO_MAXIMO_KEY) as maximo,
    ):
        # Neither real databases nor real people or accounts: not from the environment, and not from .env.
        for name in _REAL_THINGS:
            os.environ.pop(name, None)
        os.environ |= {
            WITHOUT_ENV_FILE: "1",
            "INNOMAINT_HOME": str(home),
            "INNOMAINT_API_URL": simulator.url,
            "INNOMAINT_API_TOKEN": "demonstration",
            "INNOMAINT_RATE_MS": str(DEMO_RATE_MS),
            "INNOMAINT_WORKBOOK": str(workbook),
            "INNOMAINT_SYNC_INTERVAL_S": str(DEMO_SYNC_INTERVAL_SECONDS),
            "MAXIMO_BASE_URL": maximo.url,
            "MAXIMO_API_KEY": DEMO_MAXIMO_KEY,
            "MAXIMO_SITES": "KDFAC,LCVIRQ",
            "MAXIMO_RATE_MS": str(DEMO_RATE_MS),
            "CUSTOMERS_INBOX": str(inbox),
        }
        # Links stay valid over restarts in the demonstration, too.
        if settings.innomaint_admin_token:
            os.environ["INNOMAINT_ADMIN_TOKEN"] = settings.innomaint_admin_token.get_secret_value()
        yield load_settings()


def has_demo_data(settings: Settings) -> bool:
    """Tell whether the demonstration has a database already, so that its first sync has begun before."""
    return (settings.shared_home / "demo" / "postgres").exists()


def run_demo(settings: Settings, *, is_json: bool) -> int:
    """Import the sample workbook, sync every batch through Dagster, read Maximo and the customer list.

    Return the exit code.
    """
    began = time.monotonic()
    with demo_environment(settings, has_outage=True) as demo:
        if find_running(demo.home) is not None:
            raise ConfigurationError(
                "the demonstration is running already: stop innomaint up --demo, then start again"
            )
        _start_afresh(demo)
        with open_addresses(demo):
            return _show(demo, began, is_json=is_json)


def _start_afresh(demo: Settings) -> None:
    shutil.rmtree(demo.home / "postgres", ignore_errors=True)
    # Another one would tell of a list as old as the last demonstration.
    draw_list(demo.home / _INBOX / _LIST)


def _show(demo: Settings, began: float, *, is_json: bool) -> int:
    workbook = demo.innomaint_workbook
    if workbook is None:
        raise ConfigurationError("the demonstration has no workbook")
    say(f"1. Importing {workbook}")
    report = run_import(demo, workbook, sheets=(), mapping=None, is_dry_run=False)
    print_counts("Import", report.counts())
    say("2. Syncing every batch through Dagster, against the simulated Innomaint")
    result = run_sync(demo, SyncOptions(), is_quiet=False)
    print_counts("Sync", {name: value for name, value in result.to_json().items() if name != "errors"})
    with open_database(demo) as (database, _):
        status = read_status(demo, database)
    people.print(render_status(status))
    say("3. Reading the simulated Maximo: six structures, two sites")
    with open_database(demo) as (database, _):
        opener = client_opener(demo, database)
        maximo = sync_all(
            build_runs(demo, database, (), demo.maximo_sites), opener, lambda row: say(describe_row(row))
        )
    say("4. Reading the customer list of an ERP, a PDF of 256 pages")
    with open_database(demo) as (database, _):
        customers = read_into(demo, database)
    say(customers["message"])
    counted = status.synced_assets + status.failed_assets + status.never_synced
    is_good = counted == status.total_assets == DEMO_ASSETS and result.stop_code is None
    is_good = is_good and maximo.exit_code == 0 and customers["success"]
    say(f"{counted} = {status.total_assets} assets, in {time.monotonic() - began:.0f} s.")
    say(
        "Some assets failed on purpose: those not found stay so, the transient ones have recovered "
        "meanwhile. Next:\n"
        "  innomaint --demo sync --retry-failed   heals them\n"
        "  innomaint --demo maximo status         shows how Maximo stands\n"
        "  innomaint --demo customers status      shows how the customer list stands\n"
        "  innomaint up --demo (make up DEMO=1)   shows all this in Dagster's UI"
    )
    if is_json:
        print_json(
            {
                "import": report.to_json(),
                "sync": result.to_json(),
                "status": as_json(status),
                "maximo": {"status": maximo.status, "runs": maximo.runs},
                "customers": customers,
            }
        )
    return 0 if is_good else 1
