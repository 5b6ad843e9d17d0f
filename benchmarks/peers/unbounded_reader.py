"""The project's own reader without the bounds of its cells, to show what they cost: processor seconds."""

import resource
import sys
from pathlib import Path

from innomaint_pipeline.domain.workbook.cells import Cell
from innomaint_pipeline.sources.workbook.grid import Grid
from innomaint_pipeline.sources.workbook.reading import BOUNDS, read_register_here


def _put(self: Grid, row: int, column: int, cell: Cell) -> None:
    cells = self._rows.setdefault(row, [])
    cells.extend([None] * (column - len(cells)))
    cells.append(cell)
    self._last_row, self._last_column = row, max(column, self._last_column)


def main() -> None:
    """Read the workbook that the command line names."""
    Grid.put = _put
    began = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    read_register_here(Path(sys.argv[1]), sheets=(), synonyms={}, bounds=BOUNDS)
    print(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - began)


if __name__ == "__main__":
    main()
