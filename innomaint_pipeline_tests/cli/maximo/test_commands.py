"""innomaint maximo: sync, enrich, status, probe, key, and what a kill leaves."""

import os
import stat
import subprocess
import time
from pathlib import Path

import psycopg

from innomaint_pipeline.simulator.maximo.app import _PASSWORD, _USER
from innomaint_pipeline.store.maximo.tables import RUN_COLUMNS
from innomaint_pipeline_tests.cli.conftest import INNOMAINT, Cli
from innomaint_pipeline_tests.maximo import Maximo

# Of the server of the tests, about the database of the test.
WAITING = (
    "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
)
WRITING = (
    "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle'"
    " and pid <> pg_backend_pid() and query ilike 'insert into maximo.sync_run%'"
)


def test_sync_and_status_tell_the_same_numbers(beside: Cli):
    ended = beside("maximo", "sync", "--json")

    assert ended.code == 0
    assert ended.json.keys() == {"status", "duration_ms", "runs"}
    assert all(tuple(row) == RUN_COLUMNS for row in ended.json["runs"])
    # No site was named: the default site of the key's user.
    assert {row["site"] for row in ended.json["runs"]} == {None, "KDFAC"}
    status = beside("maximo", "status", "--json").json
    assert list(status) == ["status", "sites", "tables", "in_progress", "health", "next_due_at"]
    fetched = {row["endpoint"]: row["fetched"] for row in ended.json["runs"]}
    assert {name: row["record_count"] for name, row in status["status"].items()} == {
        **fetched,
        "ALL": sum(fetched.values()),
    }
    assert status["tables"]["assets"] == 230
    assert (status["health"], status["sites"]) == ("healthy", ["KDFAC"])
    again = beside("maximo", "enrich", "--json")
    assert (again.code, again.json["updated"], again.json["inserted"]) == (0, 0, 0)


def test_exit_codes_say_what_happened(beside: Cli, maximo: Maximo):
    assert beside("maximo", "sync", "--site", "a b").code == 2
    assert beside("maximo", "sync", "--since", "2026-06-20").code == 2
    assert beside("maximo", "sync", "--force-full", "--since", "2026-06-20T10:00Z").code == 2
    maximo.app.default_site = maximo.app.insert_site = None
    missing = beside("maximo", "sync")
    assert missing.code == 2
    assert "MAXIMO_SITES" in missing.err
    maximo.app.default_site = maximo.app.insert_site = "KDFAC"
    maximo.app.behaviour.login_page = "html"
    refused = beside("maximo", "sync", "--endpoint", "domain", "--json")
    assert (refused.code, refused.json["status"], refused.json["runs"]) == (3, "error", [])
    maximo.app.behaviour.login_page = None
    maximo.app.behaviour.ignores_count = True
    assert beside("maximo", "sync", "--endpoint", "domain").code == 1
    del os.environ["MAXIMO_API_KEY"]
    assert beside("maximo", "sync").code == 2
    del os.environ["MAXIMO_BASE_URL"]
    status = beside("maximo", "status", "--json").json
    assert (status["health"], status["next_due_at"]) == ("not_set", None)


def test_probe_asks_and_stores_nothing(beside: Cli, maximo: Maximo):
    good = beside("maximo", "probe", "--json")

    assert good.code == 0, good.err
    assert {check["holds"] for check in good.json["checks"]} == {True}
    assert all(check.keys() == {"name", "holds", "request", "answer"} for check in good.json["checks"])
    assert maximo.value("select count(*) from maximo.response") == 0
    maximo.app.behaviour.ignores_internal_status = maximo.app.behaviour.ignores_delta = True
    some = beside("maximo", "probe", "--json")
    assert some.code == 1
    wrong = {check["name"] for check in some.json["checks"] if not check["holds"]}
    assert {"delta_peruser", "internal_status_assets"} <= wrong
    maximo.app.behaviour.login_page = "redirect"
    assert beside("maximo", "probe").code == 3


def test_a_key_is_made_saved_and_ended(beside: Cli, maximo: Maximo):
    Path(".env").write_text("# mine\nMAXIMO_API_KEY=old\nOTHER=1", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "MAXIMO_API_KEY"}

    def run(*arguments: str, password: str = _PASSWORD) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [INNOMAINT, "maximo", "key", "create", "--user", _USER, *arguments],
            input=f"{password}\n",
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    without_a_word = run()
    assert (without_a_word.returncode, maximo.app.record) == (2, [])
    assert run("--replace", password="wrong").returncode == 3
    made = run("--replace")
    assert (made.returncode, made.stdout.strip()) == (0, maximo.app.made_keys[0])
    second = run("--replace")
    assert second.returncode == 1
    assert "has an API key already" in second.stderr
    maximo.app.refuses_second_key = False
    saved = run("--replace", "--save")
    assert (saved.returncode, saved.stdout) == (0, "")
    assert Path(".env").read_text("utf-8") == f"# mine\nMAXIMO_API_KEY={maximo.app.made_keys[1]}\nOTHER=1"
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    del os.environ["MAXIMO_API_KEY"]
    assert ".env" in beside("maximo", "key", "revoke").err
    assert len(maximo.app.made_keys) == 1
    maximo.app.behaviour.has_native_login = False
    other = run("--replace")
    assert other.returncode == 3
    assert "API Keys" in other.stderr
    for text in (made.stderr, second.stderr, saved.stderr, other.stderr):
        assert _PASSWORD not in text


def test_a_kill_in_fetch_or_merge_leaves_the_old_rows_and_the_next_sync_ends_as_if_undisturbed(
    beside: Cli, maximo: Maximo, database_url: str
):
    def start() -> subprocess.Popen[bytes]:
        command = [INNOMAINT, "maximo", "sync", "--endpoint", "wodetail", "--site", "LCVIRQ"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for(condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        maximo.execute("update innomaint_lease set expires_at = now() - interval '1 second'")

    maximo.app.latency = lambda: 0.3
    child = start()
    wait_for(lambda: len(maximo.simulator.asked("mxapiwodetail")) >= 3)
    kill(child)
    maximo.app.latency = None
    assert maximo.value("select count(*) from maximo.workorder") == 0
    stored = maximo.value("select count(*) from maximo.response where is_pending")
    assert stored >= 100
    maximo.app.record.clear()
    with psycopg.connect(database_url) as other:
        other.execute("lock table maximo.sync_run in access exclusive mode")
        child = start()
        wait_for(lambda: maximo.value(WAITING) > 0)
        kill(child)
    assert maximo.value("select count(*) from maximo.workorder") == 0
    wait_for(lambda: maximo.value(WRITING) == 0)

    ended = beside("maximo", "sync", "--endpoint", "wodetail", "--site", "LCVIRQ", "--json")

    (row,) = ended.json["runs"]
    assert (row["status"], row["fetched"], row["inserted"]) == ("success", 600, 600)
    asked = maximo.simulator.asked("mxapiwodetail")
    assert str(asked[0].value("oslc.where")).endswith(f"workorderid>{500_000 + stored}")
