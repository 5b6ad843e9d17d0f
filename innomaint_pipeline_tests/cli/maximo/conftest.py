"""A small simulated Maximo, and the command line beside it."""

import os

import pytest

from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import CANARY_TOKEN
from innomaint_pipeline_tests.maximo import Maximo, _maximo_process, maximo

__all__ = ["_maximo_process", "maximo"]


@pytest.fixture
def beside(cli: Cli, database_url: str, maximo: Maximo) -> Cli:
    """The command line with the database and the simulated Maximo of the test, and nothing of Innomaint."""
    os.environ |= {
        "IC3_DATABASE_URL": database_url,
        "MAXIMO_BASE_URL": maximo.simulator.url,
        "MAXIMO_API_KEY": CANARY_TOKEN,
        "MAXIMO_RATE_MS": "0",
        "MAXIMO_RETRY_BASE_S": "0.001",
    }
    return cli
