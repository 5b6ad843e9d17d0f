"""Whether a workbook has changed and is at rest; and why there is none to import."""

import os
from pathlib import Path

import pytest

from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import IMPORT_ERROR, load_setting, save_setting
from innomaint_pipeline.sync.workbook import (
    WorkbookWatch,
    forget_trouble,
    import_master,
    parse_watch,
    remember_trouble,
    watch_workbook,
)


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    path = tmp_path / "master.csv"
    path.write_text("Asset ID,Make\nP-1,KSB\n")
    return path


def watch(path: Path, *moments: float, since: WorkbookWatch | None = None) -> tuple[WorkbookWatch, list[str]]:
    """Look at a file at several moments; return what is remembered, and what each look said."""
    remembered, said = since or WorkbookWatch(), []
    for now in moments:
        remembered, reason = watch_workbook(path, remembered, now=now)
        # As a sensor does, which remembers in JSON alone.
        remembered = parse_watch(remembered.to_cursor())
        said.append(reason)
    return remembered, said


def remembered(database: Database) -> str | None:
    with database.begin() as connection:
        return load_setting(connection, SOURCE, IMPORT_ERROR)


def test_a_file_is_taken_when_it_was_the_same_two_seconds_ago(workbook: Path) -> None:
    known, said = watch(workbook, 100, 101, 101.9, 102, 130)
    assert ["complete?" in it for it in said] == [True, True, True, False, False]
    assert said[3:] == ["", "the workbook is unchanged"]
    assert known.known is not None


def test_a_file_that_grows_is_not_taken_before_it_rests(workbook: Path) -> None:
    known, said = watch(workbook, 100)
    for now in (110, 120):
        with workbook.open("a") as file:
            file.write(f"P-{now},KSB\n")
        known, more = watch(workbook, now, since=known)
        said += more
    assert all("complete?" in it for it in said)
    assert watch(workbook, 123, since=known)[1] == [""]


def test_a_clock_that_was_set_back_delays_a_file_by_two_seconds_alone(workbook: Path) -> None:
    known, _ = watch(workbook, 10_000)
    assert watch(workbook, 100, 103, since=known)[1][1] == ""


def test_the_same_file_is_not_read_again_and_a_touched_one_has_the_same_content(workbook: Path) -> None:
    known, _ = watch(workbook, 100, 110)
    os.utime(workbook, (1_750_000_000, 1_750_000_000))
    touched, said = watch(workbook, 120, 130, since=known)
    assert said[1] == "the workbook is unchanged"
    assert touched != known
    workbook.write_text("Asset ID,Make\nP-1,Kirloskar\n")
    assert watch(workbook, 140, 150, since=touched)[1][1] == ""


def test_a_file_that_is_not_there_is_told_and_then_known_again(tmp_path: Path, workbook: Path) -> None:
    known, _ = watch(workbook, 100, 110)
    for gone, words in ((tmp_path / "gone.xlsx", "No such file"), (tmp_path, "it is a folder")):
        lost, (said,) = watch(gone, 120, since=known)
        assert f"{gone} cannot be read: " in said
        assert words in said
        assert lost.trouble == said
        back, said_then = watch(workbook, 130, since=lost)
        assert (back.trouble, said_then) == (None, ["the workbook is unchanged"])


@pytest.mark.parametrize(
    "cursor", [None, "", "garbage", "null", "[1]", '{"size": 1}', '{"a": 1}', "12", '{"pending": [1]}']
)
def test_a_cursor_that_holds_nothing_sensible_means_never_looked(cursor: str | None) -> None:
    assert parse_watch(cursor) == WorkbookWatch()


def test_the_note_of_a_lost_file_replaces_no_other_and_is_taken_back(database: Database) -> None:
    remember_trouble(database, "gone")
    remember_trouble(database, "gone again")
    forget_trouble(database, "something else")
    assert remembered(database) == "gone"
    forget_trouble(database, "gone")
    assert remembered(database) is None


def test_a_good_import_forgets_the_failed_one_and_a_dry_run_does_not(
    database: Database, workbook: Path
) -> None:
    with database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, "the last one was broken")

    import_master(database, workbook, batch_size=10, is_dry_run=True)
    assert remembered(database) == "the last one was broken"
    import_master(database, workbook, batch_size=10)
    assert remembered(database) is None


def test_a_broken_import_forgets_nothing(database: Database, workbook: Path) -> None:
    with database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, "the last one was broken")
    workbook.write_text("Make\nKSB\n")

    with pytest.raises(WorkbookError):
        import_master(database, workbook, batch_size=10)

    assert remembered(database) == "the last one was broken"
