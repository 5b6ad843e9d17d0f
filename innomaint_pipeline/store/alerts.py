"""What people were told, and the conditions that they are told about: innomaint_alert."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.domain.alerts import Condition, Notice, Told
from innomaint_pipeline.domain.health import FAILED_BATCHES_IN_A_ROW, Health
from innomaint_pipeline.store.settings import AUTH_REFUSED_AT, IMPORT_ERROR, load_setting
from innomaint_pipeline.store.tables import alert

# Between the name of a condition and the number of the address that was told: one that refuses for months
# must not make the others hear everything again.
_TO = " to address "
_HEALTH_WORDS = {
    Health.STALE: "the oldest data is older than twice the refresh interval",
    Health.DEGRADED: "batch runs fail, or too many assets have failed",
    Health.DOWN: "Innomaint cannot be asked",
    Health.PAUSED: "continuous sync is paused by a person; innomaint resume continues it",
}


def load_conditions(connection: Connection, *, health: str, consecutive_failures: int) -> list[Condition]:
    """Return what people are told about, good or bad."""
    word = Health(health)
    is_fine = word in {Health.HEALTHY, Health.UNKNOWN}
    refused = load_setting(connection, "innomaint", AUTH_REFUSED_AT)
    import_error = load_setting(connection, "workbook", IMPORT_ERROR)
    is_failing = consecutive_failures >= FAILED_BATCHES_IN_A_ROW
    return [
        Condition(
            "health",
            None if is_fine else word,
            f"Health is {word}" + ("." if is_fine else f": {_HEALTH_WORDS[word]}. See innomaint status."),
        ),
        Condition(
            "failed_runs",
            "failing" if is_failing else None,
            f"{consecutive_failures} batch runs in a row failed. See innomaint status and Dagster's run log."
            if is_failing
            else "Batch runs succeed again.",
        ),
        Condition(
            "token",
            "refused" if refused else None,
            f"Innomaint refused the token at {refused}: renew INNOMAINT_API_TOKEN and start again. "
            "No asset was marked as failed."
            if refused
            else "Innomaint accepts the token.",
        ),
        Condition(
            "import",
            "failed" if import_error else None,
            f"The asset master was not imported: {import_error} The sync goes on with the old one."
            if import_error
            else "The asset master is imported again.",
        ),
    ]


def load_told(connection: Connection, number: int) -> dict[str, Told]:
    """Return what an address was last told, by condition; address 0 is the log."""
    rows = connection.execute(select(alert.c.name, alert.c.value, alert.c.told_at))
    told = {}
    for row in rows:
        name, _, address = row.name.partition(_TO)
        if address == str(number):
            told[name] = Told(row.value, row.told_at)
    return told


def save_told(connection: Connection, notice: Notice, number: int) -> None:
    """Remember that an address was told."""
    name = f"{notice.name}{_TO}{number}"
    if notice.value is None:
        connection.execute(delete(alert).where(alert.c.name == name))
        return
    statement = insert(alert).values(name=name, value=notice.value, told_at=func.now())
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": statement.excluded.value, "told_at": func.now()}
        )
    )
