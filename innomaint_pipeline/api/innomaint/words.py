"""The words for states and error classes, as programs and the page ask for them; `domain` holds them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from innomaint_pipeline.api.models import Answer, Flag, example_field
from innomaint_pipeline.domain.innomaint.batches import STATE_MEANINGS, BatchState
from innomaint_pipeline.domain.states import (
    CLASS_WORDS,
    RETRYABLE_CLASSES,
    WHAT_TO_DO,
    ErrorClass,
    SyncState,
)
from innomaint_pipeline.domain.words import STATE_WORDS, Tone


class WordAnswer(Answer):
    """A state in words: the sign and the colour that stand beside it, and what it means."""

    word: Annotated[str, example_field("partial")]
    sign: Annotated[str, example_field("~")]
    tone: Annotated[Tone, example_field(Tone.PARTIAL)]
    meaning: Annotated[str | None, example_field(STATE_MEANINGS[BatchState.PARTIAL])]


class ErrorClassAnswer(Answer):
    """An error class in words, what to do about it, and whether it is worth asking again."""

    word: Annotated[str, example_field(CLASS_WORDS[ErrorClass.NOT_FOUND])]
    what_to_do: Annotated[str, example_field(WHAT_TO_DO[ErrorClass.NOT_FOUND])]
    is_retryable: Flag


class WordsAnswer(Answer):
    """The words for states and error classes, by their names, in the order in which people see them."""

    states: Annotated[dict[str, WordAnswer], example_field({"partial": WordAnswer.example()})]
    batch_states: Annotated[dict[BatchState, WordAnswer], example_field({"partial": WordAnswer.example()})]
    asset_states: Annotated[dict[SyncState, WordAnswer], example_field({"synced": WordAnswer.example()})]
    error_classes: Annotated[
        dict[ErrorClass, ErrorClassAnswer], example_field({"not_found": ErrorClassAnswer.example()})
    ]


WORDS = WordsAnswer(
    states={name: WordAnswer.model_validate(word) for name, word in STATE_WORDS.items()},
    batch_states={
        state: WordAnswer.model_validate(replace(STATE_WORDS[state], meaning=text))
        for state, text in STATE_MEANINGS.items()
    },
    asset_states={
        state: WordAnswer.model_validate(STATE_WORDS[state])
        for state in (SyncState.SYNCED, SyncState.FAILED, SyncState.NEVER)
    },
    error_classes={
        name: ErrorClassAnswer(word=word, what_to_do=WHAT_TO_DO[name], is_retryable=name in RETRYABLE_CLASSES)
        for name, word in CLASS_WORDS.items()
    },
)
