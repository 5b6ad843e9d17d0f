"""What a person asks to be synced, in words, and how long a caller may wait for it."""

import pytest

from innomaint_pipeline.domain.innomaint.selection import SyncOptions, waiting_seconds


def test_a_caller_waits_300_ms_for_each_asset_and_30_s_more() -> None:
    assert waiting_seconds(100) == 60.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SyncOptions(), "what is due"),
        (SyncOptions(everything=True), "everything"),
        (SyncOptions(is_retry_failed=True), "retry failed"),
        (SyncOptions(limit=5, offset=2), "5 assets from position 2"),
        (SyncOptions(limit=5, is_retry_failed=True), "5 retryable failures from position 0"),
        (SyncOptions(partition_key="batch_000001"), "batch batch_000001"),
        (SyncOptions(cmms_asset_ids=("A 1", "B/2")), "A 1, B/2"),
    ],
)
def test_a_selection_is_described_in_words(options: SyncOptions, words: str) -> None:
    assert options.describe() == words
