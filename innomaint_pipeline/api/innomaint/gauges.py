"""Innomaint's sync in numbers for Prometheus, as the tables tell it at each look."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from innomaint_pipeline.api.metrics import build_gauge, build_health_gauge
from innomaint_pipeline.api.parts import Parts
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.store.innomaint.overview import load_gauges


def collect_innomaint(parts: Parts) -> Iterator[Metric]:
    """Yield the gauges of the sync; none where Innomaint is not read."""
    if not parts.account.is_set:
        return
    with parts.read() as connection:
        gauges = load_gauges(connection, parts.account)
    yield build_health_gauge("innomaint_health", gauges.health)
    yield build_gauge("innomaint_assets", "CMMS assets in the asset master", gauges.total)
    states = GaugeMetricFamily("innomaint_assets_by_state", "CMMS assets by state", labels=["state"])
    for state, count in (("synced", gauges.synced), ("failed", gauges.failed), ("never", gauges.never)):
        states.add_metric([state], count)
    yield states
    failed = GaugeMetricFamily(
        "innomaint_failed_assets", "Failed CMMS assets by error class", labels=["error_class"]
    )
    for error_class in ErrorClass:
        failed.add_metric([error_class], gauges.failed_by_class.get(error_class, 0))
    yield failed
    yield build_gauge(
        "innomaint_requests_per_second", "Request starts a second to Innomaint", gauges.rate_per_second
    )
    yield build_gauge("innomaint_breaker_open", "1 while the circuit breaker is open", gauges.is_breaker_open)
    yield build_gauge("innomaint_paused", "1 while continuous sync is paused", gauges.is_paused)
    yield build_gauge("innomaint_due_assets", "CMMS assets that are due", gauges.due)
    yield build_gauge("innomaint_batches_in_flight", "Batches that a run works on", gauges.in_flight)
    yield build_gauge(
        "innomaint_open_requests", "Requests of people that are not closed", gauges.open_requests
    )
    if gauges.last_success_age_seconds is not None:
        yield build_gauge(
            "innomaint_last_success_age_seconds",
            "Since the newest good answer",
            gauges.last_success_age_seconds,
        )
