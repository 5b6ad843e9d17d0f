"""One word, one sign, one colour, one meaning for each state, whatever has it."""

from collections import defaultdict

import pytest

from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.innomaint.batches import BatchState
from innomaint_pipeline.domain.innomaint.progress import BatchProgress
from innomaint_pipeline.domain.requests import RequestState
from innomaint_pipeline.domain.states import CLASS_WORDS, ErrorClass, SyncState, title_of_failures
from innomaint_pipeline.domain.words import STATE_WORDS
from innomaint_pipeline.store.innomaint.tables import batch_log, sync_log

KINDS = {
    "asset": list(SyncState),
    "batch": [*BatchState, *BatchProgress],
    "batch run": list(batch_log.c.status.info["values"]),
    "sync of an asset": list(sync_log.c.status.info["values"]),
    "request": list(RequestState),
    "health": list(Health),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_has_its_word(kind: str) -> None:
    assert set(map(str, KINDS[kind])) <= set(STATE_WORDS)


def test_no_word_is_kept_that_nothing_has() -> None:
    assert set(STATE_WORDS) == {str(state) for states in KINDS.values() for state in states}


def test_a_word_has_one_sign_one_colour_and_one_meaning() -> None:
    found = defaultdict(set)
    for word in STATE_WORDS.values():
        found[word.word].add(word)
    assert [word for word, known in found.items() if len(known) > 1] == []


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_a_class_has_one_title_with_a_number_and_without(error_class: ErrorClass) -> None:
    assert title_of_failures(error_class, 3) == f"3 {CLASS_WORDS[error_class]}"
