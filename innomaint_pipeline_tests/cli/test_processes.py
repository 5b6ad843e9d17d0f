"""Processes that are kept running: restarted, given up, stopped together, and found again after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from innomaint_pipeline.cli.processes import ChildEndedError, KeptProcess, ProcessKeeper
from innomaint_pipeline.embedded.watch import identify_process

LONG_SECONDS = 20
SLEEPING = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True);"
    " time.sleep(600)"
)
# Ends at once on SIGTERM and leaves what it has started, which ignores it.
PARENT = (
    "import subprocess, sys, time;"
    f" child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]);"
    " print('child', child.pid, flush=True); time.sleep(600)"
)
KILLED_KEEPER = """
import os, sys
from pathlib import Path
from innomaint_pipeline.cli.processes import KeptProcess, ProcessKeeper
keeper = ProcessKeeper(Path(sys.argv[1])).__enter__()
for name in ("first", "second"):
    keeper.start(KeptProcess(name, [sys.executable, "-c", "import time; time.sleep(600)"], name))
os._exit(9)
"""


def kept(name: str, code: str) -> KeptProcess:
    return KeptProcess(name, [sys.executable, "-c", code], f"Dagster's {name}")


def pid_of(process: KeptProcess) -> int:
    assert process.running is not None
    return process.running.pid


def is_running(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def look_until(keeper: ProcessKeeper, condition: Callable[[], object]) -> None:
    def look() -> object:
        keeper.look()
        return condition()

    wait_until(look)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home; at the end nothing that was started from this test may run."""
    yield tmp_path
    children = psutil.Process().children(recursive=True)
    left = [child for child in children if is_running(child.pid) and SLEEPING in child.cmdline()]
    for child in left:
        child.kill()
    assert not left


