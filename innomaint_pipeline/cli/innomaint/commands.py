"""The commands of the source Innomaint: sync, enrich, status, pause, resume, set, simulate."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from innomaint_pipeline.cli.environment import command_settings, open_database
from innomaint_pipeline.cli.output import json_option, print_counts, print_json, say
from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.domain.innomaint.batches import describe_unknown_batch
from innomaint_pipeline.domain.innomaint.selection import AT_ONCE, SyncOptions, SyncResult
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings

# The bounds of INNOMAINT_REFRESH_MINUTES and INNOMAINT_SYNC_INTERVAL_S.
_BOUNDS = {"refresh-minutes": (5, 1440), "sync-interval-seconds": (5, 3600)}


@click.command()
@click.option("--all", "everything", is_flag=True, help="Every asset, due or not.")
@click.option("--batch", "limit", type=click.IntRange(min=1), help="This many assets, in report order.")
@click.option(
    "--offset", type=click.IntRange(min=0), help="With --batch: from this position on, counted from 0."
)
@click.option("--partition", "partition_key", help="Every asset of one batch, like batch_000001.")
@click.option("--retry-failed", "is_retry_failed", is_flag=True, help="The failed assets worth retrying.")
@click.option("--asset", "cmms_asset_ids", multiple=True, help="One asset by its CMMS id; repeatable.")
@json_option
def sync(
    *,
    everything: bool,
    limit: int | None,
    offset: int | None,
    partition_key: str | None,
    is_retry_failed: bool,
    cmms_asset_ids: tuple[str, ...],
    is_json: bool,
) -> int:
    """Sync what is due, or what the options select."""
    from innomaint_pipeline.cli.innomaint.sync import run_sync

    chosen = [everything, limit is not None, partition_key is not None, is_retry_failed, bool(cmms_asset_ids)]
    if sum(chosen) > 1:
        raise click.UsageError("--all, --batch, --partition, --retry-failed and --asset exclude each other")
    if offset is not None and limit is None:
        raise click.UsageError("--offset goes with --batch")
    options = SyncOptions(everything, limit, offset or 0, partition_key, is_retry_failed, cmms_asset_ids)
    settings = command_settings()
    if 0 < len(cmms_asset_ids) <= AT_ONCE:
        return _sync_at_once(settings, cmms_asset_ids, is_json=is_json)
    result = run_sync(settings, options, is_quiet=False)
    return _tell_result(result, is_json=is_json)


def _sync_at_once(settings: Settings, names: tuple[str, ...], *, is_json: bool) -> int:
    """Sync a few in this process, tell people what became of them, and then Dagster."""
    from innomaint_pipeline.cli.environment import export_for_dagster
    from innomaint_pipeline.cli.innomaint.single import run_single, tell_dagster

    with open_database(settings, uses_dagster=True) as (database, addresses):
        result, report = run_single(settings, database, names)
        code = _tell_result(result, is_json=is_json)
        export_for_dagster(settings, addresses)
        tell_dagster(report)
    return code


def _tell_result(result: SyncResult, *, is_json: bool) -> int:
    counts = {name: value for name, value in result.to_json().items() if name != "errors"}
    print_counts("Sync", counts)
    for line in result.errors[:20]:
        say(f"  {line}")
    if len(result.errors) > 20:
        say(f"  and {len(result.errors) - 20} more; see innomaint status")
    if result.stop_message:
        say(result.stop_message)
    if is_json:
        print_json(result.to_json())
    return result.exit_code


@click.command()
@click.option("--partition", "partition_key", help="Only this batch.")
@json_option
def enrich(*, partition_key: str | None, is_json: bool) -> int:
    """Rebuild the IC3 tables from the stored answers, without a request."""
    report = run_enrich(command_settings(), partition_key)
    print_counts("Rows written", report)
    if is_json:
        print_json(report)
    return 1 if report["failed"] else 0


@click.command()
@click.option("--watch", "is_watch", is_flag=True, help="Refresh every five seconds, until Ctrl-C.")
@click.option("--all-accounts", "is_of_all", is_flag=True, help="Of every account of INNOMAINT_ACCOUNTS.")
@json_option
def status(*, is_watch: bool, is_of_all: bool, is_json: bool) -> int:
    """Show how far the sync is and what failed."""
    from innomaint_pipeline.cli.innomaint.status import run_status, run_status_of_all

    if is_of_all:
        from innomaint_pipeline.cli.accounts import load_side_by_side

        if is_watch:
            raise click.UsageError("--watch and --all-accounts exclude each other")
        return run_status_of_all(load_side_by_side(), is_json=is_json)
    run_status(command_settings(), is_watch=is_watch, is_json=is_json)
    return 0


@click.command()
def pause() -> None:
    """Let continuous sync launch nothing until resume; runs under way end as usual."""
    save_pause(command_settings(), is_paused=True)


@click.command()
def resume() -> None:
    """Let continuous sync go on."""
    save_pause(command_settings(), is_paused=False)


@click.command("set")
@click.argument("name", type=click.Choice(["refresh-minutes", "sync-interval-seconds"]))
@click.argument("value", type=int)
def set_value(*, name: str, value: int) -> None:
    """Change a setting while the program runs, for good."""
    change_setting(command_settings(), name, value)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback only.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8099, show_default=True, help="0 takes a free one."
)
@click.option(
    "--assets", type=click.IntRange(min=1), default=2957, show_default=True, help="Size of the world."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another world.")
@click.option(
    "--latency", type=click.FloatRange(min=0), default=0.0, help="Mean latency in seconds, exponential."
)
@click.option("--faults", type=click.FloatRange(0, 1), default=0.0, help="Share of transient faults.")
@click.option("--demo-faults", "has_demo_faults", is_flag=True, help="The faults of the demonstration.")
@click.option("--limit", type=click.IntRange(min=1), help="Requests a second that the vendor allows.")
@click.option("--workbook", type=click.Path(path_type=Path), help="Also write the matching workbook here.")
def simulate(**options: Any) -> None:
    """Run the simulated Innomaint alone, on this machine only."""
    from innomaint_pipeline.cli.innomaint.simulate import run_simulator

    run_simulator(**options)


INNOMAINT_COMMANDS = (sync, enrich, status, pause, resume, set_value, simulate)


def run_enrich(settings: Settings, partition_key: str | None) -> dict[str, int]:
    """Rebuild the tables of one batch or all; return rows written by table, `failed`, and `skipped_batches`.

    A batch that a sync works on at the moment is skipped and named.
    """
    from innomaint_pipeline.store.innomaint.batches import find_batch_keys
    from innomaint_pipeline.store.settings import load_refresh_minutes
    from innomaint_pipeline.sync.innomaint.rebuilding import RebuildTask, rebuild_batches

    with open_database(settings) as (database, _):
        with database.begin() as connection:
            keys = find_batch_keys(connection)
            refresh_minutes = load_refresh_minutes(connection, SOURCE, settings.innomaint_refresh_minutes)
        if partition_key is not None and partition_key not in keys:
            raise ConfigurationError(describe_unknown_batch(partition_key, keys))
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


def save_pause(settings: Settings, *, is_paused: bool) -> None:
    """Pause continuous sync, or let it go on."""
    from innomaint_pipeline.store.settings import set_paused

    with open_database(settings) as (database, _), database.begin() as connection:
        set_paused(connection, SOURCE, is_paused=is_paused)
    say(
        "Continuous sync is paused; innomaint resume continues it."
        if is_paused
        else "Continuous sync goes on."
    )


def change_setting(settings: Settings, name: str, value: int) -> None:
    """Store a setting; raise `ConfigurationError` for a value outside its bounds."""
    lowest, highest = _BOUNDS[name]
    if not lowest <= value <= highest:
        raise ConfigurationError(f"{name} is {value}, expected a whole number from {lowest} to {highest}")
    from innomaint_pipeline.store.innomaint.due_batches import change_refresh_minutes
    from innomaint_pipeline.store.settings import SYNC_INTERVAL_SECONDS, save_setting

    with open_database(settings) as (database, _), database.begin() as connection:
        if name == "refresh-minutes":
            change_refresh_minutes(connection, value)
        else:
            save_setting(connection, SOURCE, SYNC_INTERVAL_SECONDS, value)
    say(f"{name} is {value} from now on.")
