"""The replaced program's three addresses, and the interval."""

from innomaint_pipeline.settings import Settings
from innomaint_pipeline_tests.api.conftest import serving
from innomaint_pipeline_tests.maximo import SITE, Maximo

SETTINGS = Settings.model_construct(maximo_base_url="http://127.0.0.1:1/maximo")


def test_the_status_is_that_of_the_tables(maximo: Maximo):
    maximo.sync_all()
    with serving(maximo.database, settings=SETTINGS) as client:
        found = client.get("/api/sync-status").json
        gauges = client.get("/metrics").body.decode().splitlines()
    assert found["success"] is True
    assert found["status"]["assets"]["record_count"] == found["tables"]["assets"] == 230
    assert found["status"]["ALL"]["status"] == "success"
    assert (found["sites"], found["health"]) == ([SITE], "healthy")
    assert found["next_due_at"] is not None
    for line in (
        'maximo_records{structure="assets"} 230.0',
        'maximo_status{status="success",structure="wodetail"} 1.0',
        'maximo_health{word="healthy"} 1.0',
        'maximo_open_rejects{structure="assets"} 0.0',
        "maximo_reads_in_flight 0.0",
    ):
        assert line in gauges
    (age,) = (line.split()[1] for line in gauges if line.startswith('maximo_data_age_seconds{structure="as'))
    assert 0 <= float(age) < 600
    # Of a source that is not configured nothing is claimed, whatever was read before.
    with serving(maximo.database) as client:
        found = client.get("/api/sync-status").json
        assert (found["health"], found["next_due_at"], found["tables"]["assets"]) == ("not_set", None, 230)
        assert "maximo_" not in client.get("/metrics").body.decode()
        assert client.get("/api/customers/sync/status").json["health"] == "not_set"


def test_a_read_is_stored_once_and_tells_how_far_it_is(maximo: Maximo):
    with serving(maximo.database, sites=(SITE,)) as client:
        first = client.post("/api/sync/assets", force_full=True)
        again = client.post("/api/sync/assets", site=SITE)
        every = client.post("/api/sync/all", site=SITE)
        covered = client.post("/api/sync/domain")

        assert (first.status, first.json["success"]) == (202, True)
        assert again.json["task_id"] == first.json["task_id"]
        assert every.json["task_id"] != first.json["task_id"]
        assert covered.json["task_id"] == every.json["task_id"]
        task = client.get(f"/api/sync-task-status/{first.json['task_id']}").json
        assert (task["status"], task["progress"], task["endpoint"]) == ("pending", 0, "assets")
    parts = maximo.rows(
        "select part from innomaint_request_part where request_id = :id", id=int(every.json["task_id"])
    )
    assert {row["part"] for row in parts} == {
        *("domain", "peruser", "locations/KDFAC", "assets/KDFAC", "inventory/KDFAC", "wodetail/KDFAC"),
    }


def test_what_makes_no_sense_is_refused(maximo: Maximo):
    with serving(maximo.database) as client:
        assert client.post("/api/sync/pumps").status == 404
        assert client.get("/api/sync-task-status/77").status == 404
        assert client.get("/api/sync-task-status/x").status == 404
        assert client.post("/api/sync/domain", force_full="yes").status == 400
        assert client.post("/api/sync/domain", site='A" or').status == 400
        assert client.post("/api/sync/domain", body=b"{").status == 400
        assert "site" in client.post("/api/sync/assets").error
        assert client.post("/api/sync/domain", headers={}).status == 401


def test_the_interval_of_maximo_is_its_own(maximo: Maximo):
    with serving(maximo.database) as client:
        assert client.post("/api/admin/sync/frequency", intervalMinutes=15, source="maximo").status == 200
        assert client.post("/api/admin/sync/frequency", intervalMinutes=15, source="other").status == 400
    assert maximo.value("select value from innomaint_setting where name = 'maximo/refresh_minutes'") == 15
    assert maximo.rows("select * from innomaint_setting where name = 'innomaint/refresh_minutes'") == []
