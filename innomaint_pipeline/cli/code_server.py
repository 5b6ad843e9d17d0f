"""Dagster's code server, whose runs are copies of one process that has imported Dagster and the definitions.

Dagster starts each run in a new interpreter, which imports both anew: on a small machine that costs more than
the rest of a small batch. The arguments are those of `dagster api grpc`.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Sequence
from typing import Any

_FORKED = "forkserver"
_IMPORTED_BEFORE = ["dagster._grpc.server", "dagster_postgres", "innomaint_pipeline.definitions"]


def open_forking_context(imported_before: Sequence[str]) -> Any:
    """Return what forks processes from one that has imported these modules; None where the system cannot."""
    if _FORKED not in multiprocessing.get_all_start_methods():
        return None
    context = multiprocessing.get_context(_FORKED)
    context.set_forkserver_preload(list(imported_before))
    return context


def fork_runs() -> None:
    """Let the code servers of this process fork their runs, where the system can."""
    context = open_forking_context(_IMPORTED_BEFORE)
    if context is None:
        return
    from dagster._grpc.server import DagsterApiServer

    usual = DagsterApiServer.__init__

    def initialize(self: Any, *arguments: Any, **options: Any) -> None:
        usual(self, *arguments, **options)
        if not hasattr(self, "_mp_ctx"):
            raise RuntimeError("this release of Dagster starts its runs in another way than by _mp_ctx")
        self._mp_ctx = context

    DagsterApiServer.__init__ = initialize


def main() -> None:
    """Serve the definitions until the end."""
    from dagster._cli import main as run_dagster

    fork_runs()
    # Dagster ends on SIGTERM as on SIGINT, which is ignored in what a script starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["dagster", "api", "grpc", *sys.argv[1:]]
    run_dagster()


if __name__ == "__main__":
    main()
