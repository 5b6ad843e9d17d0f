"""Whether there is a workbook to import: there, at rest, and other than the one that was imported last.

Belongs here: looking at the file, waiting until it rests, and what is kept between two looks. A file that is
still being copied would be imported up to the cut, and an id that is cut would be a CMMS asset for good.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.sources.workbook.container import show_name, show_path
from innomaint_pipeline.store.database import Connection, Database
from innomaint_pipeline.store.settings import (
    IMPORT_VERDICT,
    WORKBOOK_TROUBLE,
    clear_setting,
    load_setting,
    save_setting,
)
from innomaint_pipeline.sync.workbook.importing import ImportReport, WorkbookMark, import_master

_SECONDS_AT_REST = 2.0
# Of a file that was written so long ago it is not waited for; less would trust the clock of a file server.
_SECONDS_OLD = 60.0
_LONGEST_WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.2
_FIRST_REPEAT_SECONDS, _LONGEST_REPEAT_SECONDS = 30.0, 900.0
_UNCHANGED = "the workbook is unchanged"
_MOVING = "the workbook has changed; is it complete?"


def import_at_rest(
    database: Database,
    path: Path,
    *,
    watched: Path | None,
    sheets: Sequence[str] = (),
    mapping_path: Path | None = None,
    batch_size: int,
    run_id: str | None = None,
    is_dry_run: bool = False,
    tell: Callable[[str], None],
) -> ImportReport:
    """Import a workbook once it has come to rest, see `import_master`; again where it changed meanwhile.

    What becomes of the `watched` one is kept, so that it is due until it was imported, or refused for what it
    holds. `tell` is told why it is waited.
    """
    is_watched = not is_dry_run and watched is not None and watched.absolute() == path.absolute()
    while True:
        mark = wait_for_rest(path, tell=tell, has_hash=is_watched)
        try:
            return import_master(
                database,
                path,
                sheets=sheets,
                mapping_path=mapping_path,
                batch_size=batch_size,
                run_id=run_id,
                is_dry_run=is_dry_run,
                mark=mark,
                is_watched=is_watched,
            )
        except WorkbookError:
            if mark is not None and _look(path) != (mark.size, mark.modified_at):
                tell(f"{show_name(path)} changed while it was read: it is read again")
                continue
            if is_watched and mark is not None:
                with database.begin() as connection:
                    save_setting(connection, SOURCE, IMPORT_VERDICT, mark.to_verdict(run_id))
            raise


def wait_for_rest(
    path: Path,
    *,
    tell: Callable[[str], None],
    has_hash: bool,
    longest_seconds: float = _LONGEST_WAIT_SECONDS,
) -> WorkbookMark | None:
    """Return what tells the content of a file once nobody writes to it; None where there is no file.

    Raises `WorkbookError` for one that is written to all the time.
    """
    seen = _look(path)
    if seen is None:
        return None
    began = quiet_since = time.monotonic()
    is_old = time.time() - seen[1] >= _SECONDS_OLD
    is_told = False
    while not is_old and time.monotonic() - quiet_since < _SECONDS_AT_REST:
        time.sleep(_POLL_SECONDS)
        now = _look(path)
        if now is None:
            return None
        if now == seen:
            continue
        seen, quiet_since = now, time.monotonic()
        if not is_told:
            tell(f"{show_name(path)} is being written: the import waits until it is at rest")
            is_told = True
        if quiet_since - began > longest_seconds:
            raise WorkbookError(
                f"{show_name(path)}: the file is still being written after {longest_seconds:.0f} s; "
                "import it again once it is complete"
            )
    try:
        return WorkbookMark(*seen, _hash(path) if has_hash else "")
    except OSError:
        # Why it cannot be read is said by who reads it.
        return None


def _look(path: Path) -> tuple[int, float] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime) if path.is_file() else None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Verdict:
    """The content of the watched workbook that was imported or refused last, and by which run, if by one."""

    mark: WorkbookMark
    run_id: str | None


def load_verdict(connection: Connection) -> Verdict | None:
    """Return what became of the watched workbook last, None before its first import."""
    found = load_setting(connection, SOURCE, IMPORT_VERDICT)
    if found is None:
        return None
    return Verdict(WorkbookMark(found["size"], found["modified_at"], found["sha256"]), found["run_id"])


@dataclass(frozen=True)
class Attempts:
    """The newest import runs that failed in a row: how many, and when the last of them has ended.

    `last_run_id` is the last one's; None when the newest import did not fail.
    """

    failed: int = 0
    ended_seconds_ago: float = 0.0
    last_run_id: str | None = None


@dataclass(frozen=True)
class WorkbookWatch:
    """What a sensor remembers between two looks; files by size and time.

    `pending` was seen once, at `pending_at`, seconds since the epoch; `same` has the content of the verdict
    although it was touched; `launched` is the last one whose import was begun.
    """

    pending: tuple[int, float] | None = None
    pending_at: float = 0.0
    same: tuple[int, float] | None = None
    launched: tuple[int, float] | None = None

    def to_cursor(self) -> str:
        """Return the JSON that a sensor keeps."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})


