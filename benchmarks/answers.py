"""Stored answers without a request: what replays are measured with."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from innomaint_pipeline.domain.documents import dump_json
from innomaint_pipeline.domain.innomaint.answers import check_answer
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batches import find_batch_keys
from innomaint_pipeline.store.innomaint.responses import NewAnswer, save_answers
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline.sync.innomaint.rebuilding import RebuildTask, rebuild_batches
from innomaint_pipeline.sync.innomaint.steps import enrich_batch

ZONE = ZoneInfo("Asia/Kolkata")
_CHUNK = 1000


def store_answers(database: Database, world: World) -> None:
    """Store every answer of a world as fetched, not yet enriched; the master holds its serials in order."""
    serials = world.serials
    for first in range(0, len(serials), _CHUNK):
        answers = []
        for offset, serial in enumerate(serials[first : first + _CHUNK]):
            checked = check_answer(dump_json(world.answer(serial)), serial)
            answers.append(NewAnswer(first + offset + 1, checked.body_json, checked.body_hash, 1, 1))
        with database.begin() as connection:
            save_answers(connection, answers, run_id="stored")


def enrich_all(database: Database, run_id: str, *, is_rebuild: bool) -> int:
    """Enrich every batch from its stored answers; return rows written.

    A rebuild is done as `innomaint enrich` does it, the first time one batch after the other, as runs do.
    """
    with database.begin() as connection:
        keys = find_batch_keys(connection)
    if is_rebuild:
        tasks = [RebuildTask(key, run_id, 1440) for key in keys]
        reports = [report for _, report in rebuild_batches(database, tasks, ZONE)]
    else:
        runs = [BatchRun(database, key, run_id, 1440) for key in keys]
        reports = [enrich_batch(run, ZONE, is_rebuild=False, is_last_step=True) for run in runs]
    failed = sum(report.failed for report in reports)
    if failed:
        raise RuntimeError(f"{failed} answers could not be enriched")
    return sum(sum(report.rows_written.values()) for report in reports)
