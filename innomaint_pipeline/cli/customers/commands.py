"""The commands of the customer list: sync, status, quarantine, release, pause, resume, sample."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from innomaint_pipeline.cli.environment import command_settings, open_database
from innomaint_pipeline.cli.output import json_option, print_json, say
from innomaint_pipeline.domain.customers import SOURCE
from innomaint_pipeline.store.settings import set_paused


@click.group()
def customers() -> None:
    """Keep the customers in step with the lists that an ERP prints."""


@customers.command()
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read this list instead of the newest of CUSTOMERS_INBOX.",
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Tell what would change, and write nothing.")
@json_option
def sync(*, file: Path | None, is_dry_run: bool, is_json: bool) -> int:
    """Read the newest list, check it, and apply what changed."""
    from innomaint_pipeline.cli.customers.sync import run_sync

    return run_sync(command_settings(), file=file, is_dry_run=is_dry_run, is_json=is_json)


@customers.command()
@click.option("--watch", "is_watch", is_flag=True, help="Refresh until Ctrl-C.")
@json_option
def status(*, is_watch: bool, is_json: bool) -> None:
    """Show what runs or ran last, how old the data are, and how many customers there are."""
    from innomaint_pipeline.cli.customers.status import run_status

    run_status(command_settings(), is_watch=is_watch, is_json=is_json)


@customers.command()
@json_option
def quarantine(*, is_json: bool) -> None:
    """Show the lists that were refused and the removals that wait, with what each check found."""
    from innomaint_pipeline.cli.customers.status import run_quarantine

    run_quarantine(command_settings(), is_json=is_json)


def _refuse_option(_: click.Context, option: click.Parameter, value: str) -> str:
    """Refuse what was meant as the next option, where the value of this one was forgotten."""
    if value.startswith("--"):
        raise click.BadParameter(f"found the option {value}, expected a text", param=option)
    return value


@customers.command()
@click.argument("sha")
@click.option(
    "--reason",
    required=True,
    callback=_refuse_option,
    help="Why it is right all the same; kept with who and when.",
)
@json_option
def release(*, sha: str, reason: str, is_json: bool) -> None:
    """Apply a refused list, or the removals that an accepted one holds, by the SHA-256 of the file."""
    from innomaint_pipeline.cli.customers.sync import run_release

    run_release(command_settings(), sha, reason, released_by=getpass.getuser(), is_json=is_json)


@customers.command()
@json_option
def pause(*, is_json: bool) -> None:
    """Let no run begin by itself; what a person asks for is done all the same."""
    _set_paused(is_paused=True, is_json=is_json)


@customers.command()
@json_option
def resume(*, is_json: bool) -> None:
    """Let runs begin by themselves again."""
    _set_paused(is_paused=False, is_json=is_json)


def _set_paused(*, is_paused: bool, is_json: bool) -> None:
    with open_database(command_settings()) as (database, _), database.begin() as connection:
        set_paused(connection, SOURCE, is_paused=is_paused)
    say("The customer list is paused." if is_paused else "The customer list is read by itself again.")
    if is_json:
        print_json({"paused": is_paused})


_FAULTS = (
    *("no_totals", "wrong_totals", "page_dropped", "last_cycle_cut", "column_missing", "columns_reordered"),
    *("other_language", "filtered", "empty", "html", "half_written", "duplicate_id", "bad_id", "encrypted"),
)


@customers.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rows", type=click.IntRange(1, 100_000), default=1452, show_default=True, help="Customers.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other customers.")
@click.option("--cycle", type=click.Choice(["8", "9"]), help="Pages of a slice; default: as the texts need.")
@click.option("--fault", type=click.Choice(_FAULTS), help="What is wrong with the list.")
def sample(*, out: Path, rows: int, seed: int, cycle: str | None, fault: str | None) -> None:
    """Write a list of invented customers, printed as the ERP prints it."""
    from innomaint_pipeline.cli.customers.sample import write_sample

    write_sample(out, rows=rows, seed=seed, cycle=int(cycle) if cycle else None, fault=fault)


CUSTOMERS_COMMANDS = (customers,)
