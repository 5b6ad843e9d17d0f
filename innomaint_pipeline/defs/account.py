"""Which assets, partitions and runs of a Dagster instance are those of this process's account.

Several accounts share an instance, each with a code location of its own (docs/scaling.md). Without an account
all has the names that it always had. Belongs here: every name in Dagster that follows from the account, and
the tag by which a run is told from another account's.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from innomaint_pipeline.accounts import account_of_location, location_name
from innomaint_pipeline.settings import load_accounts

ACCOUNT_TAG = "innomaint/account"
"""On every run of an account: dagster.yaml bounds how many of one account run at once."""
_QUEUE_TAG = "dagster-celery/queue"

# The one setting that is read when the code location loads: its assets are named after it.
ACCOUNT = load_accounts().innomaint_account
LOCATION = location_name(ACCOUNT)


def asset_key(*path: str) -> dg.AssetKey:
    """Return the key of an asset of this account: north/ic3_asset_master; without one its path alone."""
    return dg.AssetKey(path if ACCOUNT is None else [ACCOUNT, *path])


def step_name(key: dg.AssetKey) -> str:
    """Return the name of the step that makes an asset alone, in run config and in the list of steps."""
    return key.to_python_identifier()


def partitions_of(name: str) -> dg.DynamicPartitionsDefinition:
    """Return partitions that no other account has."""
    return dg.DynamicPartitionsDefinition(name=name if ACCOUNT is None else f"{name}_{ACCOUNT}")


def account_tags(account: str | None) -> dict[str, str]:
    """Return the tags of every run of an account: whose it is, and the queue of the workers that take it."""
    return {} if account is None else {ACCOUNT_TAG: account, _QUEUE_TAG: account}


def account_of_run(run: dg.DagsterRun) -> str | None:
    """Return whose a run is."""
    return run.tags.get(ACCOUNT_TAG)


def own_runs(*, tags: Mapping[str, str] | None = None, **filters: Any) -> dg.RunsFilter:
    """Return the filter of this account's runs; without accounts all runs of the instance are its own."""
    whose = {} if ACCOUNT is None else {ACCOUNT_TAG: ACCOUNT}
    return dg.RunsFilter(tags={**whose, **(tags or {})}, **filters)


class AccountRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, which notes on each run whose it is, whoever launches it and from where.

    Jobs carry tags, but what a person materializes in the UI, and a backfill, run in Dagster's own job.
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Tag a run and put it into the queue."""
        origin = context.dagster_run.remote_job_origin
        if origin is not None:
            tags = account_tags(account_of_location(origin.location_name))
            if tags.items() - context.dagster_run.tags.items():
                self._instance.add_run_tags(context.dagster_run.run_id, tags)
        return super().submit_run(context)
