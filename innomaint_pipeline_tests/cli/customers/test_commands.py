"""The commands of the customer list, on PDFs that they have made themselves: results and exit codes."""

import os
from pathlib import Path

import pytest

from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.customers import Customers


@pytest.fixture
def inbox(cli: Cli, database_url: str, tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    os.environ |= {"IC3_DATABASE_URL": database_url, "CUSTOMERS_INBOX": str(folder)}
    return folder


def test_lists_are_read_refused_and_released(cli: Cli, inbox: Path, database, tmp_path: Path):
    customers = Customers(database, tmp_path / "copies")
    cli.run("customers", "sample", str(inbox / "a.pdf"), "--rows", "60").expect(0)
    plan = cli.run("customers", "sync", "--dry-run", "--json").expect(0).json
    assert (plan["newCustomers"], plan["runId"]) == (60, None)
    done = cli.run("customers", "sync", "--json").expect(0).json
    assert (done["success"], done["newCustomers"], done["customersProcessed"]) == (True, 60, 60)
    assert cli.run("customers", "sync", "--json").expect(0).json["outcome"] == "skipped"

    cli.run("customers", "sample", str(inbox / "b.pdf"), "--rows", "60", "--fault", "filtered").expect(0)
    assert cli.run("customers", "sync", "--dry-run").expect(1)
    refused = cli.run("customers", "sync", "--json").expect(1).json
    assert "list_has_not_shrunk" in refused["error"]
    (item,) = cli.run("customers", "quarantine", "--json").expect(0).json["quarantined"]
    assert (item["releasable"], item["held"], item["rows"]) == (True, 0, 6)
    cli.run("customers", "release", item["sha256"], "--reason", " ").expect(2)
    cli.run("customers", "release", "0" * 64, "--reason", "x").expect(2)
    assert (
        cli.run("customers", "release", item["sha256"], "--reason", "cleaned", "--json")
        .expect(0)
        .json["success"]
    )
    cli.run("customers", "release", item["sha256"], "--reason", "cleaned").expect(2)
    assert customers.states() == {"active": 6, "missing": 54}

    status = cli.run("customers", "status", "--json").expect(0).json
    assert (status["status"], status["totalCustomersInDb"], status["health"]) == ("completed", 60, "healthy")
    shown = cli.run("customers", "status").expect(0).err
    assert "customers 60, data" in shown
    cli.run("customers", "pause").expect(0)
    assert cli.run("customers", "status", "--json").json["health"] == "paused"
    cli.run("customers", "resume").expect(0)


def test_each_cause_has_its_exit_code(cli: Cli, inbox: Path, tmp_path: Path):
    html = tmp_path / "page.pdf"
    cli.run("customers", "sample", str(html), "--fault", "html").expect(0)
    cli.run("customers", "sync", "--file", str(html)).expect(2)
    wrong = tmp_path / "wrong.pdf"
    cli.run("customers", "sample", str(wrong), "--rows", "5", "--fault", "encrypted").expect(0)
    cli.run("customers", "sync", "--file", str(wrong)).expect(1)
    assert cli.run("customers", "sync", "--json").expect(0).json["outcome"] == "skipped"
    cli.run("customers", "sync", "--dry-run", "--file", str(tmp_path / "none.pdf")).expect(3)
    del os.environ["CUSTOMERS_INBOX"]
    cli.run("customers", "sync").expect(2)
    assert inbox.is_dir()