def test_a_process_that_ends_is_started_again_and_people_are_told(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProcessKeeper(home) as keeper:
        process = kept("daemon", SLEEPING)
        keeper.start(process)
        first = pid_of(process)
        psutil.Process(first).kill()

        look_until(keeper, lambda: pid_of(process) != first)

        assert is_running(pid_of(process))
    told = capsys.readouterr().err
    assert "Dagster's daemon ended (exit -9) and is started again" in told
    assert "daemon.log" in told


def test_a_process_that_runs_is_left_alone(home: Path) -> None:
    with ProcessKeeper(home) as keeper:
        process = kept("daemon", SLEEPING)
        keeper.start(process)
        first = pid_of(process)
        for _ in range(20):
            keeper.look()
        assert pid_of(process) == first


def test_a_process_that_ends_again_and_again_is_given_up_with_the_place_of_its_reason(home: Path) -> None:
    with ProcessKeeper(home, pause_seconds=0) as keeper:
        keeper.start(kept("webserver", "import sys; sys.exit('the port is taken')"))

        with pytest.raises(ChildEndedError) as raised:
            look_until(keeper, lambda: False)

    assert "webserver ended 6 times within 5 minutes (exit 1)" in str(raised.value)
    log = home / "logs" / "webserver.log"
    assert str(log) in str(raised.value)
    assert log.read_text().count("the port is taken") == 6


def test_restarts_long_ago_do_not_count(home: Path) -> None:
    with ProcessKeeper(home, pause_seconds=0) as keeper:
        process = kept("daemon", SLEEPING)
        keeper.start(process)
        process.restarts.extend([time.monotonic() - 301] * 5)
        first = pid_of(process)
        psutil.Process(first).kill()

        look_until(keeper, lambda: pid_of(process) != first)

        assert len(process.restarts) == 1


def test_all_are_stopped_together_also_one_that_ignores_the_request(home: Path) -> None:
    began = time.monotonic()
    with ProcessKeeper(home, stop_seconds=0.5) as keeper:
        processes = [kept("first", SLEEPING), kept("stubborn", STUBBORN), kept("last", SLEEPING)]
        for process in processes:
            keeper.start(process)
        wait_until(lambda: "ready" in (home / "logs" / "stubborn.log").read_text())
        pids = [pid_of(process) for process in processes]

    assert [pid for pid in pids if is_running(pid)] == []
    assert time.monotonic() - began < LONG_SECONDS
    assert not (home / "processes.json").exists()


def test_what_a_process_had_started_is_stopped_with_it(home: Path) -> None:
    log = home / "logs" / "code-server.log"
    with ProcessKeeper(home, stop_seconds=0.5) as keeper:
        process = kept("code-server", PARENT)
        keeper.start(process)
        wait_until(lambda: "child" in log.read_text() and "ready" in log.read_text())
        child = int(log.read_text().split("child ")[1].split()[0])
        assert is_running(child)

    assert not is_running(pid_of(process))
    wait_until(lambda: not is_running(child))


def test_an_error_inside_stops_all_too(home: Path) -> None:
    process = kept("daemon", SLEEPING)

    def fail() -> None:
        with ProcessKeeper(home) as keeper:
            keeper.start(process)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not is_running(pid_of(process))


def test_a_child_is_not_in_the_terminals_process_group(home: Path) -> None:
    with ProcessKeeper(home) as keeper:
        process = kept("daemon", SLEEPING)
        keeper.start(process)
        assert os.getpgid(pid_of(process)) == pid_of(process) != os.getpgid(0)


def test_a_long_log_is_put_aside_at_the_next_start(home: Path) -> None:
    (home / "logs").mkdir()
    log = home / "logs" / "daemon.log"
    with log.open("wb") as file:
        file.truncate(21 * 1024 * 1024)

    with ProcessKeeper(home) as keeper:
        keeper.start(kept("daemon", SLEEPING))

    assert log.stat().st_size < 1000
    assert log.with_suffix(".old.log").stat().st_size == 21 * 1024 * 1024


def test_what_a_killed_keeper_left_behind_is_ended_by_the_next(home: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_KEEPER, str(home)], check=False)
    assert killed.returncode == 9
    pids = [entry["pid"] for entry in json.loads((home / "processes.json").read_text())]
    assert [is_running(pid) for pid in pids] == [True, True]

    with ProcessKeeper(home):
        assert [is_running(pid) for pid in pids] == [False, False]

    assert not (home / "processes.json").exists()


def test_a_leftover_that_ignores_the_request_is_killed(home: Path) -> None:
    keeper = ProcessKeeper(home).__enter__()
    process = kept("stubborn", STUBBORN)
    keeper.start(process)
    wait_until(lambda: "ready" in (home / "logs" / "stubborn.log").read_text())

    with ProcessKeeper(home, stop_seconds=0.3):
        wait_until(lambda: not is_running(pid_of(process)))
    assert process.running is not None
    assert process.running.wait() == -signal.SIGKILL


@pytest.mark.parametrize("content", ["", '[{"pid": 4', "[[4711, 1.5]]", "null"])
def test_a_register_that_cannot_be_read_is_told_and_hinders_nothing(
    home: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "processes.json").write_text(content)

    with ProcessKeeper(home):
        assert "may still run" in capsys.readouterr().err


@pytest.mark.parametrize("shift_seconds", [-3600, 3600, 2])
def test_another_process_that_got_the_number_of_a_leftover_is_never_touched(
    home: Path, shift_seconds: float
) -> None:
    other = subprocess.Popen([sys.executable, "-c", SLEEPING])
    try:
        started_at = identify_process(other.pid).started_at + shift_seconds
        entries = [{"pid": other.pid, "started_at": started_at}, {"pid": 2**22 + 1, "started_at": 0.0}]
        (home / "processes.json").write_text(json.dumps(entries))

        with ProcessKeeper(home, stop_seconds=0.3):
            assert is_running(other.pid)
    finally:
        other.kill()
        other.wait()
