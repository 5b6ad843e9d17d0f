"""The share of the allowed rate that a pass of requests uses, while answers are slow and some fail."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from pydantic import SecretStr

from benchmarks.place import Place, Scale, import_serials
from benchmarks.report import Row
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.innomaint.batch import BatchRun
from innomaint_pipeline.sync.innomaint.steps import enrich_batch, fetch_batch, settle_batch

_SIZES = {Scale.TINY: 20, Scale.DEFAULT: 300, Scale.FULL: 2957}
_RATE_MS = {Scale.TINY: 20, Scale.DEFAULT: 200, Scale.FULL: 200}
_LATENCY_SECONDS = {Scale.TINY: 0.02, Scale.DEFAULT: 0.8, Scale.FULL: 0.8}
_FAULTS = 0.02
_TARGET = 0.98
_MOST_IN_A_SECOND = 6


def run(place: Place, scale: str) -> list[Row]:
    """Sync one batch of all CMMS assets at the allowed rate, and look at the simulator's own record.

    The pass ends with repetitions of the last failures, a few seconds of waiting whatever the size, which a
    scaled run feels more. The share that counts is that from the first start to the very last all the same.
    """
    size, rate_ms = _SIZES[scale], _RATE_MS[scale]
    with (
        place.database() as (_, database),
        place.simulator(size, latency=_LATENCY_SECONDS[scale], faults=_FAULTS) as simulator,
    ):
        import_serials(database, World(size).serials, batch_size=size)

        def open_client(run_id: str) -> InnomaintClient:
            pacing = SharedPacing(database, simulator.url, owner=run_id, rate_ms=rate_ms)
            return InnomaintClient(simulator.url, SecretStr("invented"), pacing)

        batch = BatchRun(database, "batch_000001", "measured", 1440)
        fetch_batch(batch, open_client, ZoneInfo("Asia/Kolkata"), is_last_step=False)
        enrich_batch(batch, ZoneInfo("Asia/Kolkata"), is_rebuild=False, is_last_step=False)
        settle_batch(batch, open_client, ZoneInfo("Asia/Kolkata"))
        record = simulator.requests()
    shares = rate_shares(record["requests"], 1000 / rate_ms)
    most = record["summary"]["max_in_any_second"]
    scaled = f"{size:,} assets at {1000 / rate_ms:g}/s" + ("" if scale == Scale.FULL else " (full: 2,957)")
    return [
        Row(
            "share of the allowed rate",
            f">= {_TARGET}",
            f"{shares['whole']:.3f}; up to the last first request {shares['steady']:.3f}",
            "-",
            f"{scaled}, latency 0.8 s exponential, 2 % faults",
            shares["whole"] >= _TARGET,
            {"shares": shares, "requests": len(record["requests"])},
        ),
        Row(
            "request starts in any one second",
            f"<= {_MOST_IN_A_SECOND}",
            str(most),
            "-",
            scaled,
            most <= _MOST_IN_A_SECOND if rate_ms == 200 else None,
        ),
    ]


def rate_shares(requests: list[dict], allowed_per_second: float) -> dict[str, float]:
    """Return the share of the allowed starts that were used: `steady` to the last first request, `whole`."""
    moments = sorted((item["monotonic_seconds"], item["serial"]) for item in requests)
    seen: set[str] = set()
    last_first = 0
    for number, (_, serial) in enumerate(moments):
        if serial not in seen:
            seen.add(serial)
            last_first = number
    return {
        name: number / (moments[number][0] - moments[0][0]) / allowed_per_second
        for name, number in (("steady", last_first), ("whole", len(moments) - 1))
    }
