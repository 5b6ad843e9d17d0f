"""Which read comes next, from where, and how far it brings a structure: modes, watermarks, due times.

Belongs here: the decisions, from what is stored and what an answer said. A moment that the server delivered
is kept as it was written, since a filter takes it back in that very form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from innomaint_pipeline.domain.maximo.questions import Mode
from innomaint_pipeline.domain.maximo.structures import Cursor, Structure
from innomaint_pipeline.domain.maximo.values import WrongTypeError, parse_moment

RESUME_WITHIN = timedelta(minutes=60)
_WITHOUT_OFFSET = timedelta(hours=1)
_FULL_AT_DAILY, _FULL_AT_WEEKLY, _SUNDAY = 2, 3, 6
_MOST_ROWSTAMPS = 50


class DateForm:
    """How a server takes a moment in a filter."""

    WITH_OFFSET = "offset"
    PLAIN = "plain"


@dataclass(frozen=True)
class Known:
    """What is stored of a structure at a site.

    `rowstamps` are row stamps with the moments at which they were the newest, oldest first; `booked_since`
    is the reach of transactions that the last complete full read gave.
    """

    watermark: str | None = None
    rowstamps: tuple[tuple[int, datetime], ...] = ()
    date_form: str | None = None
    words: tuple[str, ...] | None = None
    full_due_at: datetime | None = None
    due_at: datetime | None = None
    booked_since: str | None = None
    booked_offset: str | None = None
    restored_on: date | None = None


@dataclass(frozen=True)
class Decision:
    """Which read comes next; `reason` is told where it is not what one would expect."""

    mode: Mode
    changed_since: datetime | None = None
    last_fetch: int | None = None
    reason: str = ""


def decide_read(  # noqa: PLR0911 # a decision a line
    structure: Structure,
    known: Known,
    *,
    now: datetime,
    overlap_seconds: float,
    is_forced: bool = False,
    since: datetime | None = None,
) -> Decision:
    """Return which read comes next."""
    if is_forced:
        return Decision(Mode.FULL, reason="asked for")
    if since is not None:
        if structure.cursor is Cursor.CHANGEDATE:
            return Decision(Mode.SINCE, changed_since=since, reason="asked for")
        return Decision(Mode.FULL, reason="it tells of no time of change")
    is_due = known.full_due_at is not None and known.full_due_at <= now
    if structure.cursor is Cursor.NONE or is_due:
        return Decision(Mode.FULL, reason="the full read is due" if is_due else "")
    if known.watermark is None and not known.rowstamps:
        return Decision(Mode.FULL, reason="there is no watermark")
    if known.watermark is not None:
        moment = parse_moment(known.watermark) - timedelta(seconds=overlap_seconds)
        return Decision(Mode.INCREMENT, changed_since=moment)
    return Decision(Mode.INCREMENT, last_fetch=choose_rowstamp(known.rowstamps, overlap_seconds))


def choose_rowstamp(rowstamps: Sequence[tuple[int, datetime]], overlap_seconds: float) -> int:
    """Return the newest row stamp that is older than the overlap, by when the newest one of all was seen.

    A long transaction commits low row stamps late. Where none is old enough, the oldest.
    """
    newest = rowstamps[-1][1]
    old = [stamp for stamp, at in rowstamps if at <= newest - timedelta(seconds=overlap_seconds)]
    return old[-1] if old else rowstamps[0][0]


def literal(moment: datetime, form: str | None) -> str:
    """Return a moment as a filter takes it: in the offset it has, or that wall clock an hour earlier."""
    if form == DateForm.PLAIN:
        return (moment.replace(tzinfo=None) - _WITHOUT_OFFSET).isoformat(timespec="seconds")
    return moment.isoformat(timespec="seconds")


def highest_moment(values: Sequence[object], so_far: str | None) -> str | None:
    """Return the latest of moments, as it was written; what is no moment does not count."""
    latest = parse_moment(so_far) if so_far else None
    for value in values:
        try:
            moment = parse_moment(value)
        except WrongTypeError:
            continue
        if latest is None or moment > latest:
            latest, so_far = moment, str(value)
    return so_far


def new_watermark(
    highest: str | None, *, first_page_at: datetime | None, before: str | None, mode: Mode
) -> str | None:
    """Return the watermark after a read: the latest change seen, not above the time of its first page.

    No rows change nothing, and only a full read may lower it.
    """
    if highest is None:
        return before
    moment = parse_moment(highest)
    if first_page_at is not None and first_page_at < moment:
        # In the offset in which the server writes.
        moment = first_page_at.astimezone(moment.tzinfo)
    if mode is not Mode.FULL and before is not None and parse_moment(before) > moment:
        return before
    return moment.isoformat()


def new_rowstamps(
    before: Sequence[tuple[int, datetime]], stamp: int | None, at: datetime, mode: Mode
) -> tuple[tuple[int, datetime], ...]:
    """Return the row stamps after a read that began at `at`; a full read may lower them, a delta never."""
    if stamp is None:
        return tuple(before)
    if mode is Mode.FULL:
        kept = [item for item in before if item[0] <= stamp]
    elif before and stamp < before[-1][0]:
        return tuple(before)
    else:
        kept = list(before)
    if kept and kept[-1][0] == stamp:
        kept.pop()
    return (*kept[-_MOST_ROWSTAMPS:], (stamp, at))


def next_full_read(structure: Structure, after: datetime) -> datetime:
    """Return when the next full read is due: Sunday 03:00 or each day 02:00, UTC."""
    moment = after.astimezone(UTC)
    hour = _FULL_AT_WEEKLY if structure.is_weekly else _FULL_AT_DAILY
    due = moment.replace(hour=hour, minute=0, second=0, microsecond=0)
    if structure.is_weekly:
        due += timedelta(days=(_SUNDAY - due.weekday()) % 7)
    if due <= moment:
        due += timedelta(days=7 if structure.is_weekly else 1)
    return due


def transactions_reach(known: Known, *, now: datetime, days: int) -> datetime:
    """Return since when transactions are asked for: the last reach; the longest at first and each Sunday."""
    if known.booked_since is not None and now.astimezone(UTC).weekday() != _SUNDAY:
        return parse_moment(known.booked_since)
    return longest_reach(known, now=now, days=days)


def longest_reach(known: Known, *, now: datetime, days: int) -> datetime:
    """Return the longest reach of transactions, in the offset in which the server writes them."""
    moment = now.astimezone(UTC) - timedelta(days=days)
    if known.booked_offset is not None:
        moment = moment.astimezone(parse_moment(known.booked_offset).tzinfo)
    return moment


def largest_harmless_loss(held: int, most_pct: float) -> float:
    """Return how many rows of so many may be found deleted at once."""
    return max(20.0, held * most_pct / 100)


def smallest_drift(rows: int) -> float:
    """Return how many of so many rows must have held an attribute for its absence to be told."""
    return max(20.0, rows * 0.05)
