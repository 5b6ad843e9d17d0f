"""One vocabulary of states for every surface: one word, one sign, one colour, one meaning each.

Belongs here: what people read of a state, wherever it is shown. The page, the command line and the docs take
it from here; a colour is never alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """A colour by what it stands for: green, amber, red, blue, grey."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    RUNNING = "running"
    NEVER = "never"


@dataclass(frozen=True)
class Word:
    """How people read a state."""

    word: str
    sign: str
    tone: Tone
    meaning: str


_FAILED = Word("failed", "!", Tone.FAILED, "the last try did not succeed: nothing of it, or it was stopped")
_SYNCED = Word("synced", "✓", Tone.COMPLETE, "the last answer was good and is stored")

STATE_WORDS = {
    "synced": _SYNCED,
    "success": _SYNCED,
    "complete": Word("complete", "✓", Tone.COMPLETE, "every asset of it is synced"),
    "done": Word("done", "✓", Tone.COMPLETE, "everything that was asked for is done"),
    "partial": Word("partial", "~", Tone.PARTIAL, "a part of it is failed, or was not asked for"),
    "failed": _FAILED,
    "error": _FAILED,
    "cancelled": Word(
        "cancelled",
        "\N{MULTIPLICATION SIGN}",
        Tone.NEVER,
        "a person or a signal ended it; what was stored is kept",
    ),
    "never": Word("never synced", "○", Tone.NEVER, "there was no good answer and no failure yet"),
    "waiting": Word("waiting", "…", Tone.NEVER, "its turn has not come yet"),
    "running": Word("running", "↻", Tone.RUNNING, "a run works on it"),
    "healthy": Word("healthy", "✓", Tone.COMPLETE, "none of the words for trouble applies"),
    "not_set": Word("not set", "○", Tone.NEVER, "this source is not configured; others are"),
    "unknown": Word("unknown", "?", Tone.NEVER, "nothing was asked for yet"),
    "stale": Word("stale", "~", Tone.PARTIAL, "the oldest good data are older than two refresh intervals"),
    "degraded": Word(
        "degraded",
        "!",
        Tone.PARTIAL,
        "the last 3 batch runs failed, more than 10 % of the CMMS assets are failed, or no worker takes runs",
    ),
    "paused": Word("paused", "‖", Tone.PARTIAL, "a person holds continuous sync"),
    "down": Word("down", "!", Tone.FAILED, "the breaker is open, or Innomaint refuses the token"),
}
"""By the name that tables and JSON have for it."""
