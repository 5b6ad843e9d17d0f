"""The import of a large workbook: time, memory, and the reader's engine against the usual one."""

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
_READ = (
    "import sys, time, pandas; began = time.process_time(); "
    "pandas.read_excel(sys.argv[1], header=None, dtype=object, na_filter=False, engine=sys.argv[2]); "
    "print(time.process_time() - began)"
)
_IMPORT = (
    "import sys, json, time; from pathlib import Path; "
    "from innomaint_pipeline.store.database import Database; "
    "from innomaint_pipeline.sync.workbook import import_master; began = time.perf_counter(); "
    "report = import_master(Database(sys.argv[2]), Path(sys.argv[1]), batch_size=100); "
    "print(json.dumps({'rows': report.rows, 'rejected': report.rejected, "
    "'seconds': time.perf_counter() - began}))"
)


def run(place: Place, scale: str) -> list[Row]:
    """Import workbooks of each size; compare the engines on one of them."""
    sizes = _SIZES[scale]
    seconds, peak, ratio = [], 0.0, 0.0
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
            engines = [
                float(place.run([sys.executable, "-c", _READ, str(path), name]).out)
                for name in ("calamine", "openpyxl")
            ]
            ratio = engines[1] / engines[0]
        path.unlink()
    is_whole = sizes[-1] == _FULL_SIZE
    growth = f"; grows with n^{exponent(sizes, seconds):.2f}" if len(sizes) > 1 else ""
    return [
        Row(
            "import of a workbook",
            f"<= {_TARGET_SECONDS} s for 100,000 rows",
            f"{seconds[-1]:.1f} s{growth}",
            f"calamine reads {ratio:.1f}x as fast as openpyxl ({_COMPARED_ROWS[scale]:,} rows)",
            f"{sizes[-1]:,} rows of 19 columns",
            seconds[-1] <= _TARGET_SECONDS if is_whole else None,
            {"sizes": sizes, "seconds": seconds, "engine_ratio": ratio},
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
