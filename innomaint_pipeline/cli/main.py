"""The command `innomaint`: what concerns no single source, and the commands of each; exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import ClassVar

import click

from innomaint_pipeline.cli.customers.commands import CUSTOMERS_COMMANDS
from innomaint_pipeline.cli.environment import command_settings, settings_of
from innomaint_pipeline.cli.innomaint.commands import INNOMAINT_COMMANDS
from innomaint_pipeline.cli.maximo.commands import MAXIMO_COMMANDS
from innomaint_pipeline.cli.output import (
    configure_logging,
    end_streams,
    json_option,
    people,
    prepare_streams,
    print_json,
    say,
    silence,
)
from innomaint_pipeline.cli.workbook import WORKBOOK_COMMANDS
from innomaint_pipeline.errors import ConfigurationError, InnomaintPipelineError
from innomaint_pipeline.redaction import install_redaction, redact

INTERRUPTED = 130
_DEMO_HAS_NO_ACCOUNT = "--demo and --account exclude each other: the demonstration has no account"


class _Commands(click.Group):
    """The commands; a name that is none leads to the one that is meant, where that can be told."""

    group_class = type
    _MEANT: ClassVar = {
        "retry-failed": "sync --retry-failed",
        "retry": "sync --retry-failed",
        "upgrade": "db upgrade",
        "start": "up",
        "run": "up",
    }

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the first argument; the usage error for another one names what is meant."""
        name = args[0]
        if name in self.commands or name.startswith("-"):
            return super().resolve_command(ctx, args)
        is_known = ctx.parent is None and name in self._MEANT
        meant = [self._MEANT[name]] if is_known else get_close_matches(name, self.commands)
        path = ctx.command_path
        hint = " or ".join(f"{path} {it}" for it in meant)
        hint = f"Did you mean: {hint}?" if hint else f"{path} --help lists what there is."
        raise click.UsageError(f"There is no command {name!r}. {hint}", ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="innomaint-pipeline")
@click.option(
    "--demo",
    "is_demo",
    is_flag=True,
    help="Run the command in the demonstration's world, with its simulator.",
)
@click.option("--account", help="Work for this account, with the settings of .env.<account> over .env.")
def cli(*, is_demo: bool, account: str | None) -> None:
    """Keep the IC3 asset tables in step with the Innomaint CMMS."""
    if account is not None:
        from innomaint_pipeline.cli.accounts import work_for

        if is_demo:
            raise click.UsageError(_DEMO_HAS_NO_ACCOUNT)
        work_for(account)


@cli.group()
def db() -> None:
    """Manage the database."""


@db.command("upgrade")
@json_option
def db_upgrade(*, is_json: bool) -> None:
    """Create the tables, or adopt those that are there. Can be repeated at will."""
    from innomaint_pipeline.cli.environment import open_addresses, upgrade_own
    from innomaint_pipeline.store.database import Database

    settings = command_settings()
    with open_addresses(settings) as addresses:
        database = Database(addresses.ic3_url)
        try:
            done = upgrade_own(settings, database)
        finally:
            database.close()
    for line in done or ["the tables are up to date"]:
        say(line)
    if is_json:
        print_json({"done": done})


@db.command("adopt-account")
@click.argument("account")
def db_adopt_account(*, account: str) -> None:
    """Let a database that had no account be that of ACCOUNT from now on."""
    from innomaint_pipeline.cli.accounts import adopt_account
    from innomaint_pipeline.domain.customers import SOURCE as CUSTOMERS

    adopt_account(account, folders=(CUSTOMERS,))


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
    from innomaint_pipeline.cli.accounts import load_side_by_side
    from innomaint_pipeline.cli.customers.starting import ask_for_customers, begin_looks
    from innomaint_pipeline.cli.up import run_up

    root = click.get_current_context().find_root()
    if is_demo and root.params["account"] is not None:
        raise click.UsageError(_DEMO_HAS_NO_ACCOUNT)
    is_demo = is_demo or root.params["is_demo"]
    run_up(
        [settings_of(None)] if is_demo else load_side_by_side(),
        is_demo=is_demo,
        port=port,
        admin_port=admin_port,
        first_work=(begin_looks,),
        start_work=(ask_for_customers,),
    )


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
@click.option("--slots", type=click.IntRange(1, 64), help="Runs at once; default: INNOMAINT_WORKER_SLOTS.")
@click.option(
    "--account", "accounts", multiple=True, help="Work for this account; repeatable: a process for each."
)
def worker(*, slots: int | None, accounts: tuple[str, ...]) -> int:
    """Execute the runs that Dagster launches by Celery, on this machine, until Ctrl-C."""
    from innomaint_pipeline.cli.accounts import work_for
    from innomaint_pipeline.cli.worker import run_worker, run_workers

    if len(accounts) > 1:
        return run_workers(accounts, slots=slots)
    for account in accounts:
        work_for(account)
    run_worker(command_settings(), slots=slots)
    return 0


@cli.group()
def token() -> None:
    """Manage the token of the admin service."""


@token.command("new")
@click.option("--save", "is_saved", is_flag=True, help="Write it to .env, so that links stay valid.")
def token_new(*, is_saved: bool) -> None:
    """Make a token for the admin service; without --save only print it."""
    from innomaint_pipeline.cli.serving import make_token, save_token

    made = make_token()
    if not is_saved:
        click.echo(made.get_secret_value())
        return
    say(
        f"INNOMAINT_ADMIN_TOKEN stands in {save_token(made)}: innomaint up takes it from its next start on, "
        "and the page asks for it once."
    )


@cli.command()
@json_option
def demo(*, is_json: bool) -> int:
    """Show the whole program on an invented utility of 2,957 assets; needs no token."""
    from innomaint_pipeline.cli.demo import run_demo

    return run_demo(settings_of(None), is_json=is_json)


for _command in (*WORKBOOK_COMMANDS, *INNOMAINT_COMMANDS, *MAXIMO_COMMANDS, *CUSTOMERS_COMMANDS):
    cli.add_command(_command)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that is closed, end the block as Ctrl-C does.

    With `KeyboardInterrupt`, so that all is cleaned up; a second one does not disturb that. What was started
    to outlive its terminal (nohup) stays so.
    """
    numbers = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def refuse_other_encodings(arguments: Sequence[str]) -> None:
    """Raise `ConfigurationError` for an argument that is no text, unless it is the name of a file."""
    for argument in arguments:
        raw = os.fsencode(argument)
        if raw.decode("utf-8", "replace").encode() != raw and not os.path.lexists(raw):
            shown = raw.decode("utf-8", "backslashreplace")
            raise ConfigurationError(f"the argument '{shown}' is not UTF-8: write it in UTF-8")


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    try:
        prepare_streams()
        install_redaction()
        configure_logging()
        with interruptible():
            refuse_other_encodings(sys.argv[1:] if arguments is None else arguments)
            code = cli.main(args=arguments, prog_name="innomaint", standalone_mode=False)
    except SystemExit:
        # Click's way to say that nobody reads what it prints, like a help text.
        silence(sys.stdout)
        code = 0
    except click.ClickException as error:
        error.show(file=people.file)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted; what was done is kept.")
        code = INTERRUPTED
    except InnomaintPipelineError as error:
        say(redact(f"innomaint: {error}"))
        code = error.exit_code
    end_streams()
    sys.exit(code or 0)
