"""Telling people when something changes for the worse, and an outside watchdog that the daemon lives."""

import time
from datetime import UTC, datetime

import dagster as dg

from innomaint_pipeline.defs.innomaint.resource import InnomaintResource
from innomaint_pipeline.defs.resources import Ic3DatabaseResource
from innomaint_pipeline.domain.alerts import decide_notices
from innomaint_pipeline.domain.innomaint.launches import parse_moment
from innomaint_pipeline.store.alerts import load_conditions, load_told, save_told
from innomaint_pipeline.store.innomaint.status import load_status

_SECONDS = 30
_HEARTBEAT_SECONDS = 60
# What people are told stands in the tick's log too, whether or not anybody has an address.
_LOG = 0


@dg.sensor(
    name="alerts",
    jobs=None,
    minimum_interval_seconds=_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells the addresses of INNOMAINT_ALERT_URLS about each change of health, refused tokens, "
        "failed runs and failed imports, once, with a reminder a day; sends the heartbeat of "
        "INNOMAINT_HEARTBEAT_URL."
    ),
)
def alerts(
    context: dg.SensorEvaluationContext, ic3: Ic3DatabaseResource, innomaint: InnomaintResource
) -> dg.SensorResult | dg.SkipReason:
    """Send what people have not been told yet; a notice that nobody took is sent again at the next tick."""
    # Of the processes that load the definitions, only the one that looks for alerts tells anybody.
    from innomaint_pipeline.sources.notifications import Notifier, send_heartbeat  # noqa: PLC0415

    settings = innomaint.settings()
    notifier = Notifier(settings.innomaint_alert_urls)
    sent, refused = [], []
    with ic3.open() as database:
        status = load_status(
            database,
            account=settings.innomaint_api_url,
            refresh_start_minutes=settings.innomaint_refresh_minutes,
            configured_rate_per_second=0.0,
        )
        with database.begin() as connection:
            conditions = load_conditions(
                connection, health=status["health"], consecutive_failures=status["consecutive_failures"]
            )
            told = {number: load_told(connection, number) for number in (_LOG, *notifier.numbers)}
        now = datetime.now(UTC)
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
    beat_at = parse_moment(context.cursor)
    if settings.innomaint_heartbeat_url is not None and not 0 <= time.time() - beat_at < _HEARTBEAT_SECONDS:
        send_heartbeat(settings.innomaint_heartbeat_url)
        beat_at = time.time()
    if refused:
        raise ConnectionError(
            f"addresses of INNOMAINT_ALERT_URLS (not shown) did not take: {', '.join(refused)}; "
            "they are sent again"
        )
    words = f"health {status['health']}; " + (
        f"told: {', '.join(dict.fromkeys(sent))}" if sent else "nothing new to tell"
    )
    return dg.SensorResult(skip_reason=dg.SkipReason(words), cursor=str(beat_at))
