"""Whether a workbook has changed: size and time first, then the hash; and why there is none to import."""

import os
from pathlib import Path

import pytest

from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import IMPORT_ERROR, load_setting, save_setting
from innomaint_pipeline.sync.workbook import WorkbookMark, import_master, look_at_workbook, parse_mark


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    path = tmp_path / "master.csv"
    path.write_text("Asset ID,Make\nP-1,KSB\n")
    return path


def look(path: Path, known: WorkbookMark | None = None) -> WorkbookMark:
    found = look_at_workbook(path, known)
    assert isinstance(found, WorkbookMark)
    return found


def remembered(database: Database) -> str | None:
    with database.begin() as connection:
        return load_setting(connection, "workbook", IMPORT_ERROR)


def test_the_same_file_is_not_read_again(workbook: Path) -> None:
    known = look(workbook)
    status = workbook.stat()
    # The same size and time: only reading it would tell the difference.
    workbook.write_text("Asset ID,Make\nP-2,KSB\n")
    os.utime(workbook, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert look(workbook, known) is known
    assert look(workbook).sha256 != known.sha256


def test_a_touched_file_with_the_same_content_has_the_same_hash(workbook: Path) -> None:
    known = look(workbook)
    os.utime(workbook, (1_750_000_000, 1_750_000_000))

    found = look(workbook, known)

    assert found != known
    assert found.sha256 == known.sha256


def test_a_changed_file_has_another_hash(workbook: Path) -> None:
    known = look(workbook)
    workbook.write_text("Asset ID,Make\nP-1,Kirloskar\n")
    assert look(workbook, known).sha256 != known.sha256


def test_no_workbook_is_a_reason_in_words() -> None:
    assert look_at_workbook(None, None) == "INNOMAINT_WORKBOOK is not set: there is no workbook to import"


def test_a_missing_workbook_is_a_reason_that_names_it(tmp_path: Path) -> None:
    reason = look_at_workbook(tmp_path / "gone.xlsx", None)
    assert isinstance(reason, str)
    assert "gone.xlsx cannot be read: No such file" in reason
    assert "stays as it is" in reason


def test_a_folder_is_no_workbook(tmp_path: Path) -> None:
    reason = look_at_workbook(tmp_path, None)
    assert isinstance(reason, str)
    assert f"{tmp_path} cannot be read: " in reason


@pytest.mark.parametrize("cursor", [None, "", "garbage", "null", "[1]", '{"size": 1}', '{"a": 1}', "12"])
def test_a_cursor_that_holds_no_mark_means_never_looked(cursor: str | None) -> None:
    assert parse_mark(cursor) is None


def test_a_mark_survives_as_a_cursor(workbook: Path) -> None:
    mark = look(workbook)
    assert (
        parse_mark(f'{{"size": {mark.size}, "modified_at": {mark.modified_at!r}, "sha256": "{mark.sha256}"}}')
        == mark
    )


def test_a_good_import_forgets_the_failed_one_and_a_dry_run_does_not(
    database: Database, workbook: Path
) -> None:
    with database.begin() as connection:
        save_setting(connection, "workbook", IMPORT_ERROR, "the last one was broken")

    import_master(database, workbook, batch_size=10, is_dry_run=True)
    assert remembered(database) == "the last one was broken"
    import_master(database, workbook, batch_size=10)
    assert remembered(database) is None


def test_a_broken_import_forgets_nothing(database: Database, workbook: Path) -> None:
    with database.begin() as connection:
        save_setting(connection, "workbook", IMPORT_ERROR, "the last one was broken")
    workbook.write_text("Make\nKSB\n")

    with pytest.raises(WorkbookError):
        import_master(database, workbook, batch_size=10)

    assert remembered(database) == "the last one was broken"
