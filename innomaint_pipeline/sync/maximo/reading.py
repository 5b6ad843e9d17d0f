"""What a read is, who does it, and how far it is.

Belongs here: the data that fetching and merging share.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.questions import Mode, Question
from innomaint_pipeline.domain.maximo.rows import Seen
from innomaint_pipeline.domain.maximo.structures import Structure
from innomaint_pipeline.store.database import Database, find_now
from innomaint_pipeline.store.leases import RENEWAL_SECONDS
from innomaint_pipeline.store.maximo.responses import Place
from innomaint_pipeline.sync.holding import Claim

if TYPE_CHECKING:
    from innomaint_pipeline.sources.maximo.client import MaximoClient

OpenClient: TypeAlias = "Callable[[str], AbstractAsyncContextManager[MaximoClient]]"
"""Opens a client whose requests are paced for the run of the given id."""


@dataclass(frozen=True)
class ReadSettings:
    """The settings of the same names; a `page_size` bounds that of the structures."""

    overlap_seconds: int = 600
    transaction_days: int = 365
    max_delete_pct: float = 2.0
    keeps_personal_data: bool = False
    page_size: int | None = None
    interval_minutes: int = 60

    def size_for(self, structure: Structure) -> int:
        """Return how many rows are asked for at once."""
        return min(structure.page_size, self.page_size or structure.page_size)


@dataclass(frozen=True)
class ReadOptions:
    """What a person asked for."""

    is_forced: bool = False
    since: datetime | None = None
    accepts_deletes: bool = False
    accepts_drift: bool = False


@dataclass(frozen=True)
class MaximoRun:
    """One run of one structure at one site; `run_id` owns its lease."""

    database: Database
    structure: Structure
    site: str | None
    run_id: str
    settings: ReadSettings = field(default_factory=ReadSettings)
    options: ReadOptions = field(default_factory=ReadOptions)
    is_cancelled: Callable[[], bool] = lambda: False
    repeat_after_seconds: float | None = None
    renewal_seconds: float = RENEWAL_SECONDS

    @property
    def place(self) -> Place:
        """The structure and its site, as they are stored."""
        return Place(self.structure.short, self.site or "")

    def now(self) -> datetime:
        """Return the moment by the database's clock: ages are told by it, whatever this machine's says."""
        with self.database.begin() as connection:
            return find_now(connection)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.structure.short if self.site is None else f"{self.structure.short} of {self.site}"

    @property
    def claim(self) -> Claim:
        """The claim to its lease."""
        return Claim(
            self.database,
            lease_name(self.structure, self.site),
            self.run_id,
            self.is_cancelled,
            self.repeat_after_seconds,
            self.renewal_seconds,
        )


def lease_name(structure: Structure, site: str | None) -> str:
    """Return what a run of a structure at a site holds."""
    return f"{SOURCE}/{structure.short}" + (f"/{site}" if site is not None else "")


@dataclass
class Reading:
    """How far a read is; stored with each page, so that a killed one goes on behind it.

    Moments are texts: those that the server wrote, or our own in ISO 8601. `deleted` are the ids that nobody
    answers for, `wrong` those of which a value was left out, with why. `closes_gap`: it reaches back to the
    watermark, so that nothing lies between.
    """

    run_id: str
    mode: str
    filter: str
    started_at: str
    updated_at: str
    size: int
    changed_since: str | None = None
    last_fetch: int | None = None
    words: list[str] | None = None
    booked_since: str | None = None
    watermark_from: str | None = None
    date_form: str | None = None
    last: int | None = None
    pages: int = 0
    fetched: int = 0
    first_page_at: str | None = None
    maxrowstamp: int | None = None
    has_bad_rowstamp: bool = False
    total_before: int | None = None
    total_after: int | None = None
    highest: str | None = None
    booked_offset: str | None = None
    seen: dict[str, Any] = field(default_factory=lambda: Seen().to_json())
    deleted: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    restored_on: str | None = None
    accepts_deletes: bool = False
    accepts_drift: bool = False
    wrong: dict[str, str] = field(default_factory=dict)
    closes_gap: bool = True
    has_all_pages: bool = False
    is_complete: bool = False

    @property
    def is_full(self) -> bool:
        """Tell whether everything in scope was asked for."""
        return self.mode == Mode.FULL

    def question(self, run: MaximoRun) -> Question:
        """Return what is asked."""
        return Question(
            run.structure,
            run.site,
            Mode(self.mode),
            changed_since=self.changed_since,
            last_fetch=self.last_fetch,
            words=None if self.words is None else tuple(self.words),
            booked_since=self.booked_since,
            has_personal_data=run.settings.keeps_personal_data,
        )

    def note(self, sentence: str, *, is_fault: bool = False) -> None:
        """Keep a sentence for the run's message, once; a fault makes the run partial."""
        if sentence not in self.notes:
            self.notes.append(sentence)
        if is_fault and sentence not in self.faults:
            self.faults.append(sentence)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, from which `Reading(**value)` makes the same."""
        return asdict(self)
