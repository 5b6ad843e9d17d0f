"""Settings, and the rule that live and simulated data never meet in one database."""

import pytest

from innomaint_pipeline.domain.innomaint import SOURCE
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import (
    PAUSED,
    claim_origin,
    load_refresh_minutes,
    load_setting,
    save_setting,
    set_paused,
)


def test_the_first_sync_decides_whether_a_database_is_live_or_simulated(database: Database) -> None:
    with database.begin() as connection:
        claim_origin(connection, SOURCE, "simulated", address_variable="INNOMAINT_API_URL")
    with database.begin() as connection:
        claim_origin(connection, SOURCE, "simulated", address_variable="INNOMAINT_API_URL")
    with (
        pytest.raises(ConfigurationError, match=r"holds simulated data.*IC3_DATABASE_URL"),
        database.begin() as connection,
    ):
        claim_origin(connection, SOURCE, "live", address_variable="INNOMAINT_API_URL")


def test_a_refused_claim_changes_nothing(database: Database) -> None:
    with database.begin() as connection:
        claim_origin(connection, SOURCE, "live", address_variable="INNOMAINT_API_URL")
    with pytest.raises(ConfigurationError), database.begin() as connection:
        claim_origin(connection, SOURCE, "simulated", address_variable="INNOMAINT_API_URL")
    with database.begin() as connection:
        claim_origin(connection, SOURCE, "live", address_variable="INNOMAINT_API_URL")


def test_a_setting_is_kept_replaced_and_unknown_before(database: Database) -> None:
    with database.begin() as connection:
        assert load_setting(connection, SOURCE, "paused") is None
        save_setting(connection, SOURCE, "paused", {"by": "Ünicode", "n": [1, None]})
        assert load_setting(connection, SOURCE, "paused") == {"by": "Ünicode", "n": [1, None]}
        save_setting(connection, SOURCE, "paused", False)
        assert load_setting(connection, SOURCE, "paused") is False


def test_a_stored_refresh_interval_wins_over_the_start_value(database: Database) -> None:
    with database.begin() as connection:
        assert load_refresh_minutes(connection, SOURCE, 1440) == 1440
        save_setting(connection, SOURCE, "refresh_minutes", 5)
        assert load_refresh_minutes(connection, SOURCE, 1440) == 5


def test_what_is_set_for_one_source_is_not_set_for_another(database: Database) -> None:
    with database.begin() as connection:
        set_paused(connection, SOURCE, is_paused=True)
        claim_origin(connection, SOURCE, "simulated", address_variable="INNOMAINT_API_URL")
        claim_origin(connection, "another", "live", address_variable="ANOTHER_URL")
        assert load_setting(connection, SOURCE, PAUSED) is True
        assert load_setting(connection, "another", PAUSED) is None
        set_paused(connection, "another", is_paused=False)
        assert load_setting(connection, SOURCE, PAUSED) is True
