"""The commands of the customer list, on PDFs that they have made themselves: results and exit codes."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from innomaint_pipeline.domain.customers.lists import CustomerList
from innomaint_pipeline.simulator.customers.drawing import draw_customers
from innomaint_pipeline.simulator.customers.people import invent_customers
from innomaint_pipeline.sync.customers.running import sync_list
from innomaint_pipeline_tests.cli.conftest import Cli, Ended
from innomaint_pipeline_tests.customers import CANARY, Customers, invent_rows


@dataclass(frozen=True)
class Done:
    ended: Ended

    def expect(self, code: int) -> Ended:
        assert self.ended.code == code, self.ended.err
        return self.ended


def run(cli: Cli, *arguments: str) -> Done:
    return Done(cli(*arguments))


@pytest.fixture
def inbox(cli: Cli, database_url: str, tmp_path: Path) -> Path:
    del cli
    folder = tmp_path / "inbox"
    folder.mkdir()
    os.environ |= {"IC3_DATABASE_URL": database_url, "CUSTOMERS_INBOX": str(folder)}
    return folder


def test_lists_are_read_refused_and_released(cli: Cli, inbox: Path, database, tmp_path: Path):
    customers = Customers(database, tmp_path / "copies")
    run(cli, "customers", "sample", str(inbox / "a.pdf"), "--rows", "60").expect(0)
    # What is named is not waited for, as what arrives in the inbox is.
    first, second = ("--file", str(inbox / "a.pdf")), ("--file", str(inbox / "b.pdf"))
    plan = run(cli, "customers", "sync", "--dry-run", "--json", *first).expect(0).json
    assert (plan["newCustomers"], plan["runId"]) == (60, None)
    done = run(cli, "customers", "sync", "--json").expect(0).json
    assert (done["success"], done["newCustomers"], done["customersProcessed"]) == (True, 60, 60)
    assert run(cli, "customers", "sync", "--json", *first).expect(0).json["outcome"] == "skipped"

    run(cli, "customers", "sample", str(inbox / "b.pdf"), "--rows", "60", "--fault", "filtered").expect(0)
    run(cli, "customers", "sync", "--dry-run", *second).expect(1)
    refused = run(cli, "customers", "sync", "--json", *second).expect(1).json
    assert "list_has_not_shrunk" in refused["error"]
    (item,) = run(cli, "customers", "quarantine", "--json").expect(0).json["quarantined"]
    assert (item["releasable"], item["held"], item["rows"]) == (True, 0, 6)
    run(cli, "customers", "release", item["sha256"], "--reason", " ").expect(2)
    run(cli, "customers", "release", "0" * 64, "--reason", "x").expect(2)
    assert (
        run(cli, "customers", "release", item["sha256"], "--reason", "cleaned", "--json")
        .expect(0)
        .json["success"]
    )
    run(cli, "customers", "release", item["sha256"], "--reason", "cleaned").expect(2)
    assert customers.states() == {"active": 6, "missing": 54}

    status = run(cli, "customers", "status", "--json").expect(0).json
    assert (status["status"], status["totalCustomersInDb"], status["health"]) == ("completed", 60, "healthy")
    shown = run(cli, "customers", "status").expect(0).err
    assert "customers 60, data" in shown
    run(cli, "customers", "pause").expect(0)
    assert run(cli, "customers", "status", "--json").expect(0).json["health"] == "paused"
    run(cli, "customers", "resume").expect(0)


def test_each_cause_has_its_exit_code(cli: Cli, inbox: Path, tmp_path: Path):
    html = tmp_path / "page.pdf"
    run(cli, "customers", "sample", str(html), "--fault", "html").expect(0)
    run(cli, "customers", "sync", "--file", str(html)).expect(2)
    for more in ((), ("--dry-run",)):
        absent = run(cli, "customers", "sync", "--file", str(tmp_path / "none.pdf"), *more).expect(3)
        assert f"the file {tmp_path / 'none.pdf'} cannot be read" in absent.err
    assert run(cli, "customers", "status", "--json").expect(0).json["lastRun"]["attempts"] == 1
    wrong = tmp_path / "wrong.pdf"
    run(cli, "customers", "sample", str(wrong), "--rows", "5", "--fault", "encrypted").expect(0)
    run(cli, "customers", "sync", "--file", str(wrong)).expect(1)
    assert run(cli, "customers", "sync", "--json").expect(0).json["outcome"] == "skipped"
    forgotten = run(cli, "customers", "release", "0" * 64, "--reason", "--json").expect(2)
    assert "found the option --json, expected a text" in forgotten.err
    del os.environ["CUSTOMERS_INBOX"]
    run(cli, "customers", "sync").expect(2)
    assert inbox.is_dir()


def test_beside_a_run_a_command_waits_and_reports_that_one(cli: Cli, inbox: Path, database, tmp_path: Path):
    customers = Customers(database, tmp_path / "copies")
    draw_customers(inbox / "list.pdf", invent_customers(3))
    for said, arguments in (
        ("it has done what was asked for", ()),
        ("list.pdf was not read: ask for it again", ("--file", str(inbox / "list.pdf"))),
    ):
        other = customers.run(invent_rows(3))

        async def read(export: Any, on_progress: Any, other: Any = other) -> CustomerList:
            await asyncio.sleep(1)
            return await other.read(export, on_progress)

        thread = threading.Thread(target=sync_list, args=(replace(other, read=read),))
        thread.start()
        while customers.value("select count(*) from customers.sync_run where outcome is null") == 0:
            time.sleep(0.01)
        joined = run(cli, "customers", "sync", "--json", *arguments).expect(0)
        thread.join()
        assert joined.json["runId"] == other.run_id
        assert "Another run is under way; waiting for it." in joined.err
        assert said in joined.err
    assert customers.value("select count(*) from customers.sync_run") == 2


def test_nobody_is_named_on_the_standard_streams_or_in_a_log(
    cli: Cli, inbox: Path, caplog: pytest.LogCaptureFixture
):
    people = [{**item, "name": f"{CANARY} {CANARY}", "city": CANARY} for item in invent_customers(8)]
    now = datetime.now(UTC)
    told = []
    for minutes, fault in enumerate((None, "duplicate_id", "page_dropped"), -9):
        draw_customers(inbox / "list.pdf", people, exported_at=now + timedelta(minutes=minutes), fault=fault)
        told.append(run(cli, "customers", "sync", "--json", "--file", str(inbox / "list.pdf")).ended)
    told += [run(cli, "customers", name).ended for name in ("status", "quarantine")]
    assert [it.code for it in told] == [0, 1, 1, 0, 0]
    assert "Canarino" not in caplog.text + "".join(it.out + it.err for it in told)


def test_an_interrupt_during_the_imports_is_told_in_one_line():
    code = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'innomaint_pipeline.cli.main': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from innomaint_pipeline.cli.__main__ import run\n"
        "run()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "Interrupted; nothing was begun.\n")
