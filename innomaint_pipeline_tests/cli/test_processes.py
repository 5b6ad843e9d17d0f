"""Processes that are kept running: restarted, given up, stopped together, and found again after a kill."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from innomaint_pipeline.cli.processes import (
    ChildEndedError,
    KeptProcess,
    ProcessKeeper,
    end_leftovers,
    find_kept,
)
from innomaint_pipeline.embedded.watch import LOG_LIMIT_BYTES

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
for name, code in (("first", "import time; time.sleep(600)"), ("second", sys.argv[2])):
    keeper.start(KeptProcess(name, [sys.executable, "-c", code], name))
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


def test_a_long_log_is_cut_while_its_process_writes_it(home: Path) -> None:
    writing = "import time\nwhile True: print('x' * 99_999, flush=True); time.sleep(0.001)"
    log = home / "logs" / "daemon.log"
    with ProcessKeeper(home) as keeper:
        keeper.start(kept("daemon", writing))
        wait_until(lambda: log.exists() and log.stat().st_size > LOG_LIMIT_BYTES)

        keeper.look()

        size = log.stat().st_size
        assert size < LOG_LIMIT_BYTES
        wait_until(lambda: log.stat().st_size > size)
        # It goes on at the end of what is left, without a hole.
        assert b"\0" not in log.read_bytes()


def test_what_a_killed_keeper_left_behind_is_ended_by_the_next_with_what_it_had_started(home: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_KEEPER, str(home), PARENT], check=False)
    assert killed.returncode == 9
    log = home / "logs" / "second.log"
    wait_until(lambda: "child" in log.read_text() and "ready" in log.read_text())
    left = find_kept(home)
    assert len(left) == 3
    left_parent = next(process for process in left if "Popen" in " ".join(process.cmdline()))
    # Nothing leads to a grandchild any more but its mark.
    left_parent.kill()

    end_leftovers(home, stop_seconds=0.3)

    wait_until(lambda: not [process for process in left if is_running(process.pid)])
    assert find_kept(home) == []


def test_processes_of_another_home_and_of_nobody_are_never_touched(home: Path) -> None:
    other = home / "other"
    bystander = subprocess.Popen(
        [sys.executable, "-c", SLEEPING], env={**os.environ, "INNOMAINT_HOME": str(home)}
    )
    try:
        with ProcessKeeper(other) as keeper:
            process = kept("daemon", SLEEPING)
            keeper.start(process)

            end_leftovers(home, stop_seconds=0.3)
            with ProcessKeeper(home):
                pass

            assert is_running(pid_of(process))
            assert is_running(bystander.pid)
    finally:
        bystander.kill()
        bystander.wait()
