"""The command `innomaint`: what concerns no single source, and the commands of each; exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from innomaint_pipeline.cli.environment import command_settings, own_settings
from innomaint_pipeline.cli.innomaint.commands import INNOMAINT_COMMANDS
from innomaint_pipeline.cli.maximo.commands import MAXIMO_COMMANDS
from innomaint_pipeline.cli.output import configure_logging, json_option, print_json, say
from innomaint_pipeline.cli.workbook import WORKBOOK_COMMANDS
from innomaint_pipeline.errors import InnomaintPipelineError
from innomaint_pipeline.redaction import install_redaction, redact

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="innomaint-pipeline")
@click.option(
    "--demo",
    "is_demo",
    is_flag=True,
    help="Run the command in the demonstration's world, with its simulator.",
)
def cli(*, is_demo: bool) -> None:  # read by command_settings
    """Keep the IC3 asset tables in step with the Innomaint CMMS."""


@cli.group()
def db() -> None:
    """Manage the database."""


@db.command("upgrade")
@json_option
def db_upgrade(*, is_json: bool) -> None:
    """Create the tables, or adopt those that are there. Can be repeated at will."""
    from innomaint_pipeline.cli.environment import open_addresses
    from innomaint_pipeline.store.database import Database
    from innomaint_pipeline.store.upgrade import upgrade_database

    settings = command_settings()
    with open_addresses(settings) as addresses:
        database = Database(addresses.ic3_url)
        try:
            done = upgrade_database(database, batch_size=settings.innomaint_batch_size)
        finally:
            database.close()
    for line in done or ["the tables are up to date"]:
        say(line)
    if is_json:
        print_json({"done": done})


@cli.command()
@click.option("--demo", "is_demo", is_flag=True, help="Against the simulator, in a database of its own.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of Dagster's UI."
)
@click.option(
    "--admin-port",
    type=click.IntRange(1, 65535),
    help="Port of the admin service; default: INNOMAINT_ADMIN_PORT.",
)
def up(*, is_demo: bool, port: int, admin_port: int | None) -> None:
    """Run everything until Ctrl-C: database, Dagster's webserver and daemon, the admin service."""
    from innomaint_pipeline.cli.up import run_up

    is_demo = is_demo or click.get_current_context().find_root().params["is_demo"]
    run_up(own_settings(), is_demo=is_demo, port=port, admin_port=admin_port)


@cli.command()
@click.option("--host", help="Where to listen; default: INNOMAINT_ADMIN_HOST.")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port; default: INNOMAINT_ADMIN_PORT.")
@click.option("--dagster-url", help="Address of Dagster's UI, for links to runs.")
@click.option("--quiet", "is_quiet", is_flag=True, help="Do not print the page's address.")
def serve(*, host: str | None, port: int | None, dagster_url: str | None, is_quiet: bool) -> None:
    """Run the admin service alone, until Ctrl-C: HTTP for programs, and the page /sync."""
    from innomaint_pipeline.cli.serving import run_serve

    run_serve(command_settings(), host=host, port=port, dagster_url=dagster_url, is_quiet=is_quiet)


@cli.command()
@json_option
def demo(*, is_json: bool) -> int:
    """Show the whole program on an invented utility of 2,957 assets; needs no token."""
    from innomaint_pipeline.cli.demo import run_demo

    return run_demo(own_settings(), is_json=is_json)


for _command in (*WORKBOOK_COMMANDS, *INNOMAINT_COMMANDS, *MAXIMO_COMMANDS):
    cli.add_command(_command)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: with `KeyboardInterrupt`, so that all is cleaned up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    install_redaction()
    configure_logging()
    try:
        with interruptible():
            code = cli.main(args=arguments, prog_name="innomaint", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted; what was done is kept.")
        code = INTERRUPTED
    except InnomaintPipelineError as error:
        say(redact(f"innomaint: {error}"))
        code = error.exit_code
    sys.exit(code or 0)
