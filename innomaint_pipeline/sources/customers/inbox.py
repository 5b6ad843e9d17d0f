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
