"""Assets a second from the API to all tables, unthrottled, one process, beside dlt and a plain loop.

Not the same work, in both directions. For us: our tables and the master stand before the clock starts, while
dlt and the loop make their tables within it. Against us: dlt merges one flat table and the loop keeps four
raw ones, without parsing, states, logs, leases or a shared clock.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from benchmarks.place import PROJECT, Place, Scale, import_serials, serials_of
from benchmarks.report import Row, spread

_SIZES = {Scale.TINY: (30, 1), Scale.DEFAULT: (1000, 3), Scale.FULL: (2957, 5)}
_PEERS = Path(__file__).parent / "peers"
PEER_PYTHON = PROJECT / ".venv-bench" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def run(place: Place, scale: str) -> list[Row]:
    """Run ours, dlt and the loop in turn, as often as the scale says, and compare within each round."""
    size, rounds = _SIZES[scale]
    programs = {"ours": [sys.executable, "-m", "benchmarks.peers.product"]}
    if PEER_PYTHON.exists():
        programs["dlt"] = [str(PEER_PYTHON), str(_PEERS / "dlt_pipeline.py")]
    elif scale != Scale.TINY:
        raise RuntimeError(f"{PEER_PYTHON.relative_to(PROJECT)} is missing: make bench makes it")
    programs["loop"] = [sys.executable, "-m", "benchmarks.peers.plain_loop"]
    rates: dict[str, list[float]] = {name: [] for name in programs}
    serials = serials_of(size)
    listed = place.home / "serials.json"
    listed.write_text(json.dumps(serials), encoding="utf-8")
    with place.simulator(size) as simulator:
        for _ in range(rounds):
            for name, command in programs.items():
                with place.database() as (url, database):
                    import_serials(database, serials)
                    result = place.run([*command, simulator.url, url, str(listed)]).json
                if result["assets"] != size:
                    raise RuntimeError(f"{name} loaded {result['assets']} of {size} assets")
                rates[name].append(size / result["seconds"])
    return [
        _compare(rates, peer, target, size, rounds)
        for peer, target in (("dlt", 1.0), ("loop", None))
        if peer in rates
    ]


def _compare(rates: dict[str, list[float]], peer: str, target: float | None, size: int, rounds: int) -> Row:
    ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[peer], strict=True)]
    ours, theirs = (statistics.median(rates[name]) for name in ("ours", peer))
    names = {"dlt": "dlt", "loop": "a plain loop, a transaction per asset"}
    return Row(
        f"assets a second, API to all tables, against {names[peer]}",
        "at least the peer's, aim at 2x" if target else "-",
        f"{ours:.0f}/s against {theirs:.0f}/s",
        spread(ratios, "x"),
        f"{size} assets, {rounds} rounds",
        None if target is None else statistics.median(ratios) >= target,
        {"rates_per_second": rates, "ratios": ratios},
    )
