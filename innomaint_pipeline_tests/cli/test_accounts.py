"""Several accounts in one folder: whose settings are read, what is refused, and whose a database is."""

import os
from pathlib import Path

import pytest
from sqlalchemy import text

from innomaint_pipeline.embedded.server import embedded_postgres
from innomaint_pipeline.simulator.innomaint.server import InnomaintSimulator
from innomaint_pipeline.store.connections import identify
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import load_account
from innomaint_pipeline_tests.cli.conftest import Cli

CLOSED = "postgresql://somebody:canary-token-password@127.0.0.1:1"
TOKENS = {"north": "canary-token-of-north", "south": "canary-token-of-south"}
OWN = {
    name: {
        "INNOMAINT_API_TOKEN": token,
        "IC3_DATABASE_URL": f"{CLOSED}/{name}",
        "MAXIMO_API_KEY": f"{token}-key",
        "INNOMAINT_ADMIN_PORT": str(port),
    }
    for (name, token), port in zip(TOKENS.items(), (9191, 9192), strict=True)
}


def write(name: str, **variables: str) -> None:
    path = Path(f".env.{name}" if name else ".env")
    path.write_text("".join(f"{key}={value}\n" for key, value in variables.items()), encoding="utf-8")
    path.chmod(0o600)


def write_accounts(common: dict[str, str] | None = None, **changes: dict[str, str]) -> None:
    """Write the files of two accounts, some with other values; an empty one is left to the common file."""
    write("", INNOMAINT_ACCOUNTS="north, south", **(common or {}))
    for name, own in OWN.items():
        write(name, **{**own, **changes.get(name, {})})


@pytest.fixture
def folder(cli: Cli) -> Cli:
    """A folder of two accounts with databases that nobody reaches."""
    write_accounts()
    return cli


def test_what_two_accounts_may_not_share_is_named_and_refused_before_anything_starts(
    folder: Cli, simulator: InnomaintSimulator
) -> None:
    of_north = OWN["north"]
    with_options = f"{CLOSED.replace('somebody', 'other')}/north?options=-csearch_path%3Dother"
    for variable, common, south in (
        ("INNOMAINT_API_TOKEN", {}, {"INNOMAINT_API_TOKEN": of_north["INNOMAINT_API_TOKEN"]}),
        ("MAXIMO_API_KEY", {}, {"MAXIMO_API_KEY": of_north["MAXIMO_API_KEY"]}),
        ("IC3_DATABASE_URL", {}, {"IC3_DATABASE_URL": with_options}),
        ("INNOMAINT_ADMIN_PORT", {}, {"INNOMAINT_ADMIN_PORT": "9191"}),
        ("CUSTOMERS_INBOX", {"CUSTOMERS_INBOX": "lists"}, {}),
        ("INNOMAINT_HOME", {}, {"INNOMAINT_HOME": "elsewhere"}),
        ("DAGSTER_PG_URL", {}, {"IC3_DATABASE_URL": "postgresql://elsewhere.example/south"}),
    ):
        os.environ.pop("INNOMAINT_HOME", None)
        write_accounts({**common, "INNOMAINT_API_URL": simulator.url}, south=south)
        for arguments in (["up"], ["status", "--all-accounts"]):
            ended = folder(*arguments)
            assert (ended.code, ended.out) == (2, ""), variable
            assert variable in ended.err
            assert "accounts" in ended.err
            assert "canary" not in ended.err
    assert simulator.record.starts == ()
    assert not folder.home.exists()


def test_two_accounts_may_share_an_address_and_inherit_all_that_is_not_one_alone_s(folder: Cli) -> None:
    # Nothing listens at their databases: they got as far as that.
    ended = folder("status", "--all-accounts", "--json")

    assert ended.code == 4
    assert sorted(ended.json["accounts"]) == ["north", "south"]
    assert all("127.0.0.1" in told["error"] for told in ended.json["accounts"].values())


def test_an_account_that_is_none_or_not_named_is_refused_by_name(folder: Cli) -> None:
    for arguments, words in (
        (["sync"], "--account north"),
        (["serve"], "--account north"),
        (["--account", "east", "sync"], ".env.east is not there"),
        (["--account", "North", "sync"], "small letter"),
        (["--account", "postgres", "sync"], "needs for itself"),
        (["--account", "north", "up"], "remove one of them"),
        (["--account", "north", "up", "--demo"], "exclude each other"),
        (["--account", "north", "--demo", "sync"], "exclude each other"),
        (["up", "--admin-port", "9193"], "--admin-port"),
    ):
        os.environ.pop("INNOMAINT_ACCOUNT", None)
        ended = folder(*arguments)
        assert (ended.code, ended.out) == (2, ""), arguments
        assert words in ended.err
    os.environ["INNOMAINT_ACCOUNT"] = "south"
    assert "the environment is that of south" in folder("--account", "north", "status").err
    assert not folder.home.exists()


