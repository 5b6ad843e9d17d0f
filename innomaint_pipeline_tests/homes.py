"""Where the homes of tests lie: at short paths, for a socket's is bounded; in memory where that has room."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from innomaint_pipeline.embedded.server import EmbeddedPostgres, embedded_postgres

_IN_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


def make_home(prefix: str) -> Path:
    """Make an empty folder; whoever calls removes it.

    Each test has a database of its own: on a disk, making its files takes five times as long as in memory.
    """
    has_room = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free >= _ROOM_BYTES
    short = _IN_MEMORY if has_room else Path("/tmp")
    return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=short if short.is_dir() else None))


@contextmanager
def temporary_server() -> Iterator[EmbeddedPostgres]:
    """Yield an embedded PostgreSQL in a home of its own, which is gone afterwards."""
    home = make_home("imp")
    try:
        with embedded_postgres(home, fast_and_unsafe=True) as running:
            yield running
        # Its last act is to look into the home once more: a folder removed before would come back.
        with (
            FileLock(home / "postgres.watchdog.lock", timeout=30),
            FileLock(home / "postgres.lock", timeout=30),
        ):
            pass
    finally:
        shutil.rmtree(home)
