"""Ids that try to be something else are ids: through statements, requests, messages and JSON."""

import json

from innomaint_pipeline_tests.cli.conftest import Cli
from innomaint_pipeline_tests.conftest import Pipeline

HOSTILE = (
    "'; drop table ic3_asset_master; --",
    '"quoted" \\ back\\slash',
    "%s %(id)s %%",
    ":name ::text",
    "{braces} $1 $$ ?",
    "=cmd|' /C calc'!A0",
    "a/b, c\u202e d",
)


def test_hostile_ids_go_through_everything_as_they_are(connected: Cli, pipeline: Pipeline) -> None:
    pipeline.execute("delete from ic3_asset_master")
    pipeline.import_serials(list(HOSTILE), batch_size=6)
    asked = connected("sync", "--json", *(part for name in HOSTILE for part in ("--asset", name)))
    assert (asked.code, asked.json["total"], asked.json["failed"]) == (1, len(HOSTILE), len(HOSTILE))
    assert {line.rsplit(": not_found: ", 1)[0] for line in asked.json["errors"]} == set(HOSTILE)
    assert {start.serial for start in pipeline.simulator.record.starts} == set(HOSTILE)
    stored = pipeline.rows("select cmms_asset_id from ic3_asset_master order by asset_id")
    assert [row["cmms_asset_id"] for row in stored] == list(HOSTILE)
    assert json.loads(connected("status", "--json").out)["failed_by_class"] == {"not_found": len(HOSTILE)}
