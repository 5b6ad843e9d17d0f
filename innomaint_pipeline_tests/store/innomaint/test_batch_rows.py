"""Settings, and the rule that live and simulated data never meet in one database."""

import pytest

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.innomaint.batch_rows import (
    claim_origin,
    load_refresh_minutes,
    load_setting,
    save_setting,
)


def test_the_first_sync_decides_whether_a_database_is_live_or_simulated(database: Database) -> None:
    with database.begin() as connection:
        claim_origin(connection, "simulated")
    with database.begin() as connection:
        claim_origin(connection, "simulated")
    with (
        pytest.raises(ConfigurationError, match=r"holds simulated data.*IC3_DATABASE_URL"),
        database.begin() as connection,
    ):
        claim_origin(connection, "live")


def test_a_refused_claim_changes_nothing(database: Database) -> None:
    with database.begin() as connection:
        claim_origin(connection, "live")
    with pytest.raises(ConfigurationError), database.begin() as connection:
        claim_origin(connection, "simulated")
    with database.begin() as connection:
        claim_origin(connection, "live")


def test_a_setting_is_kept_replaced_and_unknown_before(database: Database) -> None:
    with database.begin() as connection:
        assert load_setting(connection, "paused") is None
        save_setting(connection, "paused", {"by": "Ünicode", "n": [1, None]})
        assert load_setting(connection, "paused") == {"by": "Ünicode", "n": [1, None]}
        save_setting(connection, "paused", False)
        assert load_setting(connection, "paused") is False


def test_a_stored_refresh_interval_wins_over_the_start_value(database: Database) -> None:
    with database.begin() as connection:
        assert load_refresh_minutes(connection, 1440) == 1440
        save_setting(connection, "refresh_minutes", 5)
        assert load_refresh_minutes(connection, 1440) == 5
