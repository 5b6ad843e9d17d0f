"""The commands of the source Maximo: sync, enrich, status, probe, export, key, simulate."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from innomaint_pipeline.cli.environment import command_settings, open_database
from innomaint_pipeline.cli.maximo.opening import (
    build_runs,
    check_sites,
    describe_row,
    endpoint_option,
    site_option,
    stored_sites,
    tell_one_off,
)
from innomaint_pipeline.cli.output import json_option, print_counts, print_json, say
from innomaint_pipeline.defs.maximo.opening import client_opener
from innomaint_pipeline.domain.maximo.declarations import find_structures
from innomaint_pipeline.sync.maximo.reading import ReadOptions
from innomaint_pipeline.sync.maximo.steps import find_own_site, rebuild_structure, sync_all


@click.group()
def maximo() -> None:
    """Keep the tables of the schema maximo in step with IBM Maximo."""


def _read_moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time; expected one like 2026-06-20T10:00+03:00") from None
    if moment.tzinfo is None:
        raise click.BadParameter(f"{value!r} has no offset; expected one like 2026-06-20T10:00+03:00")
    return moment


@maximo.command()
@endpoint_option
@site_option
@click.option("--force-full", "is_forced", is_flag=True, help="Read everything in scope, from the start.")
@click.option("--since", callback=_read_moment, help="What changed from this time on, with its offset.")
@click.option(
    "--accept-deletes", "accepts_deletes", is_flag=True, help="Mark as deleted what is gone, however much."
)
@click.option(
    "--accept-drift", "accepts_drift", is_flag=True, help="Accept new attributes; clear vanished ones."
)
@json_option
def sync(
    *,
    endpoints: tuple[str, ...],
    sites: tuple[str, ...],
    is_forced: bool,
    since: datetime | None,
    accepts_deletes: bool,
    accepts_drift: bool,
    is_json: bool,
) -> int:
    """Read Maximo into the tables: increments, or all of it where that is due."""
    if is_forced and since is not None:
        raise click.UsageError("--force-full and --since exclude each other")
    # Both need a whole read behind them.
    is_full = is_forced or accepts_deletes or accepts_drift
    options = ReadOptions(is_full, since, accepts_deletes, accepts_drift)
    settings, chosen = command_settings(), check_sites(sites)
    began = time.monotonic()
    with open_database(settings) as (database, _):
        opener = client_opener(settings, database)
        structures = find_structures(endpoints)
        places: tuple[str, ...] = ()
        if any(structure.has_site for structure in structures):
            places = chosen or settings.maximo_sites
            if not places:
                places = (find_own_site(database, opener, "maximo-whoami"),)
            tell_one_off(settings, database, chosen)
        runs = build_runs(settings, database, endpoints, places, options)
        report = sync_all(runs, opener, lambda row: say(describe_row(row)))
    if report.stopped is not None:
        say(str(report.stopped))
    if is_json:
        duration = round((time.monotonic() - began) * 1000)
        print_json({"status": report.status, "duration_ms": duration, "runs": report.runs})
    return report.exit_code


@maximo.command()
@endpoint_option
@site_option
@json_option
def enrich(*, endpoints: tuple[str, ...], sites: tuple[str, ...], is_json: bool) -> int:
    """Build the tables anew from the stored answers, without a request."""
    settings, chosen = command_settings(), check_sites(sites)
    written: dict[str, int] = {"inserted": 0, "updated": 0, "unchanged": 0, "rejected": 0, "skipped": 0}
    with open_database(settings) as (database, _):
        places = chosen or stored_sites(database, find_structures(endpoints))
        for run in build_runs(settings, database, endpoints, places):
            counts = rebuild_structure(run)
            if counts is None:
                written["skipped"] += 1
                say(f"{run.name} was skipped: a sync works on it now; repeat the command later.")
                continue
            for name, count in counts.items():
                written[name] += count
    print_counts("Rows of the root tables", written)
    if is_json:
        print_json(written)
    return 1 if written["rejected"] or written["skipped"] else 0


@maximo.command()
@click.option("--watch", "is_watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option(
    "--refresh",
    "seconds",
    type=click.IntRange(1, 3600),
    default=5,
    show_default=True,
    help="Seconds between.",
)
@json_option
def status(*, is_watch: bool, seconds: int, is_json: bool) -> None:
    """Show how each structure stands, how many rows each table has, drift and dangling references."""
    from innomaint_pipeline.cli.maximo.status import run_status

    run_status(command_settings(), is_watch=is_watch, refresh_seconds=seconds, is_json=is_json)


@maximo.command()
@json_option
def probe(*, is_json: bool) -> int:
    """Ask the server one question for each thing that was inferred; store nothing."""
    from innomaint_pipeline.cli.maximo.probe import run_probe

    return run_probe(command_settings(), is_json=is_json)


@maximo.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@site_option
@json_option
def export(*, file: Path, sites: tuple[str, ...], is_json: bool) -> None:
    """Write the tables as one SQLite file, which replaces an older one in one step."""
    from innomaint_pipeline.store.maximo.offline import export as export_file

    chosen = check_sites(sites)
    with open_database(command_settings()) as (database, _):
        counts = export_file(database, file, chosen)
    say(f"{sum(counts.values())} rows of {len(counts)} tables are in {file}")
    if is_json:
        print_json({"file": str(file), "counts": counts})


@maximo.group()
def key() -> None:
    """Make or end an API key."""


@key.command("create")
@click.option("--user", help="The user to log in as; asked for on a terminal.")
@click.option("--expires-minutes", type=click.IntRange(min=1), help="How long it lives; default: for ever.")
@click.option("--save", "is_saved", is_flag=True, help="Put it into .env instead of printing it.")
@click.option("--replace", "is_replacing", is_flag=True, help="Though a key in use elsewhere may die.")
def key_create(*, user: str | None, expires_minutes: int | None, is_saved: bool, is_replacing: bool) -> None:
    """Log in once, where login is native, and make an API key; the password is asked for."""
    from innomaint_pipeline.cli.maximo.keys import run_key_create

    run_key_create(
        command_settings(),
        user=user,
        expires_minutes=expires_minutes,
        is_saved=is_saved,
        is_replacing=is_replacing,
    )


@key.command("revoke")
def key_revoke() -> None:
    """End the key in use."""
    from innomaint_pipeline.cli.maximo.keys import run_key_revoke

    run_key_revoke(command_settings())


@maximo.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8098, show_default=True, help="0: a free one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another world.")
@click.option("--faults", type=click.FloatRange(0, 1), default=0.0, help="Share of transient faults.")
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, help="Mean latency in seconds.")
def simulate(**options: Any) -> None:
    """Run the simulated Maximo alone, on this machine only."""
    from innomaint_pipeline.cli.maximo.simulate import run_simulator

    run_simulator(**options)


MAXIMO_COMMANDS = (maximo,)