def parse_watch(cursor: str | None) -> WorkbookWatch:
    """Return what a sensor's cursor holds; nothing remembered for one that holds nothing sensible."""
    try:
        found = json.loads(cursor or "")
        files = {
            name: (int(found[name][0]), float(found[name][1]))
            for name in ("pending", "same", "launched")
            if found.get(name)
        }
        return WorkbookWatch(**files, pending_at=float(found.get("pending_at", 0)))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return WorkbookWatch()


def watch_workbook(
    path: Path, watch: WorkbookWatch, verdict: Verdict | None, attempts: Attempts, *, now: float
) -> tuple[WorkbookWatch, str]:
    """Look at a workbook again; return what to remember, and in words why it is not imported, `""` if it is.

    It is due until its content was imported or refused, and again after an import that came to neither. A
    changed file is taken when its size and time are those of a look two seconds ago at least, and hashed only
    then; one whose import has failed is taken again at growing intervals.
    """
    seen = _look(path)
    if seen is None:
        return replace(watch, pending=None), find_trouble(path) or _MOVING
    is_undecided = attempts.last_run_id is not None and (
        verdict is None or verdict.run_id != attempts.last_run_id
    )
    is_known = verdict is not None and seen in {(verdict.mark.size, verdict.mark.modified_at), watch.same}
    if is_known and not is_undecided:
        return replace(watch, pending=None), _UNCHANGED
    wait = _seconds_to_repeat(attempts) if is_known or seen == watch.launched else 0.0
    if wait > 0:
        return watch, f"the last import failed; it is tried again in {wait:.0f} s"
    # A clock that was set back must not make it wait for ever.
    is_new = watch.pending != seen or watch.pending_at > now
    pending_at = now if is_new else watch.pending_at
    if now - pending_at < _SECONDS_AT_REST:
        return replace(watch, pending=seen, pending_at=pending_at), _MOVING
    try:
        is_same = verdict is not None and verdict.mark.sha256 == _hash(path)
    except OSError:
        return replace(watch, pending=None), find_trouble(path) or _MOVING
    is_due = is_undecided or not is_same
    same = WorkbookWatch(same=seen, launched=watch.launched)
    return (WorkbookWatch(launched=seen), "") if is_due else (same, _UNCHANGED)


def _seconds_to_repeat(attempts: Attempts) -> float:
    """Return how long the import that failed is not yet repeated; zero or less: it is."""
    if not attempts.failed:
        return 0.0
    doubled = _FIRST_REPEAT_SECONDS * 2 ** min(attempts.failed - 1, 10)
    return min(doubled, _LONGEST_REPEAT_SECONDS) - attempts.ended_seconds_ago


def find_trouble(path: Path) -> str | None:
    """Return in words why there is no file to import, `None` if there is one."""
    try:
        if not path.is_file():
            path.stat()
            return (
                f"{show_path(path)} cannot be read: it is "
                f"{'a folder' if path.is_dir() else 'no regular file'}; the asset master stays as it is"
            )
        with path.open("rb"):
            return None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        return f"{show_path(path)} cannot be read: {cause}; the asset master stays as it is"


def note_trouble(database: Database, trouble: str | None) -> None:
    """Keep why there is no file to import, for alerts and health, or forget it when there is one again."""
    with database.begin() as connection:
        if load_setting(connection, SOURCE, WORKBOOK_TROUBLE) == trouble:
            return
        if trouble is None:
            clear_setting(connection, SOURCE, WORKBOOK_TROUBLE)
        else:
            save_setting(connection, SOURCE, WORKBOOK_TROUBLE, trouble)
