"""Which CMMS assets a run of `sync_batch` asks for, as its run config says it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg
from pydantic import Field

from innomaint_pipeline.defs.account import asset_key, step_name
from innomaint_pipeline.sync.innomaint.batch import Selection

FETCH = "innomaint_response"
SETTLE = "cmms_sync_log"
FETCH_KEY, SETTLE_KEY = asset_key(FETCH), asset_key(SETTLE)
"""The assets whose steps take a selection."""


class SelectionConfig(dg.Config):
    """Which CMMS assets of the batch to ask for; as it is: those that are due."""

    cmms_asset_ids: list[str] = Field(default=[], description="Only these CMMS asset ids of the batch.")
    asked_before: str | None = Field(
        default=None, description="Every one not asked since this time (ISO 8601 with offset), due or not."
    )

    def selection(self) -> Selection:
        """Return the selection; raise `ValueError` for a malformed time."""
        moment = datetime.fromisoformat(self.asked_before) if self.asked_before else None
        if moment is not None and moment.tzinfo is None:
            raise ValueError(
                f"asked_before is {self.asked_before!r}: expected a time with offset, like "
                "2026-06-20T12:00+05:30"
            )
        return Selection(tuple(self.cmms_asset_ids), moment)


def selection_run_config(selection: Selection) -> dict[str, Any]:
    """Return the run config of `sync_batch` for a selection."""
    config: dict[str, Any] = {"cmms_asset_ids": list(selection.cmms_asset_ids)}
    if selection.asked_before is not None:
        config["asked_before"] = selection.asked_before.isoformat()
    return {"ops": {step_name(key): {"config": config} for key in (FETCH_KEY, SETTLE_KEY)}}


def read_selection(run_config: Mapping[str, Any]) -> Selection:
    """Return the selection of a run of `sync_batch`, from its run config."""
    config = run_config.get("ops", {}).get(step_name(FETCH_KEY), {}).get("config", {})
    return SelectionConfig(**config).selection()
