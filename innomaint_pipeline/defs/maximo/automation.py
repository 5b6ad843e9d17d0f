"""What of Maximo runs by itself: the sensor that launches what is due, and what people are told."""

import dagster as dg

from innomaint_pipeline.defs.account import own_runs
from innomaint_pipeline.defs.maximo.assets import (
    MAXIMO_RUNS,
    SITES,
    maximo_global,
    maximo_site,
    read_run_config,
)
from innomaint_pipeline.defs.maximo.opening import client_opener, read_settings
from innomaint_pipeline.defs.recovery import UNDER_WAY, find_partitions_in_runs
from innomaint_pipeline.defs.resources import look_at_database
from innomaint_pipeline.domain.alerts import Condition
from innomaint_pipeline.domain.health import Health
from innomaint_pipeline.domain.maximo import SOURCE
from innomaint_pipeline.domain.maximo.answers import StructureError
from innomaint_pipeline.domain.maximo.declarations import STRUCTURES
from innomaint_pipeline.errors import ConfigurationError, SourceRefusedError
from innomaint_pipeline.settings import Settings, load_settings
from innomaint_pipeline.store.database import Connection, Database, find_now
from innomaint_pipeline.store.maximo.conditions import all_places, find_due, has_schema, load_conditions
from innomaint_pipeline.store.maximo.states import leave_turn, load_own_site
from innomaint_pipeline.store.settings import PAUSED, load_setting
from innomaint_pipeline.sync.maximo.steps import find_own_site

_BEAT_SECONDS = 60


def _sites(settings: Settings, database: Database) -> tuple[str, ...]:
    """Return the sites to keep: those configured, else the one of the key's own user, asked for once a day.

    What a person had read once with --site is not kept.
    """
    if settings.maximo_sites:
        return settings.maximo_sites
    with database.begin() as connection:
        known = load_own_site(connection)
    if known is not None and known[1]:
        return (known[0],)
    try:
        return (find_own_site(database, client_opener(settings, database), "maximo-whoami"),)
    except (SourceRefusedError, StructureError):
        if known is None:
            raise
        return (known[0],)


@dg.sensor(
    jobs=[maximo_global, maximo_site],
    name="maximo_due",
    minimum_interval_seconds=_BEAT_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Each minute it launches what of Maximo is due: an increment after MAXIMO_INTERVAL_MINUTES, a full "
        "read at night, a failed one after ten minutes. Without MAXIMO_BASE_URL it does nothing."
    ),
)
def maximo_due(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Launch what is due, without run keys: what failed must be launched again."""
    settings = load_settings()
    if settings.maximo_base_url is None or settings.maximo_api_key is None:
        return dg.SkipReason("MAXIMO_BASE_URL or MAXIMO_API_KEY is not set: Maximo is not read")
    with look_at_database() as database:
        with database.begin() as connection:
            if not has_schema(connection):
                return dg.SkipReason("the database has no schema maximo: run innomaint db upgrade")
            is_paused = bool(load_setting(connection, SOURCE, PAUSED))
        if is_paused:
            return dg.SkipReason("a person has paused it")
        lacking = ""
        try:
            sites = _sites(settings, database)
        except ConfigurationError as error:
            # What has no site is read all the same.
            sites, lacking = (), f"; {error}"
        except (SourceRefusedError, StructureError) as error:
            return dg.SkipReason(f"no site is known: {error}")
        minutes = read_settings(settings, database).interval_minutes
        with database.begin() as connection:
            leave_turn(connection, sites)
            due = find_due(connection, all_places(sites), find_now(connection), interval_minutes=minutes)
    wanted = {place.site for place in due}
    busy = find_partitions_in_runs(context.instance, MAXIMO_RUNS) if wanted else {}
    requests = []
    if "" in wanted and not _is_global_under_way(context.instance):
        requests.append(_request(maximo_global.name, None))
    requests += [_request(maximo_site.name, site) for site in sites if site in wanted and site not in busy]
    words = f"{len(due)} of {len(all_places(sites))} reads are due, {len(requests)} runs launched{lacking}"
    new = [site for site in sites if not context.instance.has_dynamic_partition(str(SITES.name), site)]
    if not requests:
        return dg.SensorResult(
            skip_reason=dg.SkipReason(words),
            dynamic_partitions_requests=[SITES.build_add_request(new)] if new else [],
        )
    context.log.info(words)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[SITES.build_add_request(new)] if new else [],
    )


def _request(job: str, site: str | None) -> dg.RunRequest:
    structures = tuple(item for item in STRUCTURES if item.has_site is (site is not None))
    return dg.RunRequest(
        job_name=job,
        partition_key=site,
        run_config=read_run_config(structures, {"only_due": True}),
        tags={"innomaint/started_by": "maximo_due"},
    )


def _is_global_under_way(instance: dg.DagsterInstance) -> bool:
    filters = own_runs(job_name=maximo_global.name, statuses=UNDER_WAY)
    return bool(instance.get_runs(filters=filters, limit=1))


def load_maximo_conditions(connection: Connection, settings: Settings) -> tuple[Health, list[Condition]]:
    """Return how Maximo is doing and what people are told; nothing where it is not read."""
    if settings.maximo_base_url is None:
        return Health.NOT_SET, []
    if not has_schema(connection):
        return Health.UNKNOWN, []
    return load_conditions(connection)
