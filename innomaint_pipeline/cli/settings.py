"""`innomaint pause`, `resume` and `set`: what can be changed while the program runs."""

from __future__ import annotations

from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.innomaint import batch_rows as logs
from innomaint_pipeline.store.innomaint.batch_rows import SYNC_INTERVAL, save_setting
from innomaint_pipeline.store.innomaint.refresh import change_refresh_minutes

# The bounds of INNOMAINT_REFRESH_MINUTES and INNOMAINT_SYNC_INTERVAL_S.
_BOUNDS = {"refresh-minutes": (5, 1440), "sync-interval-seconds": (5, 3600)}


def set_paused(settings: Settings, *, is_paused: bool) -> None:
    """Pause continuous sync, or let it go on."""
    with open_database(settings) as (database, _), database.begin() as connection:
        logs.set_paused(connection, is_paused=is_paused)
    say(
        "Continuous sync is paused; innomaint resume continues it."
        if is_paused
        else "Continuous sync goes on."
    )


def change_setting(settings: Settings, name: str, value: int) -> None:
    """Store a setting; raise `ConfigurationError` for a value outside its bounds."""
    lowest, highest = _BOUNDS[name]
    if not lowest <= value <= highest:
        raise ConfigurationError(f"{name} is {value}, expected a whole number from {lowest} to {highest}")
    with open_database(settings) as (database, _), database.begin() as connection:
        if name == "refresh-minutes":
            change_refresh_minutes(connection, value)
        else:
            save_setting(connection, SYNC_INTERVAL, value)
    say(f"{name} is {value} from now on.")
