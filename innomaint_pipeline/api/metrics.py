"""Numbers for Prometheus: requests to this service, and what each source tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from innomaint_pipeline.domain.health import Health

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

    def watch(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Ask what a source tells of itself at each look."""
        self.registry.register(_Source(collect))

    def render(self) -> bytes:
        """Return the text format."""
        return generate_latest(self.registry)


class _Source(Collector):
    """What a source tells of itself, as prometheus_client asks for it."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> list[Metric]:
        """Name nothing in advance: registering must not ask the database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return what it tells now."""
        return self._collect()


def build_health_gauge(name: str, health: Health) -> GaugeMetricFamily:
    """Return the health of a source as a gauge for each word."""
    gauge = GaugeMetricFamily(name, "1 for the word of health that applies", labels=["word"])
    for word in Health:
        gauge.add_metric([word], float(word == health))
    return gauge


def build_gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    """Return one number under its name; True is 1."""
    return GaugeMetricFamily(name, words, value=float(value))
