"""What people were told, by condition and address: innomaint_alert."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.domain.alerts import Notice, Told
from innomaint_pipeline.store.tables import alert

# Between the name of a condition and the number of the address that was told: one that refuses for months
# must not make the others hear everything again.
_TO = " to address "


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
