"""Reading the customer list: time, memory of all its processes, and a table extractor beside it."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.place import PROJECT, Place, Scale
from benchmarks.report import Row, spread
from benchmarks.throughput import PEER_PYTHON
from innomaint_pipeline.simulator.customers.drawing import draw_list

_ROWS = {Scale.TINY: 20, Scale.DEFAULT: 1_452, Scale.FULL: 1_452}
_ROUNDS = {Scale.TINY: 1, Scale.DEFAULT: 3, Scale.FULL: 5}
_COMPARED_PAGES = {Scale.TINY: 2, Scale.DEFAULT: 16, Scale.FULL: 256}
_TARGET_SECONDS, _TARGET_MIB = 5, 300
_PEER = Path(__file__).parent / "peers" / "table_extractor.py"
_READ = (
    "import asyncio, json, sys, time; from pathlib import Path; "
    "from innomaint_pipeline.sources.customers.headers import read_headers; "
    "from innomaint_pipeline.sources.customers.reading import ParserBounds, read_list; "
    "began = time.perf_counter(); "
    "content = asyncio.run(read_list(Path(sys.argv[1]), ParserBounds(), read_headers(None))); "
    "print(json.dumps({'rows': len(content.rows), 'pages': content.pages, "
    "'passed': all(it.passed for it in content.findings), 'seconds': time.perf_counter() - began}))"
)


def run(place: Place, scale: str) -> list[Row]:
    """Read the list as often as the scale says; let the table extractor read some of its pages."""
    path = place.home / "customers.pdf"
    draw_list(path, _ROWS[scale])
    seconds, peak, pages = [], 0.0, 0
    for _ in range(_ROUNDS[scale]):
        ended = place.run([sys.executable, "-c", _READ, str(path)])
        if ended.json["rows"] != _ROWS[scale] or not ended.json["passed"]:
            raise RuntimeError(f"of {_ROWS[scale]} customers were read {ended.json}")
        seconds.append(ended.json["seconds"])
        peak = max(peak, sum(max(values) for values in ended.samples.values() if values))
        pages = ended.json["pages"]
    is_whole = scale != Scale.TINY
    size = f"{_ROWS[scale]:,} customers on {pages} pages"
    ratio = "-"
    if PEER_PYTHON.exists():
        compared = min(_COMPARED_PAGES[scale], pages)
        peer = place.run([str(PEER_PYTHON), str(_PEER), str(path), str(compared)]).json
        times = peer["seconds"] / compared / (min(seconds) / pages)
        ratio = f"pdfplumber takes {times:.0f}x as long for a page ({compared} pages)"
    elif is_whole:
        raise RuntimeError(f"{PEER_PYTHON.relative_to(PROJECT)} is missing: make bench makes it")
    return [
        Row(
            "reading of a customer list",
            f"<= {_TARGET_SECONDS} s on two cores",
            spread(seconds, " s"),
            ratio,
            size,
            sorted(seconds)[len(seconds) // 2] <= _TARGET_SECONDS if is_whole else None,
            {"seconds": seconds},
        ),
        Row(
            "memory of that reading, all processes together",
            f"<= {_TARGET_MIB} MiB",
            f"{peak:.0f} MiB",
            "-",
            size,
            peak <= _TARGET_MIB if is_whole else None,
        ),
    ]
