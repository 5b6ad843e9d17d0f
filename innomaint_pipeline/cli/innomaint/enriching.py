"""`innomaint enrich`: the IC3 tables once more, from the stored answers (spec 04)."""

from __future__ import annotations

import uuid
from collections import Counter
from zoneinfo import ZoneInfo

from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.innomaint.batch_rows import load_refresh_minutes
from innomaint_pipeline.store.workbook import find_batch_keys
from innomaint_pipeline.sync.innomaint.rebuilding import RebuildTask, rebuild_batches


def run_enrich(settings: Settings, partition_key: str | None) -> dict[str, int]:
    """Rebuild the tables of one batch or all; return rows written by table, `failed`, and `skipped_batches`.

    A batch that a sync works on at the moment is skipped and named.
    """
    with open_database(settings) as (database, _):
        with database.begin() as connection:
            keys = find_batch_keys(connection)
            refresh_minutes = load_refresh_minutes(connection, settings.innomaint_refresh_minutes)
        if partition_key is not None and partition_key not in keys:
            raise ConfigurationError(
                f"there is no partition {partition_key!r}; innomaint status shows how far it is"
            )
        written: Counter[str] = Counter({"failed": 0, "skipped_batches": 0})
        chosen = [partition_key] if partition_key else keys
        tasks = [RebuildTask(key, f"enrich-{uuid.uuid4()}", refresh_minutes) for key in chosen]
        for task, report in rebuild_batches(database, tasks, ZoneInfo(settings.innomaint_timezone)):
            written.update(report.rows_written)
            written["failed"] += report.failed
            if report.is_leased_elsewhere:
                written["skipped_batches"] += 1
                say(f"{task.batch_key} was skipped: a sync works on it now; repeat the command later.")
        return dict(written)
