"""`innomaint worker`: executes the runs that Dagster hands to Celery, on any machine, until it is stopped.

Belongs here: what is looked at before it takes any, and how it stops. What a run is made of, and how it is
executed, are Dagster's and Celery's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innomaint_pipeline.cli.engine import CELERY, find_engine, require_engine
from innomaint_pipeline.cli.environment import (
    Addresses,
    export_for_dagster,
    hand_on,
    open_database,
    project_folder,
)
from innomaint_pipeline.cli.output import say, write_output_to
from innomaint_pipeline.embedded.watch import bound_log
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.upgrade import find_missing

if TYPE_CHECKING:
    from celery import Celery
    from celery.apps.worker import Worker

_BROKER_SECONDS = 10


def run_workers(accounts: Sequence[str], *, slots: int | None) -> int:
    """Run a worker for each account, in a process of its own, and pass signals on to all of them.

    One that ends leaves the others alone. Return the first exit code that is not 0.
    """
    options = [] if slots is None else ["--slots", str(slots)]
    command = [sys.executable, "-m", "innomaint_pipeline.cli", "worker", *options, "--account"]
    running = [subprocess.Popen([*command, account], start_new_session=True) for account in accounts]  # noqa: S603 # our own interpreter

    def pass_on(*_: object) -> None:
        for process in running:
            process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    return next((code for code in [process.wait() for process in running] if code), 0)


def run_worker(settings: Settings, *, slots: int | None) -> None:
    """Check all that a run needs, say so, and execute runs until SIGTERM or Ctrl-C.

    The first one lets the runs under way end, a second one cancels them; what they stored is kept. Takes the
    runs of the settings' account, or those of no account.
    """
    folder = project_folder()
    engine = find_engine(folder)
    if engine != CELERY:
        named = f"lets {engine} execute" if engine else "lets the machine of innomaint up execute"
        raise ConfigurationError(
            f"the dagster.yaml of {folder} {named} the runs, so that no worker gets any: start both in a "
            "folder with the files of deploy/celery"
        )
    require_engine(engine, settings)
    hand_on([settings])
    # Refused as a setting is: repeating does not help.
    with open_database(settings, uses_dagster=True, is_upgraded_next=True) as (database, addresses):
        with database.begin() as connection:
            missing = find_missing(connection)
        if missing is not None:
            raise ConfigurationError(
                f"the database ({database.place}) lacks {missing}; run: innomaint db upgrade"
            )
    app = _prepare(settings, addresses)
    log = settings.home / "logs" / "worker.log"
    queue = settings.innomaint_account or app.conf.task_default_queue
    _execute(app, slots or settings.innomaint_worker_slots, queue, log)


def _prepare(settings: Settings, addresses: Addresses) -> Celery:
    """Return the app; everything that a run imports is imported, so that each is forked with it."""
    export_for_dagster(settings, addresses)
    import dagster as dg
    from kombu.exceptions import OperationalError

    import innomaint_pipeline.definitions  # noqa: F401 # forked with it
    from innomaint_pipeline.defs.launchers.celery import LeasedCeleryRunLauncher, build_worker_app

    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, LeasedCeleryRunLauncher):
            raise ConfigurationError(
                f"the run_launcher of dagster.yaml is {type(launcher).__name__}, expected "
                "LeasedCeleryRunLauncher, as in deploy/celery"
            )
        app = build_worker_app(launcher)
    try:
        with app.connection_for_read(connect_timeout=_BROKER_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, timeout=_BROKER_SECONDS)
    except OperationalError as error:
        raise ConfigurationError(
            f"the broker of INNOMAINT_BROKER_URL cannot be reached ({error}): see that Redis runs there and "
            "lets this machine in"
        ) from None
    return app


def _execute(app: Celery, slots: int, queue: str, log: Path) -> None:
    from celery import signals
    from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

    # A task is JSON, no code that a stranger could send to root; and a lost broker is to end no run.
    for category in (SecurityWarning, CPendingDeprecationWarning):
        warnings.simplefilter("ignore", category)

    def begin_child(**_: Any) -> None:
        # Ctrl-C in a terminal reaches the worker alone, which then decides about the runs.
        os.setpgrp()
        write_output_to(log)

    def begin(sender: Any, **_: Any) -> None:
        _Stop(sender.controller).install()
        say(f"Ready: {slots} runs at once (what they print: {log}). Ctrl-C lets those under way end.")

    signals.worker_process_init.connect(begin_child, weak=False)
    signals.worker_ready.connect(begin, weak=False)
    signals.task_prerun.connect(lambda **_: bound_log(log), weak=False)
    # Logging is set up already, with secrets taken out.
    signals.setup_logging.connect(lambda **_: None, weak=False)
    worker = app.Worker(
        concurrency=slots,
        pool="prefork",
        queues=[queue],
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
        quiet=True,
    )
    worker.start()
    say("This worker has ended.")


class _Stop:
    """What a signal does: the first lets the runs under way end, a later one cancels them."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._signals = 0

    def install(self) -> None:
        """Replace Celery's own handlers, of which a second signal would kill the runs."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, *_: object) -> None:
        from celery.worker import state

        from innomaint_pipeline.defs.launchers.celery import find_run

        self._signals += 1
        run_ids = [find_run(request.kwargs) for request in state.active_requests]
        if self._signals == 1:
            state.should_stop = os.EX_OK
            if run_ids:
                say(f"Waiting for {len(run_ids)} runs under way; once more, and they are cancelled.")
        elif self._signals == 2:
            say(f"Cancelling {len(run_ids)} runs; what they stored is kept.")
            threading.Thread(target=_cancel, args=(run_ids,), daemon=True).start()


def _cancel(run_ids: list[str]) -> None:
    """Wish the end of runs, as Terminate does: each reads it with the next renewal of its lease."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        for run_id in run_ids:
            run = instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                instance.report_run_canceling(run)
