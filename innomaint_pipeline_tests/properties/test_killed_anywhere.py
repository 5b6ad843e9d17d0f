"""A run killed at each of its statements: what must hold holds, and the next run finishes the work."""

from datetime import UTC, datetime

from innomaint_pipeline.simulator.innomaint.faults import Status
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline_tests.conftest import Pipeline, fix_world
from innomaint_pipeline_tests.invariants import check_invariants
from innomaint_pipeline_tests.properties.interrupted import KilledError, dying_database

BATCH_SIZE = 3
# More than a run needs; the test ends with the first run that is not killed.
MOST_STATEMENTS = 200


def test_a_run_killed_at_any_statement_is_finished_by_the_next(
    empty_pipeline: Pipeline, database_url: str
) -> None:
    pipeline = empty_pipeline
    fix_world(pipeline.simulator, World(MOST_STATEMENTS * BATCH_SIZE))
    pipeline.import_serials(batch_size=BATCH_SIZE)
    killed = 0
    for statements in range(MOST_STATEMENTS):
        batch = f"batch_{statements + 1:06d}"
        serials = pipeline.serials[statements * BATCH_SIZE :][:BATCH_SIZE]
        # Fails in the first pass, not in the second.
        pipeline.simulator.faults.next(serials[0], *[Status(503)] * 3)
        with dying_database(database_url, after_statements=statements) as database:
            dying = Pipeline(database, pipeline.simulator, pipeline.policy)
            try:
                dying.sync(dying.run(f"killed-{statements}", batch_key=batch))
            except KilledError:
                killed += 1
            else:
                break
        check_invariants(pipeline.database, datetime.now(UTC))
        pipeline.execute("update innomaint_lease set expires_at = now() - interval '1 s'")
        pipeline.execute("update innomaint_sync_state set next_due_at = now() where state = 'failed'")
        report = pipeline.sync(pipeline.run(f"second-{statements}", batch_key=batch))
        assert (report.status, report.remaining) == ("complete", ())
        assert {pipeline.states()[serial] for serial in serials} == {("synced", None)}
        logged = pipeline.rows(
            "select serialnumber, status from ic3_sync_log where status = 'success'"
            " and sync_type = 'api_sync' and serialnumber = any(:serials)",
            serials=list(serials),
        )
        assert sorted(row["serialnumber"] for row in logged) == sorted(serials), "each succeeded once"
    assert 20 < killed < MOST_STATEMENTS - 1
    assert pipeline.rows("select * from innomaint_lease") == []
