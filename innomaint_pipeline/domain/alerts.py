"""When people are told: on each change for the worse, on recovery, and once a day while it lasts.

Belongs here: the decision. The conditions come from `store.alerts`, `sources.notifications` delivers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

REMINDER_AFTER = timedelta(days=1)


class NoticeKind(StrEnum):
    """What a notice says of its condition."""

    RAISED = "raised"
    REMINDER = "reminder"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Condition:
    """Something that may be wrong now: `value` names what is wrong, None when nothing is."""

    name: str
    value: str | None
    message: str


@dataclass(frozen=True)
class Told:
    """What people were last told of a condition."""

    value: str | None
    at: datetime


@dataclass(frozen=True)
class Notice:
    """One message to people; `value` is what they will have been told once it is delivered."""

    name: str
    kind: NoticeKind
    value: str | None
    message: str


def decide_notices(conditions: Sequence[Condition], told: Mapping[str, Told], now: datetime) -> list[Notice]:
    """Return what people must be told now; nothing twice, but a reminder a day."""
    notices = []
    for condition in conditions:
        last = told.get(condition.name)
        known = last.value if last else None
        if condition.value != known:
            kind = NoticeKind.RAISED if condition.value is not None else NoticeKind.RECOVERED
        elif condition.value is not None and last is not None and now - last.at >= REMINDER_AFTER:
            kind = NoticeKind.REMINDER
        else:
            continue
        notices.append(Notice(condition.name, kind, condition.value, condition.message))
    return notices
