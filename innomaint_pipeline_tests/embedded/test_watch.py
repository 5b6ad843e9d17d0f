"""Processes that are waited for, without the server."""

import os
import subprocess
import sys

import psutil

from innomaint_pipeline.embedded.watch import wait_for_end


def test_who_has_ended_is_told_from_who_has_not_also_where_nobody_has_asked_how() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    reaped = subprocess.Popen([sys.executable, "-c", ""])
    staying = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    processes = [psutil.Process(one.pid) for one in (ended, reaped, staying)]
    reaped.wait()
    try:
        assert wait_for_end(processes[:2], 60) == []
        assert wait_for_end(processes, 0.1) == processes[2:]
    finally:
        staying.kill()
    assert wait_for_end(processes, 60) == []
    for one in (ended, staying):
        one.communicate()


def test_a_kernel_that_is_about_to_forget_a_process_disturbs_no_wait(monkeypatch) -> None:
    honest = os.pidfd_open

    def forgotten(pid: int, flags: int = 0) -> int:
        if pid == os.getpid():
            return honest(pid, flags)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("os.pidfd_open", forgotten)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert wait_for_end([psutil.Process(process.pid)], 0.1)
    finally:
        process.communicate(b"\n")
