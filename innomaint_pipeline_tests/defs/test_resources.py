"""The database that sensors look at: kept between their looks, without Dagster's own."""

import dagster as dg
import pytest

from innomaint_pipeline.definitions import defs
from innomaint_pipeline.defs.innomaint.automation import continuous_sync
from innomaint_pipeline.defs.resources import look_at_database
from innomaint_pipeline_tests.conftest import Pipeline


def test_looks_share_one_database_until_its_address_is_another(environment: pytest.MonkeyPatch) -> None:
    with look_at_database() as first, first.begin() as connection:
        assert not connection.closed
    with look_at_database() as second:
        assert second is first, "connected and compiled once"
    environment.setenv(
        "IC3_DATABASE_URL", f"{first.url}{'&' if '?' in first.url else '?'}application_name=another"
    )
    with look_at_database() as other:
        assert other.url != first.url
    assert first.engine.pool.checkedout() == 0


def test_no_sensor_opens_dagsters_database_where_nothing_is_due(
    environment: pytest.MonkeyPatch, pipeline: Pipeline
) -> None:
    """Each look is made without an instance, and fails if it asks for one."""
    pipeline.sync(pipeline.run("first"))
    for name in ("INNOMAINT_WORKBOOK", "MAXIMO_BASE_URL", "CUSTOMERS_INBOX"):
        environment.delenv(name, raising=False)
    sensors = [
        sensor for sensor in defs.get_repository_def().sensor_defs if sensor.name != continuous_sync.name
    ]
    assert len(sensors) >= 5
    for sensor in [*sensors, continuous_sync]:
        assert not sensor.required_resource_keys, f"for {sensor.name} Dagster opens its instance"
        with dg.build_sensor_context(definitions=defs) as context:
            assert not sensor.evaluate_tick(context).run_requests
