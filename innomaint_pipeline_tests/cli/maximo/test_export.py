"""The offline file: whole, exact, private, replaced in one step."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from innomaint_pipeline.simulator.maximo.world import CANARY_EMAIL, CANARY_SECRET
from innomaint_pipeline.store.maximo.tables import EXPORTED
from innomaint_pipeline_tests.cli.conftest import Cli
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


def test_a_file_of_somebody_else_is_not_overwritten(beside: Cli):
    Path("letter.txt").write_text("dear", encoding="utf-8")

    assert beside("maximo", "export", "letter.txt").code == 2
    assert Path("letter.txt").read_text("utf-8") == "dear"
    assert beside("maximo", "export", "nowhere/copy.db").code == 2
    assert beside("maximo", "export", "empty.db").code == 0
    assert rows(Path("empty.db"), "select count(*) from assets") == [(0,)]
