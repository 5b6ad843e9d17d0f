"""The work that is killed, and a process that forks a child for each kill.

Started as a program it reads an order a line from its standard input, `Order` as JSON, lets a child of its
own do it, and writes the child's exit code, negative for a signal. Everything is imported once, before the
first fork: a kill then costs little more than the work.
"""

import json
import logging
import os
import signal
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.sources.maximo.client import MaximoClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import find_batch_keys
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.store.upgrade import upgrade_database
from innomaint_pipeline.sync.innomaint.batch import BatchRun, Selection
from innomaint_pipeline.sync.innomaint.fetching import OpenClient
from innomaint_pipeline.sync.innomaint.single import sync_assets
from innomaint_pipeline.sync.innomaint.steps import enrich_batch, fetch_batch, settle_batch
from innomaint_pipeline.sync.maximo.reading import MaximoRun, ReadSettings
from innomaint_pipeline.sync.maximo.steps import sync_structure
from innomaint_pipeline.sync.workbook.importing import import_master

logger = logging.getLogger(__name__)

BATCH_SIZE = 6
FIRST_BATCH = "batch_000001"
KOLKATA = ZoneInfo("Asia/Kolkata")
SITE = "KDFAC"
# Several pages a read, and half of the site may vanish, but not more.
MAXIMO_SETTINGS = ReadSettings(page_size=60, max_delete_pct=60)


@dataclass(frozen=True)
class Order:
    """What to do, and the point and the time of reaching it at which to die."""

    work: Literal["upgrade", "sync", "single", "maximo"]
    run_id: str
    database_url: str
    api_url: str = ""
    token: str = ""
    workbook: str = ""
    asked_before: str = ""
    names: tuple[str, ...] = ()
    point: str = ""
    occurrence: int = 1


def do_work(order: Order) -> None:
    """Upgrade a database; import a workbook and sync every CMMS asset not asked since a time; sync a few.

    Of Maximo: read structures in full.
    """
    database = Database(order.database_url)
    try:
        if order.work == "upgrade":
            upgrade_database(database, batch_size=BATCH_SIZE)
        elif order.work == "single":
            names = {FIRST_BATCH: order.names}
            sync_assets(database, names, _client_opener(database, order), KOLKATA, refresh_minutes=1440)
        elif order.work == "maximo":
            _read_maximo(database, order)
        else:
            import_master(database, Path(order.workbook), batch_size=BATCH_SIZE, run_id=order.run_id)
            with database.begin() as connection:
                batch_keys = find_batch_keys(connection)
            for batch_key in batch_keys:
                _sync(database, order, batch_key)
    finally:
        database.close()


def _client_opener(database: Database, order: Order) -> OpenClient:
    def open_client(run_id: str) -> InnomaintClient:
        pacing = SharedPacing(database, order.api_url, owner=run_id, rate_ms=0)
        policy = RequestPolicy(retry_base_seconds=0.001, timeout_seconds=60)
        return InnomaintClient(order.api_url, SecretStr(order.token), pacing, policy)

    return open_client


def _read_maximo(database: Database, order: Order) -> None:
    def open_client(run_id: str) -> MaximoClient:
        pacing = SharedPacing(database, order.api_url, owner=run_id, rate_ms=0)
        policy = RequestPolicy(retry_base_seconds=0.001, timeout_seconds=60)
        return MaximoClient(order.api_url, SecretStr(order.token), pacing, policy)

    for name in order.names:
        run = MaximoRun(database, BY_SHORT_NAME[name], SITE, order.run_id, MAXIMO_SETTINGS)
        sync_structure(run, open_client)


def _sync(database: Database, order: Order, batch_key: str) -> None:
    open_client = _client_opener(database, order)
    selection = Selection(asked_before=datetime.fromisoformat(order.asked_before))
    run = BatchRun(database, batch_key, order.run_id, 1440, selection)
    fetch_batch(run, open_client, KOLKATA, is_last_step=False)
    enrich_batch(run, KOLKATA, is_rebuild=False, is_last_step=False)
    settle_batch(run, open_client, KOLKATA)


def _die_at(wanted: str, occurrence: int) -> None:
    left = occurrence

    def reach(point: str) -> None:
        nonlocal left
        if point == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    crash_points.reach = reach


def _in_child(order: Order) -> int:
    """Return the exit code of a child that carries the order out."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _die_at(order.point, order.occurrence)
            do_work(order)
            code = 0
        except Exception:
            logger.exception("the work failed")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def write_order(order: Order) -> str:
    """Return an order as the line that the program reads."""
    return json.dumps(asdict(order)) + "\n"


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{_in_child(Order(**json.loads(line)))}\n")
        sys.stdout.flush()
