"""Numbers for Prometheus: requests to this service, and the sync as the tables tell it at each look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from innomaint_pipeline.api.parts import Parts
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.store.innomaint.overview import load_gauges

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """A registry of its own: two services in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "innomaint_admin_requests",
            "Requests to the admin service",
            ["endpoint", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "innomaint_admin_request_seconds",
            "How long they took",
            ["endpoint"],
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
            registry=self.registry,
        )

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request under its route, never under what a client wrote."""
        route = scope.get("route")
        endpoint = getattr(route, "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(endpoint, method, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def watch(self, parts: Parts) -> None:
        """Read the tables at each look."""
        self.registry.register(_SyncCollector(parts))

    def render(self) -> bytes:
        """Return the text format."""
        return generate_latest(self.registry)


class _SyncCollector(Collector):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> list[Metric]:
        """Name nothing in advance: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        parts = self._parts
        gauges = load_gauges(
            parts.database, account=parts.account, refresh_start_minutes=parts.refresh_start_minutes
        )
        yield _gauge("innomaint_assets", "CMMS assets in the asset master", gauges["total"])
        states = GaugeMetricFamily("innomaint_assets_by_state", "CMMS assets by state", labels=["state"])
        for name in ("synced", "failed", "never"):
            states.add_metric([name], gauges[name])
        yield states
        failed = GaugeMetricFamily(
            "innomaint_failed_assets", "Failed CMMS assets by error class", labels=["error_class"]
        )
        for error_class in ErrorClass:
            failed.add_metric([error_class], gauges["failed_by_class"].get(error_class, 0))
        yield failed
        yield _gauge(
            "innomaint_requests_per_second", "Request starts a second to Innomaint", gauges["rate_per_second"]
        )
        yield _gauge(
            "innomaint_breaker_open", "1 while the circuit breaker is open", gauges["is_breaker_open"]
        )
        yield _gauge("innomaint_paused", "1 while continuous sync is paused", gauges["is_paused"])
        yield _gauge("innomaint_due_assets", "CMMS assets that are due", gauges["due"])
        yield _gauge("innomaint_batches_in_flight", "Batches that a run works on", gauges["in_flight"])
        yield _gauge(
            "innomaint_open_requests", "Requests of people that are not closed", gauges["open_requests"]
        )
        if gauges["last_success_at"] is not None:
            age = (datetime.now(UTC) - gauges["last_success_at"]).total_seconds()
            yield _gauge("innomaint_last_success_age_seconds", "Since the newest good answer", max(age, 0.0))


def _gauge(name: str, words: str, value: Any) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=float(value))
