"""A workbook file -> the rows of one of its sheets (docs/how-it-works.md).

Belongs here: opening the kinds of files, naming sheets, encodings and delimiters. What may be opened at all
is `container`, what rows mean is `domain.workbook`. Formulas are never evaluated, macros never run and
external links never followed: the reader takes the values that the file holds.
"""

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum

from innomaint_pipeline.domain.workbook.headers import HEADER_SEARCH_ROWS, explain_missing_id, load_mapping
from innomaint_pipeline.domain.workbook.register import SheetRows, has_id_column
from innomaint_pipeline.errors import ConfigurationError, WorkbookError
from innomaint_pipeline.sources.workbook.container import check_workbook_file
from innomaint_pipeline.sources.workbook.zip_parts import WorkbookBounds

if TYPE_CHECKING:
    import pandas as pd

_DELIMITERS = (",", ";", "\t")
_READ_BYTES = 2**20
_BOUNDS = WorkbookBounds()


def read_sheet(
    path: Path,
    *,
    sheet: str | None = None,
    is_wanted: Callable[[SheetRows], bool] = has_id_column,
    bounds: WorkbookBounds = _BOUNDS,
) -> SheetRows:
    """Read one sheet of an .xlsx, .xlsm, .xls, .ods or .csv file.

    Cells keep their type: the text `00123` its zeros, `NA` and `NULL` stay texts; whole numbers are integers,
    dates at midnight `datetime`. Cells with an Excel error (`#N/A`) are blank in Excel's own formats.
    Everything in a .csv is text; its one sheet has the file's name without suffix.

    Without `sheet` it is the first one that `is_wanted`, visible sheets before hidden ones; `is_wanted` also
    decides between the delimiters of a .csv. Raises `WorkbookError`, with file, sheet and cause, for whatever
    is not a readable workbook within `bounds` or has no such sheet.
    """
    check_workbook_file(path, bounds)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, sheet, is_wanted, bounds)
    with _refused(path), _open_book(path) as book:
        names = _sheet_names(book)
        if sheet is not None and sheet not in names:
            raise WorkbookError(f"{path.name}: there is no sheet '{sheet}', expected one of {_quoted(names)}")
        refusals: list[str] = []
        for name in names if sheet is None else [sheet]:
            read = SheetRows(path.name, name, _read_rows(path, book, name, bounds))
            if read.rows and (sheet is not None or is_wanted(read)):
                return read
            refusals.append(
                f"sheet '{name}': {explain_missing_id(read.rows) if read.rows else 'it holds no data'}"
            )
    if not refusals:
        raise WorkbookError(f"{path.name}: the workbook has no worksheet")
    raise WorkbookError(f"{path.name}: {'; '.join(refusals)}")


