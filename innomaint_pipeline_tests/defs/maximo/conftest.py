"""A small simulated Maximo, and the variables with which steps reach it."""

import dagster as dg
import pytest

from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.maximo import SITE, Maximo, _maximo_process, maximo

__all__ = ["_maximo_process", "maximo"]


@pytest.fixture
def beside(
    bare_environment: pytest.MonkeyPatch, maximo: Maximo, instance: dg.DagsterInstance
) -> dg.DagsterInstance:
    """An instance with the site as a partition, whose steps reach database and simulator of the test."""
    for name, value in {
        "IC3_DATABASE_URL": maximo.database.engine.url.render_as_string(hide_password=False),
        "MAXIMO_BASE_URL": maximo.simulator.url,
        "MAXIMO_API_KEY": CANARY_TOKEN,
        "MAXIMO_RATE_MS": "0",
        "MAXIMO_RETRY_BASE_S": "0.001",
        "MAXIMO_SITES": SITE,
    }.items():
        bare_environment.setenv(name, value)
    instance.add_dynamic_partitions("maximo_sites", [SITE])
    return instance
