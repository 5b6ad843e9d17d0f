"""What is refused before anything starts, and with which exit code."""

import os
from pathlib import Path

import pytest

from innomaint_pipeline.cli.demo import demo_environment
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline_tests.cli.conftest import Cli

CLOSED = "postgresql://somebody@127.0.0.1:1/ic3"
COMMANDS_WITH_A_DATABASE = [
    ["status"],
    ["db", "upgrade"],
    ["enrich"],
    ["sync"],
    ["import", "master.csv"],
]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["sync", "--nonsense"],
        ["sync", "--all", "--retry-failed"],
        ["sync", "--batch", "5", "--partition", "batch_000001"],
        ["sync", "--asset", "P 1", "--all"],
        ["sync", "--offset", "5"],
        ["sync", "--offset", "0", "--all"],
        ["sync", "--batch", "0"],
        ["sync", "--batch", "many"],
        ["sync", "--batch", "5", "--offset", "-1"],
        ["import"],
        ["import", "a.xlsx", "b.xlsx"],
        ["db"],
        ["db", "downgrade"],
        ["up", "--port", "0"],
        [],
    ],
    ids=" ".join,
)
def test_a_usage_error_exits_with_2_and_starts_nothing(cli: Cli, arguments: list[str]) -> None:
    ended = cli(*arguments)

    assert ended.code == 2
    assert "Usage: innomaint" in ended.err
    assert ended.out == ""
    assert not cli.home.exists()


def test_exclusive_selections_are_named(cli: Cli) -> None:
    assert "exclude each other" in cli("sync", "--all", "--retry-failed").err


def test_an_offset_alone_is_told_what_it_goes_with(cli: Cli) -> None:
    assert "--offset goes with --batch" in cli("sync", "--offset", "5").err


@pytest.mark.parametrize("arguments", [["--help"], ["sync", "-h"], ["--version"]])
def test_help_and_version_exit_with_0_on_standard_output(cli: Cli, arguments: list[str]) -> None:
    ended = cli(*arguments)

    assert ended.code == 0
    assert "innomaint" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("arguments", [["sync"], ["sync", "--all", "--json"], ["up"]])
def test_a_missing_token_exits_with_2_and_no_database_is_started(cli: Cli, arguments: list[str]) -> None:
    ended = cli(*arguments)

    assert ended.code == 2
    assert "INNOMAINT_API_TOKEN is not set" in ended.err
    assert "innomaint demo" in ended.err
    assert ended.out == ""
    assert not cli.home.exists()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("INNOMAINT_RATE_MS", "often", "whole milliseconds"),
        ("INNOMAINT_API_URL", "http://innomaint.example.com", "http is only allowed for this machine"),
        ("INNOMAINT_MAX_ATTEMPTS", "0", "a whole number from 1 to 10"),
        ("INNOMAINT_TIMEZONE", "Mars/Olympus", "a time zone name"),
        ("INNOMAINT_REFRESH_MINUTES", "4", "whole minutes from 5 to 1440"),
        ("INNOMAINT_BATCH_SIZE", "1.5", "a whole number"),
    ],
)
@pytest.mark.parametrize("arguments", [["status"], ["demo"], ["sync"], ["up"]], ids=" ".join)
def test_a_malformed_variable_is_named_before_anything_starts(
    cli: Cli, arguments: list[str], name: str, value: str, expected: str
) -> None:
    os.environ[name] = value

    ended = cli(*arguments)

    assert ended.code == 2
    assert name in ended.err
    assert expected in ended.err
    assert not cli.home.exists()


def test_every_malformed_variable_is_named_at_once(cli: Cli) -> None:
    os.environ["INNOMAINT_RATE_MS"] = "often"
    Path(".env").write_text("INNOMAINT_TIMEOUT_S=never\nINNOMAINT_RATE_MS=100\n")

    ended = cli("status")

    assert ended.code == 2
    assert "INNOMAINT_RATE_MS: 'often'" in ended.err
    assert "INNOMAINT_TIMEOUT_S: 'never'" in ended.err


@pytest.mark.parametrize(("mode", "is_warned"), [(0o644, True), (0o640, True), (0o600, False)])
def test_a_dotenv_file_that_others_may_read_is_warned_of(cli: Cli, mode: int, is_warned: bool) -> None:
    path = Path(".env")
    path.write_text("INNOMAINT_API_TOKEN=invented\n")
    path.chmod(mode)

    ended = cli("status")

    assert ended.code == 0
    assert ("chmod 600 .env" in ended.err) is is_warned
    assert "invented" not in ended.err


def test_the_value_of_a_malformed_secret_is_not_shown(cli: Cli) -> None:
    os.environ["IC3_DATABASE_URL"] = "mysql://root:open-sesame@db/ic3"
    os.environ["INNOMAINT_API_TOKEN"] = "two words"

    ended = cli("status")

    assert ended.code == 2
    assert "IC3_DATABASE_URL" in ended.err
    assert "INNOMAINT_API_TOKEN" in ended.err
    assert "open-sesame" not in ended.err
    assert "two words" not in ended.err


@pytest.mark.parametrize("arguments", COMMANDS_WITH_A_DATABASE, ids=" ".join)
def test_an_unreachable_database_exits_with_4(cli: Cli, arguments: list[str]) -> None:
    Path("master.csv").write_text("Asset ID\nP-1\n")
    os.environ |= {"IC3_DATABASE_URL": CLOSED, "INNOMAINT_API_TOKEN": "invented"}

    ended = cli(*arguments)

    assert ended.code == 4
    assert "unreachable" in ended.err
    assert "127.0.0.1" in ended.err
    assert "Traceback" not in ended.err