def test_the_file_of_an_account_wins_over_that_of_all_and_the_environment_over_both(cli: Cli) -> None:
    write("", INNOMAINT_RATE_MS="often", INNOMAINT_BATCH_SIZE="many", INNOMAINT_TIMEOUT_S="ever")
    write("north", INNOMAINT_RATE_MS="seldom", INNOMAINT_BATCH_SIZE="few", INNOMAINT_API_TOKEN="")
    os.environ["INNOMAINT_RATE_MS"] = "rarely"

    ended = cli("--account", "north", "status")

    assert ended.code == 2
    assert all(value in ended.err for value in ("'rarely'", "'few'", "'ever'", ".env.north"))
    os.environ.pop("INNOMAINT_ACCOUNT")
    assert all(value in cli("status").err for value in ("'rarely'", "'many'"))
    write("")
    os.environ.pop("INNOMAINT_RATE_MS")
    assert "INNOMAINT_ACCOUNTS is not set" in cli("status", "--all-accounts").err


def test_a_saved_token_stands_in_the_file_of_its_account(cli: Cli) -> None:
    write("", INNOMAINT_BATCH_SIZE="7")
    write("north", INNOMAINT_RATE_MS="300")

    assert cli("--account", "north", "token", "new", "--save").code == 0

    assert "INNOMAINT_ADMIN_TOKEN" not in Path(".env").read_text(encoding="utf-8")
    assert "INNOMAINT_RATE_MS=300\nINNOMAINT_ADMIN_TOKEN=" in Path(".env.north").read_text(encoding="utf-8")


def test_a_database_remembers_its_account_and_another_one_is_refused_without_a_request(
    cli: Cli, empty_database: Database, simulator: InnomaintSimulator
) -> None:
    os.environ["INNOMAINT_API_URL"] = simulator.url
    url = empty_database.engine.url.render_as_string(hide_password=False)
    for name, token in {"": "canary-token-of-none", **TOKENS}.items():
        write(name, IC3_DATABASE_URL=url, INNOMAINT_API_TOKEN=token)

    def as_account(name: str | None, *arguments: str) -> tuple[int, str]:
        os.environ.pop("INNOMAINT_ACCOUNT", None)
        whose = ["--account", name] if name else []
        ended = cli(*whose, *arguments)
        return ended.code, ended.err

    code, told = as_account("north", "db", "upgrade")
    assert code == 0
    assert "is that of the account north" in told
    assert as_account("north", "status")[0] == 0
    for name in ("south", None):
        for command in (["sync", "--all"], ["status"], ["db", "upgrade"], ["pause"]):
            code, told = as_account(name, *command)
            assert code == 2
            assert "the data of the account north" in told
            assert "canary" not in told
    assert simulator.record.starts == ()


def test_a_database_without_an_account_is_adopted_by_one_and_by_no_other(
    cli: Cli, database: Database
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    for name in TOKENS:
        write(name, IC3_DATABASE_URL=url)
    copies = cli.home / "customers"
    copies.mkdir(parents=True)
    (copies / "list.pdf").touch()
    assert "adopt-account north" in cli("--account", "north", "status").err

    assert cli("db", "adopt-account", "north").code == 0
    assert "was already" in cli("db", "adopt-account", "north").err
    assert cli("--account", "north", "status").code == 0
    os.environ.pop("INNOMAINT_ACCOUNT")
    assert cli("db", "adopt-account", "south").code == 2
    with database.begin() as connection:
        assert load_account(connection) == "north"
    assert (cli.home / "north" / "customers" / "list.pdf").exists()


def test_the_embedded_database_gets_the_name_of_the_account_that_adopts_it(cli: Cli) -> None:
    write("north", INNOMAINT_RATE_MS="300")
    with embedded_postgres(cli.home, fast_and_unsafe=True) as server:
        assert cli("pause").code == 0

        assert cli("db", "adopt-account", "north").code == 0

        renamed = Database(server.url("ic3_north"))
        with renamed.begin() as connection:
            assert load_account(connection) == "north"
            stored = connection.execute(text("select value from innomaint_setting where name ~ 'paused'"))
            assert stored.scalar_one() is True
            names = set(connection.execute(text("select datname from pg_database")).scalars())
        renamed.close()
        assert "ic3" not in names
        server.ensure_database("ic3")
        assert "both ic3 and ic3_north" in cli("db", "adopt-account", "north").err


def test_two_addresses_of_one_database_are_the_same_whatever_their_form() -> None:
    known = identify("postgresql://a:b@Server/ic3")

    for same in ("postgresql+psycopg://c@server:5432/ic3?sslmode=require", "postgres:///ic3?host=server"):
        assert identify(same) == known
    for other in ("postgresql://server/ic4", "postgresql://server:5433/ic3", "postgresql://other/ic3"):
        assert identify(other) != known
