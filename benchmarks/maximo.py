"""Assets of Maximo a second, from the API to all tables, beside dlt's REST source; memory by pages.

Not the same work. For us: our tables stand before the clock starts. Against us: dlt keeps no answers, counts
nothing, proves nothing whole, checks no type, and takes no lease; its requests for pages are the same.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.place import Place, Scale
from benchmarks.report import Row, spread
from benchmarks.throughput import PEER_PYTHON
from innomaint_pipeline.cli.maximo.simulate import KEY

_SIZES = {Scale.TINY: (40, 1), Scale.DEFAULT: (10_000, 1), Scale.FULL: (100_000, 2)}
_SITE = "KDFAC"
_OURS = [sys.executable, "-m", "benchmarks.peers.maximo_product"]
# Of so many pages against a quarter of them: arenas and caches of statements are no growth.
_FLAT = 1.1


@contextmanager
def _simulator(place: Place, size: int) -> Iterator[str]:
    """Yield the address of a simulated Maximo that holds so many assets."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.maximo_simulator", str(size)],
        env=place.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address:
            raise RuntimeError("the simulated Maximo ended at once")
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=60)


def run(place: Place, scale: str) -> list[Row]:
    """Load all assets by ours and by dlt, in turn; then a quarter of them by ours."""
    size, rounds = _SIZES[scale]
    programs = {"ours": _OURS}
    if PEER_PYTHON.exists():
        programs["dlt"] = [str(PEER_PYTHON), "-m", "benchmarks.peers.dlt_maximo"]
    elif scale != Scale.TINY:
        raise RuntimeError(f"{PEER_PYTHON} is missing: make bench makes it")
    rates: dict[str, list[float]] = {name: [] for name in programs}
    peaks: dict[str, list[float]] = {name: [] for name in programs}
    with _simulator(place, size) as address:
        for _ in range(rounds):
            for name, command in programs.items():
                rate, peak = _load(place, command, address, size)
                rates[name].append(rate)
                peaks[name].append(peak)
    quarter = size // 4
    with _simulator(place, quarter) as address:
        _, few = _load(place, _OURS, address, quarter)
    ours = statistics.median(rates["ours"])
    ratios = [mine / theirs for mine, theirs in zip(rates["ours"], rates.get("dlt", ()), strict=False)]
    theirs = f" against {statistics.median(rates['dlt']):.0f}/s" if ratios else ""
    many = max(peaks["ours"])
    return [
        Row(
            "assets of Maximo a second, API to all tables, against dlt's REST source",
            "-",
            f"{ours:.0f}/s{theirs}",
            spread(ratios, "x") if ratios else "-",
            f"{size} assets, {rounds} rounds",
            None,
            {"rates_per_second": rates, "ratios": ratios, "peaks_mib": peaks},
        ),
        Row(
            "memory of a read of Maximo, four times the pages",
            f"flat: <= {_FLAT}x",
            f"{many:.0f} MiB against {few:.0f} MiB",
            f"{many / few:.2f}x",
            f"{size} and {quarter} assets",
            many / few <= _FLAT,
            {"peaks_mib": {"all": many, "quarter": few}},
        ),
    ]


def _load(place: Place, command: list[str], address: str, size: int) -> tuple[float, float]:
    """Return assets a second, and the greatest memory of the process in MiB."""
    with place.database() as (url, _):
        ended = place.run([*command, address, url, KEY, _SITE])
    if ended.json["assets"] != size:
        raise RuntimeError(f"{command[-1]} loaded {ended.json['assets']} of {size} assets")
    return size / ended.json["seconds"], ended.peak_mib
