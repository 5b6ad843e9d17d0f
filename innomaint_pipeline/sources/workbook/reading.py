"""A workbook file -> the rows of the sheets that are its register, read in a process of its own.

Belongs here: which reader opens which kind of file, and the process whose death is a refusal. What may be
opened at all is `container`, which sheets are the register is `domain.workbook.choice`. Formulas are never
evaluated, macros never run and external links never followed: the readers take the values that the
file holds.
"""

import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from innomaint_pipeline.domain.workbook.choice import choose_sheets
from innomaint_pipeline.domain.workbook.columns import build_matcher, load_mapping
from innomaint_pipeline.domain.workbook.sheets import SheetRows, UnreadSheet
from innomaint_pipeline.errors import ConfigurationError, InnomaintPipelineError, WorkbookError
from innomaint_pipeline.sources.workbook.container import (
    TEXT_SUFFIXES,
    check_workbook_file,
    show_name,
    show_path,
)
from innomaint_pipeline.sources.workbook.delimited import read_delimited
from innomaint_pipeline.sources.workbook.ods import read_ods
from innomaint_pipeline.sources.workbook.xls import read_xls
from innomaint_pipeline.sources.workbook.xlsx import read_xlsx
from innomaint_pipeline.sources.workbook.zip_parts import DAMAGES, MIB, WorkbookBounds

BOUNDS = WorkbookBounds()
# Far above what a workbook within the bounds takes; a file that takes more ends its reader, not the machine.
_READER_MEMORY_BYTES, _READER_CPU_SECONDS = 6 * 2**10 * MIB, 900
_ROWS_PER_MESSAGE = 2_000


@dataclass(frozen=True, slots=True)
class Register:
    """The sheets of a workbook that are its register, in their order, and notices of the others."""

    workbook: str
    sheets: Sequence[SheetRows]
    notices: Sequence[str]


def read_register(
    path: Path,
    *,
    sheets: Sequence[str] = (),
    synonyms: Mapping[str, str] | None = None,
    bounds: WorkbookBounds = BOUNDS,
) -> Register:
    """Read the register of an .xlsx, .xlsm, .xls, .ods, .csv, .tsv or .txt file, in a process of its own.

    Cells keep their type: the text `00123` its zeros, `NA` and `NULL` stay texts; whole numbers are integers,
    dates `datetime`. An error and a formula that was never calculated are `UnknownCell`. Everything in a
    delimited text is text; its one sheet has the file's name without suffix. `sheets` names the sheets to
    read. Raises `WorkbookError`, with file, sheet and cause, for whatever is not a readable workbook within
    `bounds` or has no such sheet, and for a file that ends its reader or changes under it.
    """
    before = _look(path)
    read = _read_in_process(path, _Order(str(path), tuple(sheets), dict(synonyms or {}), bounds))
    if _look(path) != before:
        raise WorkbookError(
            f"{show_name(path)}: the file changed while it was read; import it again once it is complete"
        )
    return read


def read_register_here(
    path: Path, *, sheets: Sequence[str], synonyms: Mapping[str, str], bounds: WorkbookBounds
) -> Register:
    """Read the register in this process, see `read_register`."""
    check_workbook_file(path, bounds)
    workbook = show_name(path)
    suffix = path.suffix.lower()
    if suffix in TEXT_SUFFIXES:
        name = Path(workbook).stem
        if any(it != name for it in sheets):
            other = next(it for it in sheets if it != name)
            raise WorkbookError(
                f"{workbook}: a {suffix} file has no sheets, so '{other}' is none; leave the sheet out"
            )
        sheet = read_delimited(path, workbook, name, build_matcher(synonyms), bounds)
        return Register(workbook, [sheet], [])
    try:
        found = list(_read_sheets(path, suffix, workbook, sheets, bounds))
        if missing := [it for it in sheets if it not in {sheet.sheet for sheet in found}]:
            there = ", ".join(f"'{it.sheet}'" for it in _read_sheets(path, suffix, workbook, (), bounds))
            raise WorkbookError(f"{workbook}: there is no sheet '{missing[0]}', expected one of {there}")
    except DAMAGES as error:
        raise WorkbookError(
            f"{workbook}: the file is damaged or incomplete ({error}); copy it again, or open and save "
            "it in Excel"
        ) from error
    chosen, notices = choose_sheets(workbook, found, names=sheets, synonyms=synonyms)
    return Register(workbook, chosen, notices)


def _read_sheets(
    path: Path, suffix: str, workbook: str, names: Sequence[str], bounds: WorkbookBounds
) -> Iterator[SheetRows | UnreadSheet]:
    if suffix == ".xls":
        yield from read_xls(path, workbook, names, bounds)
        return
    with path.open("rb") as handle:
        read = read_ods if suffix == ".ods" else read_xlsx
        yield from read(handle, workbook, names, bounds)


