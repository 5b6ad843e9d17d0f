"""Moments at which a test kills the process, to see that running again ends as if nothing had happened.

Belongs here: the names of the moments, and `reach`, which the code calls at each of them and which does
nothing. It is called a few times for each set of rows, never for each row, so that what it costs, the call of
an empty function, is lost beside the statement before it. Nothing outside the process can make it do more: it
reads no setting, no file and no variable of the environment. A test's child process puts a function of its
own in its place; therefore callers name the module, `crash_points.reach(…)`.
"""

from __future__ import annotations

from typing import Literal, get_args

CrashPoint = Literal[
    "upgrade: table made or adopted",
    "upgrade: tables declared",
    "upgrade: revisions run",
    "upgrade: batches given",
    "upgrade: committed",
    "import: rows staged",
    "import: rows written",
    "import: batches given",
    "import: rejects written",
    "import: committed",
    "fetch: lease taken",
    "fetch: targets found",
    "store: answers at hand",
    "store: answers written",
    "store: answers committed",
    "store: failures written",
    "store: failures committed",
    "fetch: failures logged",
    "enrich: details written",
    "enrich: states written",
    "enrich: committed",
    "enrich: refusals committed",
    "settle: targets found",
    "settle: second pass stored",
    "settle: second pass enriched",
    "settle: batch row written",
    "settle: batch row committed",
    "maximo fetch: lease taken",
    "maximo fetch: page written",
    "maximo fetch: page committed",
    "maximo fetch: missing ids committed",
    "maximo fetch: complete",
    "maximo merge: rows written",
    "maximo merge: answers settled",
    "maximo merge: run row written",
    "maximo merge: committed",
    "list: run opened",
    "list: file copied",
    "list: file read",
    "list: checks made",
    "list: customers written",
    "list: run closed",
]
CRASH_POINTS: tuple[CrashPoint, ...] = get_args(CrashPoint)


def reach(_point: CrashPoint) -> None:
    """Do nothing: the process is at this point."""
