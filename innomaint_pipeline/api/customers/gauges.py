"""The customer list in numbers for Prometheus, as the tables tell it at each look."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from innomaint_pipeline.api.metrics import build_gauge, build_health_gauge
from innomaint_pipeline.api.parts import Parts
from innomaint_pipeline.store.customers.lists import count_waiting
from innomaint_pipeline.store.customers.overview import count_rows, load_metrics, load_status
from innomaint_pipeline.store.customers.runs import has_schema


def collect_customers(parts: Parts) -> Iterator[Metric]:
    """Yield the gauges of the customer list; none where it is not read."""
    settings = parts.settings
    if settings.customers_inbox is None:
        return
    with parts.read() as connection:
        if not has_schema(connection):
            return
        status = load_status(connection, settings.customers_interval_minutes, is_set=True)
        metrics = load_metrics(connection, settings.customers_interval_minutes, is_set=True)
        waiting = count_waiting(connection, keep_days=settings.customers_keep_days)
        rows = count_rows(connection)
    states = GaugeMetricFamily("customers_by_state", "Customers by state", labels=["state"])
    for state in ("active", "missing", "deleted"):
        states.add_metric([state], rows.get(state, 0))
    yield states
    yield build_health_gauge("customers_health", status["health"])
    yield build_gauge(
        "customers_consecutive_failures", "Failed runs in a row", metrics["consecutiveFailures"]
    )
    yield build_gauge("customers_quarantined_lists", "Refused lists that wait", waiting["quarantined"])
    yield build_gauge("customers_held_removals", "Removals that wait", waiting["held"])
    if status["dataAgeSeconds"] is not None:
        yield build_gauge(
            "customers_data_age_seconds",
            "Since the last accepted list was exported",
            status["dataAgeSeconds"],
        )
