"""The commands of the customer list, on PDFs that they have made themselves: results and exit codes."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from innomaint_pipeline_tests.cli.conftest import Cli, Ended
from innomaint_pipeline_tests.customers import Customers


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
    plan = run(cli, "customers", "sync", "--dry-run", "--json").expect(0).json
    assert (plan["newCustomers"], plan["runId"]) == (60, None)
    done = run(cli, "customers", "sync", "--json").expect(0).json
    assert (done["success"], done["newCustomers"], done["customersProcessed"]) == (True, 60, 60)
    assert run(cli, "customers", "sync", "--json").expect(0).json["outcome"] == "skipped"

    run(cli, "customers", "sample", str(inbox / "b.pdf"), "--rows", "60", "--fault", "filtered").expect(0)
    run(cli, "customers", "sync", "--dry-run").expect(1)
    refused = run(cli, "customers", "sync", "--json").expect(1).json
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
    wrong = tmp_path / "wrong.pdf"
    run(cli, "customers", "sample", str(wrong), "--rows", "5", "--fault", "encrypted").expect(0)
    run(cli, "customers", "sync", "--file", str(wrong)).expect(1)
    assert run(cli, "customers", "sync", "--json").expect(0).json["outcome"] == "skipped"
    run(cli, "customers", "sync", "--dry-run", "--file", str(tmp_path / "none.pdf")).expect(3)
    del os.environ["CUSTOMERS_INBOX"]
    run(cli, "customers", "sync").expect(2)
    assert inbox.is_dir()