def read_mapping(path: Path) -> dict[str, str]:
    """Read a mapping file, header to column, in JSON or TOML (`headers.load_mapping`).

    Raises `ConfigurationError`, with the file and the cause.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such mapping file; check the path") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path}: the mapping file cannot be read as UTF-8 text ({error})"
        ) from error
    try:
        return load_mapping(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name}: {error}") from error


@contextmanager
def _open_book(path: Path) -> Iterator["pd.ExcelFile"]:
    # Half a second that commands without a workbook need not pay.
    import pandas as pd  # noqa: PLC0415

    # Opened here, because pandas leaves a file open over which the reader panics.
    with path.open("rb") as handle, pd.ExcelFile(handle, engine="calamine") as book:
        yield book


def _sheet_names(book: "pd.ExcelFile") -> list[str]:
    hidden = {it.name for it in book.book.sheets_metadata if it.visible != SheetVisibleEnum.Visible}
    return sorted(map(str, book.sheet_names), key=hidden.__contains__)


def _read_rows(path: Path, book: "pd.ExcelFile", name: str, bounds: WorkbookBounds) -> list[list]:
    import pandas as pd  # noqa: PLC0415

    if path.suffix.lower() == ".ods":
        # Its cells can say "repeat me", so that only the parsed sheet shows how large it is.
        last_row, last_column = book.book.get_sheet_by_name(name).end or (-1, -1)
        row_count, width = last_row + 1, last_column + 1
        if row_count * width > bounds.cells:
            raise WorkbookError(
                f"{path.name}, sheet '{name}': it has {row_count:,} rows of {width:,} cells, at most "
                f"{bounds.cells:,} cells are read; clear stray cells far from the table"
            )
    frame = pd.read_excel(book, sheet_name=name, header=None, dtype=object, na_filter=False)
    return frame.to_numpy(dtype=object).tolist()


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not isinstance(error, CalamineError | OSError | ValueError) and not _is_panic(error):
            raise
        cause = _precise_cause(path) or error
        raise WorkbookError(
            f"{path.name}: the workbook is damaged or no {path.suffix.lower()} workbook "
            f"({str(cause)[:200]}); open and save it in Excel"
        ) from error


def _precise_cause(path: Path) -> BaseException | None:
    # Opened by content, as pandas does, every failure is "cannot detect file format"; by name it is told.
    try:
        CalamineWorkbook.from_path(path).close()
    except BaseException as error:
        if not isinstance(error, CalamineError) and not _is_panic(error):
            raise
        return error
    return None


def _is_panic(error: BaseException) -> bool:
    # A panic of the reader's Rust code is no Exception, and its class cannot be imported.
    return type(error).__name__ == "PanicException"


def _read_csv(
    path: Path, sheet: str | None, is_wanted: Callable[[SheetRows], bool], bounds: WorkbookBounds
) -> SheetRows:
    name = path.stem
    if sheet not in (None, name):
        raise WorkbookError(
            f"{path.name}: a .csv file has no sheets, so '{sheet}' is none; leave the sheet out"
        )
    encoding = _csv_encoding(path)
    heads = {
        delimiter: SheetRows(
            path.name, name, list(islice(_csv_rows(path, encoding, delimiter), HEADER_SEARCH_ROWS))
        )
        for delimiter in _DELIMITERS
    }
    delimiter = next((delimiter for delimiter, head in heads.items() if is_wanted(head)), None)
    if delimiter is None:
        likeliest = max(heads.values(), key=lambda head: max(map(len, head.rows), default=0))
        raise WorkbookError(
            f"{path.name}, sheet '{name}', read with the delimiters comma, semicolon and tab: "
            f"{explain_missing_id(likeliest.rows)}"
        )
    rows: list[list[str]] = []
    cells = 0
    for row in _csv_rows(path, encoding, delimiter):
        rows.append(row)
        cells += len(row)
        if cells > bounds.cells:
            raise WorkbookError(f"{path.name}: the file has more than {bounds.cells:,} cells; split it")
    return SheetRows(path.name, name, rows)


def _csv_rows(path: Path, encoding: str, delimiter: str) -> Iterator[list[str]]:
    with path.open(encoding=encoding, newline="") as handle:
        # Strict, because a quote that is never closed would otherwise swallow the rest of the file in
        # silence.
        reader = csv.reader(handle, delimiter=delimiter, strict=True)
        try:
            yield from reader
        except csv.Error as error:
            raise WorkbookError(
                f"{path.name}, line {reader.line_num}: the line is no CSV ({error}); look for a quotation "
                "mark that is not closed or not doubled, or save the file as .xlsx"
            ) from error


def _csv_encoding(path: Path) -> str:
    with path.open("rb") as handle:
        start = handle.read(2)
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        candidates = ("utf-16",)
    else:
        candidates = ("utf-8-sig", "cp1252")
    for encoding in candidates:
        if _is_encoded_in(path, encoding):
            return encoding
    raise WorkbookError(
        f"{path.name}: the text is neither UTF-8 nor Windows-1252; save it as CSV UTF-8, or as .xlsx"
    )


def _is_encoded_in(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(_READ_BYTES):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
