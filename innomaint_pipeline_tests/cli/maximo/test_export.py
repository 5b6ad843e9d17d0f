"""The offline file: whole, exact, private, replaced in one step."""

import json
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import BigInteger, Boolean, DateTime, Integer, Numeric

from innomaint_pipeline.simulator.maximo.world import CANARY_EMAIL, CANARY_SECRET
from innomaint_pipeline.store.maximo.tables import EXPORTED
from innomaint_pipeline_tests.cli.conftest import INNOMAINT, Cli
from innomaint_pipeline_tests.cli.maximo.test_commands import WAITING
from innomaint_pipeline_tests.maximo import Maximo


def rows(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute(query).fetchall()


def test_the_file_equals_the_tables_row_for_row_and_to_the_last_decimal(beside: Cli, maximo: Maximo):
    maximo.sync_all(("KDFAC", "LCVIRQ"))
    target = Path("copy.db")
    leftover = Path(".copy.db.partial-99999999")
    leftover.write_bytes(b"half")

    ended = beside("maximo", "export", str(target), "--json")

    assert ended.code == 0
    assert not leftover.exists()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert rows(target, "pragma integrity_check") == [("ok",)]
    for table in EXPORTED:
        held = maximo.value(f"select count(*) from maximo.{table.name}")
        assert rows(target, f'select count(*) from "{table.name}"') == [(held,)], table.name
    costs = maximo.rows("select assetuid, totalcost::text as t from maximo.assets order by 1")
    assert rows(target, "select assetuid, totalcost from assets order by 1") == [
        (row["assetuid"], row["t"]) for row in costs
    ]
    assert rows(
        target,
        "select typeof(totalcost_real), typeof(isrunning), changedate, installdate from assets"
        " where assetuid = 1007",
    ) == [("real", "integer", "2026-06-01T05:07:00Z", "2019-03-04")]
    assert rows(target, "select starttime from wolabor where line_kind = 'ACTUAL' limit 1") == [("08:20:00",)]
    info = dict(rows(target, "select name, value from export_info"))
    assert info.keys() == {"exported_at", "version", "runs", "counts"}
    assert json.loads(info["counts"]) == ended.json["counts"]
    assert "assets/KDFAC" in json.loads(info["runs"])
    assert rows(target, "select record_count from sync_status where endpoint = 'assets'") == [(290,)]
    content = target.read_bytes()
    assert CANARY_SECRET.encode() not in content
    assert CANARY_EMAIL.encode() not in content
    indexed = {row[0] for row in rows(target, "select name from sqlite_master where type = 'index'")}
    assert "ix_assetmeter_assetuid" in indexed


def test_a_reader_keeps_the_old_file_and_a_site_keeps_what_has_none(beside: Cli, maximo: Maximo):
    maximo.sync_all(("KDFAC", "LCVIRQ"))
    target = Path("copy.db")
    beside("maximo", "export", str(target))
    with closing(sqlite3.connect(target)) as reader:
        reader.execute("begin")
        before = reader.execute("select count(*) from assets").fetchone()

        assert beside("maximo", "export", str(target), "--site", "LCVIRQ").code == 0

        assert reader.execute("select count(*) from assets").fetchone() == before == (290,)
    assert rows(target, "select distinct siteid from assets") == [("LCVIRQ",)]
    assert rows(target, "select count(*) from assetmeter") == [(12,)]
    assert rows(target, "select count(*) from person") == [(60,)]
    assert {row[0] for row in rows(target, "select site from sync_state")} == {"", "LCVIRQ"}


def told_by(kind: Any, text: str | None) -> list[Any]:
    """Return what the file must hold where PostgreSQL writes a value so."""
    if text is None:
        return [None, None] if isinstance(kind, Numeric) else [None]
    if isinstance(kind, (BigInteger, Integer)):
        return [int(text)]
    if isinstance(kind, Boolean):
        return [int(text == "true")]
    if isinstance(kind, Numeric):
        return [text, float(text)]
    if isinstance(kind, DateTime):
        return [datetime.fromisoformat(text)]
    return [json.loads(text)] if isinstance(kind, JSONB) else [text]


def held_by(table: Table, row: tuple[Any, ...]) -> list[Any]:
    """Return a row of the file, moments and JSON read."""
    values, found = iter(row), []
    for column in table.columns:
        value = next(values)
        if value is not None and isinstance(column.type, DateTime):
            assert value.endswith("Z")
            value = datetime.fromisoformat(value)
        found.append(json.loads(value) if value is not None and isinstance(column.type, JSONB) else value)
        if isinstance(column.type, Numeric):
            found.append(next(values))
    return found


def assert_equal(path: Path, maximo: Maximo) -> None:
    """Assert that the file is whole and holds every row of every table to the last decimal."""
    assert rows(path, "pragma integrity_check") == [("ok",)]
    for table in EXPORTED:
        names = ", ".join(f'"{column.name}"::text as "{column.name}"' for column in table.columns)
        kinds = {column.name: column.type for column in table.columns}
        order = ", ".join(str(place) for place, column in enumerate(table.columns, 1) if column.primary_key)
        held = [
            [value for name, text in row.items() for value in told_by(kinds[name], text)]
            for row in maximo.rows(f"select {names} from maximo.{table.name}")
        ]
        found = [held_by(table, row) for row in rows(path, f'select * from "{table.name}" order by {order}')]
        assert sorted(map(repr, found)) == sorted(map(repr, held)), table.name


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_during_a_sync_and_after_a_kill_the_file_is_whole_and_equals_the_tables(
    beside: Cli, maximo: Maximo, database_url: str
):
    assert maximo.sync_all(("KDFAC", "LCVIRQ")).status == "success"
    numbers = (
        "123456789012345678901234567890.1234567890",
        "0.000000000000000000000000000001",
        "-0.10",
        "1E-7",
    )
    for place, number in enumerate(numbers, start=1001):
        maximo.execute("update maximo.assets set totalcost = :n where assetuid = :id", n=number, id=place)
    target = Path("copy.db")
    maximo.world.change("mxapiasset", 1010, description="while exporting")
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as thread:
        # The merge has written its rows and waits to say so.
        other.execute("lock table maximo.sync_run in exclusive mode")
        syncing = thread.submit(maximo.sync, "assets")
        wait_for(lambda: maximo.value(WAITING) > 0)
        assert beside("maximo", "export", str(target)).code == 0
        # The lease of the sync is in no table of the file; what it reads is stored with each page.
        assert_equal(target, maximo)
        assert rows(target, "select description from assets where assetuid = 1010") == [("Pump 10",)]
        other.rollback()
        assert syncing.result()["updated"] == 1

    with closing(sqlite3.connect(target)) as reader:
        reader.execute("begin")
        assert reader.execute("select count(*) from assets").fetchone() == (290,)
        with psycopg.connect(database_url) as other:
            other.execute("lock table maximo.workorder in access exclusive mode")
            child = subprocess.Popen([INNOMAINT, "maximo", "export", str(target)], stderr=subprocess.DEVNULL)
            wait_for(lambda: maximo.value(WAITING) > 0)
            child.kill()
            child.wait()
        assert list(Path().glob(".copy.db.partial-*"))
        assert rows(target, "pragma integrity_check") == [("ok",)]
        assert rows(target, "select description from assets where assetuid = 1010") == [("Pump 10",)]

        assert beside("maximo", "export", str(target)).code == 0

        read = reader.execute("select description from assets where assetuid = 1010").fetchone()
        assert read == ("Pump 10",)
    assert not list(Path().glob(".copy.db.partial-*"))
    assert_equal(target, maximo)
    assert rows(target, "select description from assets where assetuid = 1010") == [("while exporting",)]
    assert rows(target, "select totalcost from assets where assetuid = 1001") == [(numbers[0],)]
    content = target.read_bytes()
    assert not [text for text in (CANARY_SECRET, CANARY_EMAIL) if text.encode() in content]


def test_a_file_of_somebody_else_is_not_overwritten(beside: Cli):
    Path("letter.txt").write_text("dear", encoding="utf-8")

    assert beside("maximo", "export", "letter.txt").code == 2
    assert Path("letter.txt").read_text("utf-8") == "dear"
    assert beside("maximo", "export", "nowhere/copy.db").code == 2
    assert beside("maximo", "export", "empty.db").code == 0
    assert rows(Path("empty.db"), "select count(*) from assets") == [(0,)]
