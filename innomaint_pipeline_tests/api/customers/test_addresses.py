"""The addresses of the customer list: status, metrics, a run, release, the interval of every source."""

from pathlib import Path

import pytest

from innomaint_pipeline.domain.customers.runs import SYNC_REQUESTS
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.requests import note_look
from innomaint_pipeline_tests.api.conftest import serving
from innomaint_pipeline_tests.customers import CANARY, Customers, customers, invent_rows, make_list

__all__ = ["customers"]

SETTINGS = Settings.model_construct(customers_inbox=Path("inbox"))
FREQUENCY = "/api/admin/sync/frequency"


def test_status_and_metrics_tell_of_the_runs(customers: Customers):
    with serving(customers.database, settings=SETTINGS) as client:
        idle = client.get("/api/customers/sync/status").json
        assert (idle["status"], idle["health"], idle["lastRun"]) == ("idle", "unknown", None)
        customers.sync(invent_rows(30))
        customers.sync(invent_rows(30))
        customers.sync(make_list(invent_rows(30), "totals_agree"))
        customers.sync(None)

        status = client.get("/api/customers/sync/status").json
        metrics = client.get("/api/customers/sync/metrics").json
        assert (status["status"], status["lastRun"]["outcome"]) == ("completed", "skipped")
        assert (status["health"], status["totalCustomersInDb"]) == ("degraded", 30)
        assert (metrics["totalSyncs"], metrics["consecutiveFailures"]) == (3, 0)
        assert (metrics["errorRate"], metrics["unchangedShare"]) == (0.3333, 0.5)
        assert metrics["lastResult"]["outcome"] == "rejected_by_guard"
        runs = client.get("/api/customers/sync/runs").json["runs"]
        assert [row["outcome"] for row in runs] == [
            *("skipped", "rejected_by_guard", "succeeded_unchanged", "succeeded_changed"),
        ]
        prometheus = client.get("/metrics").body.decode()
        assert 'customers_by_state{state="active"} 30.0' in prometheus
        assert CANARY not in prometheus


def test_a_run_is_asked_for_once_and_its_end_is_answered(customers: Customers):
    with serving(customers.database, settings=SETTINGS) as client:
        asked = client.post("/api/customers/sync")
        assert (asked.status, asked.json["address"]) == (202, "/api/customers/sync/status")
        client.post("/api/customers/sync")
        assert client.get("/api/customers/sync/status").json["status"] == "idle"
        with customers.database.begin() as connection:
            note_look(connection, SYNC_REQUESTS)
        status = client.get("/api/customers/sync/status").json
        assert (status["status"], status["inProgress"], status["runId"]) == ("syncing", True, None)
        requests = "select count(*) from innomaint_request where kind = 'customers/sync'"
        assert customers.value(requests) == 1
        # A run has ended since: who asks now wants a newer one.
        report = customers.sync(invent_rows(3))
        assert client.get("/api/customers/sync/status").json["status"] == "completed"
        client.post("/api/customers/sync", headers={**client.headers, "Prefer": "respond-async"})
        assert customers.value(requests) == 2
        customers.execute("delete from innomaint_request")
        customers.execute(
            "insert into innomaint_lease select 'customers/list', 'run', now(), now() + interval '20 s'"
        )
        customers.execute("update customers.sync_run set finished_at = now() + interval '1 s'")
        found = client.post("/api/customers/sync")
        assert (found.status, found.json["runId"]) == (200, report.row["run_id"])
        assert customers.value(requests) == 0
    with serving(customers.database) as client:
        assert "CUSTOMERS_INBOX" in client.post("/api/customers/sync").error


def test_a_release_by_http_is_refused_with_400_or_audited(customers: Customers):
    customers.sync(invent_rows(100))
    few, wrong = customers.sync(invent_rows(10)), customers.sync(make_list(invent_rows(9), "totals_agree"))
    with serving(customers.database, settings=SETTINGS) as client:
        for sha, reason in (
            (few.row["sha256"], " "),
            ("0" * 64, "x"),
            (wrong.row["sha256"], "x"),
        ):
            assert client.post("/api/customers/release", sha256=sha, reason=reason).status == 400
        (_, item) = client.get("/api/customers/quarantine").json["quarantined"]
        assert item["failedChecks"][0]["check"] == "list_has_not_shrunk"
        done = client.post("/api/customers/release", sha256=few.row["sha256"], reason="cleaned")
        assert (done.status, done.json["success"]) == (200, True)
        assert client.post("/api/customers/release", sha256=few.row["sha256"], reason="x").status == 400
    assert customers.value("select count(*) from customers.release") == 1


@pytest.mark.parametrize("source", ["innomaint", "maximo", "customers"])
def test_the_interval_of_each_source_is_stored_at_once(source: str, customers: Customers):
    customers.sync(invent_rows(3))
    with serving(customers.database, settings=SETTINGS) as client:
        for minutes in (5, 1440):
            answer = client.post(FREQUENCY, intervalMinutes=minutes, source=source)
            assert answer.status == 200
            assert answer.json.keys() == {"success", "source", "intervalMinutes", "nextDueAt", "message"}
        for minutes in (4, 1441, 7.5, "15", None, True):
            assert client.post(FREQUENCY, intervalMinutes=minutes, source=source).status == 400
        assert client.post(FREQUENCY, intervalMinutes=60, source="nobody").status == 400
        status = client.get("/api/customers/sync/status").json
    assert status["intervalMinutes"] == (1440 if source == "customers" else 30)
    stored = customers.rows("select name, value from innomaint_setting where name like '%refresh_minutes'")
    assert stored == [{"name": f"{source}/refresh_minutes", "value": 1440}]
    assert customers.value("select count(*) from customers.sync_run") == 1