def test_an_unreachable_database_of_dagster_exits_with_4_and_names_its_variable(connected: Cli) -> None:
    os.environ["DAGSTER_PG_URL"] = CLOSED.replace("/ic3", "/dagster")
    Path("master.csv").write_text("Asset ID\nP-1\n")

    ended = connected("import", "master.csv")

    assert ended.code == 4
    assert "DAGSTER_PG_URL" in ended.err


@pytest.mark.parametrize("command", ["status", "sync", "enrich"])
def test_a_server_without_the_tables_is_told_to_upgrade(
    connected: Cli, empty_database: Database, command: str
) -> None:
    os.environ["IC3_DATABASE_URL"] = empty_database.engine.url.render_as_string(hide_password=False)

    ended = connected(command)

    assert ended.code == 4
    assert "innomaint db upgrade" in ended.err


def test_the_installed_command_exits_as_main_does(cli: Cli) -> None:
    ended = cli.in_a_process("sync", "--offset", "5")

    assert ended.code == 2
    assert "--offset goes with --batch" in ended.err


@pytest.mark.parametrize("name", ["dagster.yaml", "workspace.yaml"])
def test_the_folder_of_another_dagster_project_is_left_alone(cli: Cli, name: str) -> None:
    del os.environ["INNOMAINT_HOME"]
    Path(name).write_text("load_from:\n  - python_file: theirs.py\n")

    ended = cli("status")

    assert ended.code == 2
    assert "belongs to another Dagster project" in ended.err
    assert name in ended.err
    assert [path.name for path in Path().iterdir()] == [name]


def test_an_alert_address_that_nobody_understands_is_refused_before_up_starts(cli: Cli) -> None:
    os.environ |= {
        "INNOMAINT_API_TOKEN": "invented",
        "INNOMAINT_ALERT_URLS": "json://127.0.0.1:9/ nonsense://open-sesame@host",
    }

    ended = cli("up")

    assert ended.code == 2
    assert "address 2 of 2 (not shown)" in ended.err
    assert "open-sesame" not in ended.err
    assert not cli.home.exists()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("retry-failed", "There is no command 'retry-failed'. Did you mean: innomaint sync --retry-failed?"),
        ("upgrade", "There is no command 'upgrade'. Did you mean: innomaint db upgrade?"),
        ("statsu", "There is no command 'statsu'. Did you mean: innomaint status?"),
        ("db upgrad", "There is no command 'upgrad'. Did you mean: innomaint db upgrade?"),
        ("xyzzy", "There is no command 'xyzzy'. innomaint --help lists what there is."),
    ],
)
def test_a_command_that_is_none_leads_to_the_one_that_is_meant(cli: Cli, arguments: str, hint: str) -> None:
    ended = cli(*arguments.split())

    assert ended.code == 2
    assert hint in " ".join(ended.err.split())


@pytest.mark.parametrize("earlier", [None, "# mine\nINNOMAINT_RATE_MS=7\n", "INNOMAINT_RATE_MS=7"])
@pytest.mark.parametrize("form", ["INNOMAINT_ADMIN_TOKEN=", "export  innomaint_admin_token = "])
def test_a_token_is_saved_once_beside_what_the_file_holds_and_read_by_nobody_else(
    cli: Cli, earlier: str | None, form: str
) -> None:
    path = Path(".env")
    if earlier is not None:
        path.write_text(f"{form}an-earlier-one-of-mine\n{earlier}")
        path.chmod(0o644)
    for _ in range(2):
        ended = cli("token", "new", "--save")
        assert ended.code == 0

    lines = path.read_text().splitlines()
    assert lines[:-1] == (earlier or "").splitlines()
    token = load_settings().innomaint_admin_token
    assert token is not None
    assert lines[-1] == f"INNOMAINT_ADMIN_TOKEN={token.get_secret_value()}"
    assert token.get_secret_value() not in ended.err + ended.out
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(cli("token", "new").out.strip()) >= 16
    assert [it.name for it in Path.cwd().glob(".env*")] == [".env"]


def test_a_token_is_saved_where_a_linked_env_file_leads(cli: Cli) -> None:
    Path("kept").write_text("INNOMAINT_RATE_MS=7\n")
    Path(".env").symlink_to("kept")

    assert cli("token", "new", "--save").code == 0

    assert Path(".env").is_symlink()
    assert "INNOMAINT_ADMIN_TOKEN=" in Path("kept").read_text()


def test_a_token_that_could_not_be_saved_or_would_not_count_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(".env")
    path.write_bytes(b"# caf\xe9\n")
    ended = cli("token", "new", "--save")
    assert ended.code == 2
    assert "not UTF-8 text" in ended.err
    assert path.read_bytes() == b"# caf\xe9\n"

    path.unlink()
    path.mkdir()
    ended = cli("token", "new", "--save")
    assert ended.code == 2
    assert "cannot be read" in ended.err

    path.rmdir()
    monkeypatch.setenv("INNOMAINT_ADMIN_TOKEN", "one-of-the-environment")
    ended = cli("token", "new", "--save")
    assert ended.code == 2
    assert "the environment, which wins over" in ended.err
    assert not path.exists()


def test_a_saved_token_counts_in_the_demonstration_which_reads_no_env_file(cli: Cli) -> None:
    assert cli("token", "new", "--save").code == 0
    settings = load_settings()
    assert settings.innomaint_admin_token is not None

    with demo_environment(settings, has_outage=False) as demo:
        assert demo.innomaint_admin_token == settings.innomaint_admin_token
