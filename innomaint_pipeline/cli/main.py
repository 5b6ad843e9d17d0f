"""The commands of `innomaint`, their options and exit codes (spec 04, "Command line")."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from innomaint_pipeline.cli.interrupts import interruptible
from innomaint_pipeline.cli.output import configure_logging, print_counts, print_json, say
from innomaint_pipeline.errors import InnomaintPipelineError
from innomaint_pipeline.redaction import install_redaction, redact
from innomaint_pipeline.settings import Settings, describe_open_env_file, load_settings

INTERRUPTED = 130

_json_option = click.option(
    "--json", "is_json", is_flag=True, help="Print one JSON object on standard output."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="innomaint-pipeline")
@click.option(
    "--demo",
    "is_demo",
    is_flag=True,
    help="Run the command in the demonstration's world, with its simulator.",
)
def cli(*, is_demo: bool) -> None:  # read by _settings
    """Keep the IC3 asset tables in step with the Innomaint CMMS."""


def _own_settings() -> Settings:
    if warning := describe_open_env_file():
        say(warning)
    return load_settings()


def _settings() -> Settings:
    """Return the settings of the command: the person's, or with --demo the demonstration's."""
    settings = _own_settings()
    root = click.get_current_context().find_root()
    if not root.params["is_demo"]:
        return settings
    from innomaint_pipeline.cli.innomaint.demo import demo_environment

    return root.with_resource(demo_environment(settings, has_outage=False))


@cli.group()
def db() -> None:
    """Manage the database."""


@db.command("upgrade")
@_json_option
def db_upgrade(*, is_json: bool) -> None:
    """Create the tables, or adopt those that are there. Can be repeated at will."""
    from innomaint_pipeline.cli.environment import open_addresses
    from innomaint_pipeline.store.database import Database
    from innomaint_pipeline.store.upgrade import upgrade_database

    settings = _settings()
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


@cli.command("import")
@click.argument("workbook", type=click.Path(path_type=Path))
@click.option("--sheet", help="Name of the sheet; default: the first that has an id column.")
@click.option(
    "--mapping", type=click.Path(path_type=Path), help="A JSON or TOML file that maps headers to columns."
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Count, and change nothing.")
@_json_option
def import_workbook(
    *, workbook: Path, sheet: str | None, mapping: Path | None, is_dry_run: bool, is_json: bool
) -> int:
    """Import the asset master from WORKBOOK."""
    from innomaint_pipeline.cli.importing import run_import

    report = run_import(_settings(), workbook, sheet=sheet, mapping=mapping, is_dry_run=is_dry_run)
    for notice in report.notices:
        say(notice)
    for reason, count in report.reject_reasons.items():
        say(f"rejected ({count}): {reason}")
    print_counts("Dry run, nothing was changed" if is_dry_run else "Import", report.to_json())
    if is_json:
        print_json(report.to_json())
    return 1 if report.rows and report.rejected == report.rows else 0


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Every asset, due or not.")
@click.option("--batch", "limit", type=click.IntRange(min=1), help="This many assets, in report order.")
@click.option(
    "--offset", type=click.IntRange(min=0), help="With --batch: from this position on, counted from 0."
)
@click.option("--partition", "partition_key", help="Every asset of one batch, like batch_000001.")
@click.option("--retry-failed", "is_retry_failed", is_flag=True, help="The failed assets worth retrying.")
@click.option("--asset", "cmms_asset_ids", multiple=True, help="One asset by its CMMS id; repeatable.")
@_json_option
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
    from innomaint_pipeline.domain.requests import SyncOptions

    chosen = [everything, limit is not None, partition_key is not None, is_retry_failed, bool(cmms_asset_ids)]
    if sum(chosen) > 1:
        raise click.UsageError("--all, --batch, --partition, --retry-failed and --asset exclude each other")
    if offset is not None and limit is None:
        raise click.UsageError("--offset goes with --batch")
    options = SyncOptions(everything, limit, offset or 0, partition_key, is_retry_failed, cmms_asset_ids)
    result = run_sync(_settings(), options, is_quiet=False)
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


@cli.command()
@click.option("--partition", "partition_key", help="Only this batch.")
@_json_option
def enrich(*, partition_key: str | None, is_json: bool) -> int:
    """Rebuild the IC3 tables from the stored answers, without a request."""
    from innomaint_pipeline.cli.innomaint.enriching import run_enrich

    report = run_enrich(_settings(), partition_key)
    print_counts("Rows written", report)
    if is_json:
        print_json(report)
    return 1 if report["failed"] else 0


@cli.command()
@click.option("--watch", "is_watch", is_flag=True, help="Refresh every five seconds, until Ctrl-C.")
@_json_option
def status(*, is_watch: bool, is_json: bool) -> None:
    """Show how far the sync is and what failed."""
    from innomaint_pipeline.cli.innomaint.status import run_status

    run_status(_settings(), is_watch=is_watch, is_json=is_json)


@cli.command()
def pause() -> None:
    """Let continuous sync launch nothing until resume; runs under way end as usual."""
    from innomaint_pipeline.cli.settings import set_paused

    set_paused(_settings(), is_paused=True)


@cli.command()
def resume() -> None:
    """Let continuous sync go on."""
    from innomaint_pipeline.cli.settings import set_paused

    set_paused(_settings(), is_paused=False)


@cli.command("set")
@click.argument("name", type=click.Choice(["refresh-minutes", "sync-interval-seconds"]))
@click.argument("value", type=int)
def set_value(*, name: str, value: int) -> None:
    """Change a setting while the program runs, for good."""
    from innomaint_pipeline.cli.settings import change_setting

    change_setting(_settings(), name, value)


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
    run_up(_own_settings(), is_demo=is_demo, port=port, admin_port=admin_port)


@cli.command()
@click.option("--host", help="Where to listen; default: INNOMAINT_ADMIN_HOST.")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port; default: INNOMAINT_ADMIN_PORT.")
@click.option("--dagster-url", help="Address of Dagster's UI, for links to runs.")
@click.option("--quiet", "is_quiet", is_flag=True, help="Do not print the page's address.")
def serve(*, host: str | None, port: int | None, dagster_url: str | None, is_quiet: bool) -> None:
    """Run the admin service alone, until Ctrl-C: HTTP for programs, and the page /sync."""
    from innomaint_pipeline.cli.serving import run_serve

    run_serve(_settings(), host=host, port=port, dagster_url=dagster_url, is_quiet=is_quiet)


@cli.command()
@_json_option
def demo(*, is_json: bool) -> int:
    """Show the whole program on an invented utility of 2,957 assets; needs no token."""
    from innomaint_pipeline.cli.innomaint.demo import run_demo

    return run_demo(_own_settings(), is_json=is_json)


@cli.command()
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
    from innomaint_pipeline.cli.innomaint.demo import run_simulator

    run_simulator(**options)


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
