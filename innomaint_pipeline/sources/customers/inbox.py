"""Where customer lists arrive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from innomaint_pipeline.errors import TransientSourceError


class StillGrowingError(TransientSourceError):
    """The newest file is still being written."""


@dataclass(frozen=True, slots=True)
class Export:
    """A copy of a list."""

    path: Path
    sha256: str
    exported_at: datetime
    name: str
    size: int
    file_time: datetime


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no list."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The newest file is too large."""

    name: str
    size: int
    file_time: datetime


async def look(inbox, folder, *, max_bytes, timezone, is_chosen=False):  # type: ignore[no-untyped-def]
    """Provisional."""
    import hashlib
    from datetime import UTC

    paths = [inbox] if inbox.is_file() else sorted(inbox.glob("*.pdf"), key=lambda p: p.stat().st_mtime)
    if not inbox.exists():
        raise TransientSourceError(f"{inbox} is not there")
    if not paths:
        return Nothing("the folder holds no list")
    path = paths[-1]
    body = path.read_bytes()
    moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    digest = hashlib.sha256(body).hexdigest()
    target = folder / f"{digest}.pdf"
    target.write_bytes(body)
    return Export(target, digest, moment, path.name, len(body), moment)
