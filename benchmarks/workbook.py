"""The import of a large workbook: time, memory, its reader against the usual one, and its process."""

from __future__ import annotations

import sys

from benchmarks.place import Place, Scale
from benchmarks.report import Row, exponent
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World

_SIZES = {
    Scale.TINY: (50,),
    Scale.DEFAULT: (1_000, 10_000, 100_000),
    Scale.FULL: (1_000, 10_000, 100_000),
}
_COMPARED_ROWS = {Scale.TINY: 50, Scale.DEFAULT: 10_000, Scale.FULL: 100_000}
_TARGET_SECONDS, _TARGET_MIB = 15, 1024
_FULL_SIZE = 100_000
# Processor time, that of the reader's own process included.
_SPENT = "print(spent() - began)"
_BEGIN = (
    "import resource, sys; from pathlib import Path; path = Path(sys.argv[1]); "
    "spent = lambda: sum(it.ru_utime + it.ru_stime for it in map(resource.getrusage, "
    "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))); "
)
_READERS = {
    "openpyxl": (
        "import pandas; began = spent(); "
        "pandas.read_excel(path, header=None, dtype=object, na_filter=False, engine='openpyxl'); "
    ),
    "here": (
        "from innomaint_pipeline.sources.workbook.reading import BOUNDS, read_register_here; "
        "began = spent(); read_register_here(path, sheets=(), synonyms={}, bounds=BOUNDS); "
    ),
    "apart": (
        "from innomaint_pipeline.sources.workbook.reading import read_register; "
        "began = spent(); read_register(path); "
    ),
}
_IMPORT = (
    "import sys, json, time; from pathlib import Path; "
    "from innomaint_pipeline.store.database import Database; "
    "from innomaint_pipeline.sync.workbook.importing import import_master; began = time.perf_counter(); "
    "report = import_master(Database(sys.argv[2]), Path(sys.argv[1]), batch_size=100); "
    "print(json.dumps({'rows': report.rows, 'rejected': report.rejected, "
    "'seconds': time.perf_counter() - began}))"
)


def run(place: Place, scale: str) -> list[Row]:
    """Import workbooks of each size; compare the readers on one of them."""
    sizes = _SIZES[scale]
    seconds, peak, ratio, process_ratio, bounds_ratio = [], 0.0, 0.0, 0.0, 0.0
    for size in sizes:
        path = place.home / f"workbook-{size}.xlsx"
        write_sample_workbook(World(size), path)
        with place.database() as (url, _):
            ended = place.run([sys.executable, "-c", _IMPORT, str(path), url])
            if ended.json["rows"] != size or ended.json["rejected"]:
                raise RuntimeError(f"of {size} rows the import took {ended.json}")
        seconds.append(ended.json["seconds"])
        peak = ended.peak_mib
        if size == _COMPARED_ROWS[scale]:
            spent = {
                name: float(place.run([sys.executable, "-c", _BEGIN + code + _SPENT, str(path)]).out)
                for name, code in _READERS.items()
            }
            ratio, process_ratio = spent["openpyxl"] / spent["here"], spent["apart"] / spent["here"]
            unbounded = place.run([sys.executable, "-m", "benchmarks.peers.unbounded_reader", str(path)])
            bounds_ratio = spent["here"] / float(unbounded.out)
        path.unlink()
    is_whole = sizes[-1] == _FULL_SIZE
    growth = f"; grows with n^{exponent(sizes, seconds):.2f}" if len(sizes) > 1 else ""
    return [
        Row(
            "import of a workbook",
            f"<= {_TARGET_SECONDS} s for 100,000 rows",
            f"{seconds[-1]:.1f} s{growth}",
            f"its reader: {ratio:.1f}x as fast as openpyxl; a process of its own takes {process_ratio:.2f}x, "
            f"the bounds of its cells {bounds_ratio:.2f}x ({_COMPARED_ROWS[scale]:,} rows)",
            f"{sizes[-1]:,} rows of 19 columns",
            seconds[-1] <= _TARGET_SECONDS if is_whole else None,
            {
                "sizes": sizes,
                "seconds": seconds,
                "reader_ratio": ratio,
                "process_ratio": process_ratio,
                "bounds_ratio": bounds_ratio,
            },
        ),
        Row(
            "memory of that import",
            f"<= {_TARGET_MIB} MiB",
            f"{peak:.0f} MiB",
            "-",
            f"{sizes[-1]:,} rows",
            peak <= _TARGET_MIB if is_whole else None,
        ),
    ]