def _look(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Order:
    """What the reader's process is asked for."""

    path: str
    sheets: tuple[str, ...]
    synonyms: dict[str, str]
    bounds: WorkbookBounds


_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from {module} import serve; serve()"
)


def _read_in_process(path: Path, order: _Order) -> Register:
    workbook = show_name(path)
    process = subprocess.Popen(  # noqa: S603 # this interpreter, this module
        [sys.executable, "-c", _START.format(module=__name__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not process.stdin or not process.stdout:
            raise RuntimeError("the pipes of the reader's process were not made")
        with suppress(BrokenPipeError):
            pickle.dump(sys.path, process.stdin)
            pickle.dump(order, process.stdin)
            process.stdin.close()
        read = _receive(process.stdout)
        process.wait()
    finally:
        # Also where the caller was interrupted: the reader's work is for nobody then.
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
    if isinstance(read, Register):
        return read
    if read is None:
        raise WorkbookError(
            f"{workbook}: reading the file ended the reader ({_describe_end(process.returncode)}), so it is "
            "not read; open it in Excel, clear what is far below or right of the table, and save it as .xlsx"
        )
    raise read


def _describe_end(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _receive(stream: IO[bytes]) -> Register | InnomaintPipelineError | RuntimeError | None:
    """Put together what the reader sends; `None` if it ended before the end."""
    sheets: list[SheetRows] = []
    rows: list[Any] = []
    while True:
        try:
            # One for each message: what a message has named, the next one names by other numbers.
            kind, content = _Receiver(stream).load()
        except (EOFError, pickle.UnpicklingError):
            return None
        if kind == "sheet":
            rows = []
            sheets.append(replace(content, rows=rows))
        elif kind == "rows":
            rows.extend(content)
        elif kind == "refused":
            return WorkbookError(content)
        elif kind == "failed":
            return RuntimeError(f"the reader of workbooks failed:\n{content}")
        else:
            workbook, notices = content
            return Register(workbook, sheets, notices)


class _Receiver(pickle.Unpickler):
    """Loads what a reader sends, and nothing else: the reader has seen a stranger's file."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        is_ours = module_name.startswith("innomaint_pipeline.domain.workbook.")
        if is_ours or (module_name, global_name) in {
            *(("datetime", it) for it in ("datetime", "date", "time", "timedelta", "timezone")),
        }:
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is not expected")


def serve() -> None:
    """Read what standard input asks for, and write it to standard output: the reader's process."""
    _limit_itself()
    order: _Order = pickle.load(sys.stdin.buffer)  # noqa: S301 # from the process that started this one
    out = sys.stdout.buffer
    try:
        read = read_register_here(
            Path(order.path), sheets=order.sheets, synonyms=order.synonyms, bounds=order.bounds
        )
        for sheet in read.sheets:
            _send(out, "sheet", replace(sheet, rows=()))
            for start in range(0, len(sheet.rows), _ROWS_PER_MESSAGE):
                _send(out, "rows", sheet.rows[start : start + _ROWS_PER_MESSAGE])
        _send(out, "end", (read.workbook, read.notices))
    except InnomaintPipelineError as error:
        _send(out, "refused", str(error))
    except MemoryError:
        _send(
            out,
            "refused",
            f"{show_name(Path(order.path))}: it takes more than the memory there is; split the workbook",
        )
    except BrokenPipeError:
        return
    except OSError as error:
        _send(
            out,
            "refused",
            f"{show_path(Path(order.path))}: the file can no longer be read ({error.strerror or error}); "
            "look whether it is still there, and import it again",
        )
    except Exception:  # noqa: BLE001 # a fault of ours is told by the process that shows it
        _send(out, "failed", traceback.format_exc())


def _send(out: IO[bytes], kind: str, content: object) -> None:
    buffer = BytesIO()
    pickle.dump((kind, content), buffer, protocol=pickle.HIGHEST_PROTOCOL)
    out.write(buffer.getbuffer())
    out.flush()


def _limit_itself() -> None:
    try:
        import resource  # noqa: PLC0415 # not on Windows
    except ImportError:
        return
    for kind, limit in (
        (resource.RLIMIT_AS, _READER_MEMORY_BYTES),
        (resource.RLIMIT_CPU, _READER_CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        soft, hard = resource.getrlimit(kind)
        known = [it for it in (soft, hard, limit) if it != resource.RLIM_INFINITY]
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (min(known), hard))


def read_mapping(path: Path) -> dict[str, str]:
    """Read a mapping file, header to column, in JSON or TOML (`columns.load_mapping`).

    Raises `ConfigurationError`, with the file and the cause.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{show_path(path)}: there is no such mapping file; check the path"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{show_path(path)}: the mapping file cannot be read as UTF-8 text ({error})"
        ) from error
    try:
        return load_mapping(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{show_name(path)}: {error}") from error
