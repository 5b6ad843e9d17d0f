"""Telling people when something changes for the worse, and an outside watchdog that the daemon lives."""

import time
from collections.abc import Sequence

import dagster as dg

from innomaint_pipeline.defs.recovery import RunCloser, tell_of_lost_runs
from innomaint_pipeline.defs.resources import look_at_database
from innomaint_pipeline.defs.source import ConditionLoader
from innomaint_pipeline.domain.alerts import decide_notices
from innomaint_pipeline.domain.health import Health, most_urgent
from innomaint_pipeline.domain.schedule import parse_moment
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline.store.alerts import load_told, save_told
from innomaint_pipeline.store.database import find_now

_SECONDS = 30
_HEARTBEAT_SECONDS = 60
# What people are told stands in the tick's log too, whether or not anybody has an address.
_LOG = 0


def build_alerts(
    loaders: Sequence[ConditionLoader], closers: Sequence[RunCloser] = ()
) -> dg.SensorDefinition:
    """Return the sensor that tells people of the conditions of every source, and of runs that were lost."""

    @dg.sensor(
        name="alerts",
        jobs=None,
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Tells the addresses of INNOMAINT_ALERT_URLS about each change of health, refused tokens, "
            "failed runs and failed imports, once, with a reminder a day; sends the heartbeat of "
            "INNOMAINT_HEARTBEAT_URL. Says on the pages of its assets what became of a run that was lost."
        ),
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Send what people have not been told yet; a notice that nobody took is sent again."""
        # Of the processes that load the definitions, only the one that looks for alerts tells anybody.
        from innomaint_pipeline.sources.notifications import Notifier, send_heartbeat  # noqa: PLC0415

        settings = load_settings()
        notifier = Notifier(settings.innomaint_alert_urls, account=settings.innomaint_account)
        sent, refused = [], []
        with look_at_database() as database:
            with database.snapshot() as connection:
                found = [load(connection, settings) for load in loaders]
                told = {number: load_told(connection, number) for number in (_LOG, *notifier.numbers)}
                now = find_now(connection)
            tell_of_lost_runs(context, database, closers)
            conditions = [condition for _, of_source in found for condition in of_source]
            for number, known in told.items():
                for notice in decide_notices(conditions, known, now):
                    words = f"{notice.name} {notice.kind}"
                    if number == _LOG:
                        context.log.warning(f"{words}: {notice.message}")
                    elif not notifier.send(notice, number):
                        refused.append(f"{words} (address {number})")
                        continue
                    with database.begin() as connection:
                        save_told(connection, notice, number)
                    sent.append(words)
        beat_at, lost_beat = parse_moment(context.cursor), None
        if (
            settings.innomaint_heartbeat_url is not None
            and not 0 <= time.time() - beat_at < _HEARTBEAT_SECONDS
        ):
            try:
                send_heartbeat(settings.innomaint_heartbeat_url)
                beat_at = time.time()
            except ConnectionError as error:
                lost_beat = str(error)
        failures = [*notifier.refusals, *([lost_beat] if lost_beat else [])]
        if refused:
            failures.append(
                f"addresses of INNOMAINT_ALERT_URLS (not shown) did not take: {', '.join(refused)}; "
                "they are sent again"
            )
        if failures:
            raise ConnectionError("; ".join(failures))
        absent = sum(health is Health.NOT_SET for health, _ in found)
        of_sources = f" ({absent} of {len(found)} sources not set)" if absent else ""
        words = f"health {most_urgent(health for health, _ in found)}{of_sources}; " + (
            f"told: {', '.join(dict.fromkeys(sent))}" if sent else "nothing new to tell"
        )
        return dg.SensorResult(skip_reason=dg.SkipReason(words), cursor=str(beat_at))

    return alerts
