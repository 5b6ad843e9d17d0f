"""Maximo in numbers for Prometheus, as the tables tell it at each look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from innomaint_pipeline.api.metrics import build_gauge, build_health_gauge
from innomaint_pipeline.api.parts import Parts
from innomaint_pipeline.store.maximo.conditions import has_schema
from innomaint_pipeline.store.maximo.overview import STATUSES, load_gauges


def collect_maximo(parts: Parts) -> Iterator[Metric]:
    """Yield the gauges of Maximo; none where it is not read."""
    if parts.settings.maximo_base_url is None:
        return
    with parts.read() as connection:
        if not has_schema(connection):
            return
        gauges = load_gauges(connection)
    yield build_health_gauge("maximo_health", gauges.health)
    yield _by_structure("maximo_records", "Synced rows of the root table", gauges.records)
    words = GaugeMetricFamily("maximo_status", "1 for the word that applies", labels=["structure", "status"])
    for structure, status in gauges.statuses.items():
        for word in STATUSES:
            words.add_metric([structure, word], float(word == status))
    yield words
    yield _by_structure(
        "maximo_data_age_seconds",
        "Since the site that is furthest behind was brought up to date",
        gauges.age_seconds,
    )
    yield _by_structure("maximo_open_rejects", "Roots that the database refuses", gauges.rejects)
    yield _by_structure("maximo_open_drift", "Open lines of schema_drift", gauges.drift)
    yield build_gauge("maximo_reads_in_flight", "Reads that a run works on", gauges.in_flight)


def _by_structure(name: str, words: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, words, labels=["structure"])
    for structure, value in values.items():
        gauge.add_metric([structure], float(value))
    return gauge
