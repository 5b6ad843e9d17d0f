"""Whether a workbook has changed, is at rest and due; and why there is none to import."""

import os
import threading
import time
from pathlib import Path

import pytest

from innomaint_pipeline.domain.workbook import SOURCE
from innomaint_pipeline.errors import WorkbookError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.settings import IMPORT_ERROR, WORKBOOK_TROUBLE, load_setting, save_setting
from innomaint_pipeline.store.workbook import load_conditions
from innomaint_pipeline.sync.workbook.importing import ImportReport, WorkbookMark, import_master
from innomaint_pipeline.sync.workbook.watching import (
    Attempts,
    Verdict,
    WorkbookWatch,
    import_at_rest,
    load_verdict,
    note_trouble,
    parse_watch,
    wait_for_rest,
    watch_workbook,
)

HEADER = "Asset ID,Make\n"
UNCHANGED = "the workbook is unchanged"


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    path = tmp_path / "master.csv"
    path.write_text(f"{HEADER}P-1,KSB\n")
    return path


def let_age(path: Path, seconds: float = 3600) -> None:
    """Let a file be written some time ago."""
    os.utime(path, (time.time() - seconds,) * 2)


def watch(
    path: Path,
    *moments: float,
    since: WorkbookWatch | None = None,
    verdict: Verdict | None = None,
    attempts: Attempts | None = None,
) -> tuple[WorkbookWatch, list[str]]:
    """Look at a file at several moments; return what is remembered, and what each look said."""
    remembered, said = since or WorkbookWatch(), []
    for now in moments:
        remembered, reason = watch_workbook(path, remembered, verdict, attempts or Attempts(), now=now)
        # As a sensor does, which remembers in JSON alone.
        remembered = parse_watch(remembered.to_cursor())
        said.append(reason)
    return remembered, said


def import_watched(database: Database, path: Path, *, run_id: str | None = None) -> ImportReport:
    return import_at_rest(database, path, watched=path, batch_size=10, run_id=run_id, tell=lambda _: None)


def verdict_of(database: Database) -> Verdict | None:
    with database.begin() as connection:
        return load_verdict(connection)


def noted(database: Database, name: str = IMPORT_ERROR) -> str | None:
    with database.begin() as connection:
        return load_setting(connection, SOURCE, name)


def ids(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql("select cmms_asset_id from ic3_asset_master order by 1")
        return list(rows.scalars())


def test_a_file_is_taken_when_it_was_the_same_two_seconds_ago(workbook: Path) -> None:
    _, said = watch(workbook, 100, 101, 101.9, 102)
    assert ["complete?" in it for it in said] == [True, True, True, False]
    assert said[3] == ""


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


def test_a_file_is_due_until_it_was_imported(database: Database, workbook: Path) -> None:
    let_age(workbook)
    known, said = watch(workbook, 100, 110)
    assert said[1] == ""
    # Nothing was imported: whatever became of the run, it is due.
    assert watch(workbook, 200, 210, since=known)[1][1] == ""

    import_watched(database, workbook)

    assert watch(workbook, 220, since=known, verdict=verdict_of(database))[1] == [UNCHANGED]


def test_the_same_file_is_not_read_again_and_a_touched_one_has_the_same_content(
    database: Database, workbook: Path
) -> None:
    let_age(workbook)
    import_watched(database, workbook)
    verdict = verdict_of(database)
    os.utime(workbook, (1_750_000_000, 1_750_000_000))
    touched, said = watch(workbook, 120, 130, verdict=verdict)
    assert said[1] == UNCHANGED
    assert touched.same is not None
    assert watch(workbook, 131, since=touched, verdict=verdict)[1] == [UNCHANGED]
    workbook.write_text(f"{HEADER}P-1,Kirloskar\n")
    assert watch(workbook, 140, 150, since=touched, verdict=verdict)[1][1] == ""


def test_an_import_that_failed_without_a_verdict_is_repeated_at_growing_intervals(workbook: Path) -> None:
    status = workbook.stat()
    verdict = Verdict(WorkbookMark(status.st_size, status.st_mtime, "old content"), "an earlier run")
    launched, _ = watch(workbook, 100, 110)
    for failed, wait in ((1, 30), (2, 60), (3, 120), (6, 900), (60, 900)):
        early = Attempts(failed, wait - 1, "lost run")
        late = Attempts(failed, wait + 1, "lost run")
        _, (said,) = watch(workbook, 200, since=launched, verdict=verdict, attempts=early)
        assert said == "the last import failed; it is tried again in 1 s"
        assert watch(workbook, 200, 210, since=launched, verdict=verdict, attempts=late)[1][1] == ""
    # Another content is no repetition.
    workbook.write_text(f"{HEADER}P-1,KSB\nP-2,KSB\n")
    now = Attempts(5, 0.0, "lost run")
    assert watch(workbook, 200, 210, since=launched, verdict=verdict, attempts=now)[1][1] == ""


def test_a_workbook_that_was_refused_for_what_it_holds_is_not_tried_again(
    database: Database, workbook: Path
) -> None:
    workbook.write_text("Make\nKSB\n")
    let_age(workbook)
    with pytest.raises(WorkbookError):
        import_watched(database, workbook, run_id="run")

    verdict = verdict_of(database)
    refused = Attempts(1, 1e6, "run")
    assert watch(workbook, 100, 110, verdict=verdict, attempts=refused)[1] == [UNCHANGED, UNCHANGED]
    assert watch(workbook, 100, 110, verdict=verdict, attempts=Attempts(1, 1e6, "a later one"))[1][1] == ""


def test_only_the_watched_workbook_has_a_verdict(database: Database, workbook: Path, tmp_path: Path) -> None:
    let_age(workbook)
    for watched in (None, tmp_path / "other.csv"):
        import_at_rest(database, workbook, watched=watched, batch_size=10, tell=lambda _: None)
    import_at_rest(database, workbook, watched=workbook, batch_size=10, tell=lambda _: None, is_dry_run=True)
    assert verdict_of(database) is None
    import_watched(database, workbook)
    assert verdict_of(database) is not None


@pytest.mark.parametrize("kind", ["gone", "a folder"])
def test_a_file_that_is_not_there_is_told_and_then_known_again(
    database: Database, tmp_path: Path, workbook: Path, kind: str
) -> None:
    let_age(workbook)
    import_watched(database, workbook)
    verdict = verdict_of(database)
    path, words = (tmp_path / "gone.xlsx", "No such file") if kind == "gone" else (tmp_path, "it is a folder")
    lost, (said,) = watch(path, 120, verdict=verdict)
    assert f"{path} cannot be read: " in said
    assert words in said
    assert watch(workbook, 130, since=lost, verdict=verdict)[1] == [UNCHANGED]


@pytest.mark.parametrize(
    "cursor", [None, "", "garbage", "null", "[1]", '{"size": 1}', '{"a": 1}', "12", '{"pending": [1]}']
)
def test_a_cursor_that_holds_nothing_sensible_means_never_looked(cursor: str | None) -> None:
    assert parse_watch(cursor) == WorkbookWatch()


def test_what_is_told_of_a_lost_file_is_kept_beside_a_failed_import_and_taken_back(
    database: Database,
) -> None:
    def told() -> str | None:
        with database.begin() as connection:
            (condition,) = load_conditions(connection)
        return condition.message if condition.value else None

    with database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, "the last one was broken")
    note_trouble(database, "the file is gone")
    note_trouble(database, "the file is gone")
    assert "the file is gone" in str(told())
    note_trouble(database, None)
    assert noted(database, WORKBOOK_TROUBLE) is None
    assert "the last one was broken" in str(told())


def test_a_file_that_is_written_meanwhile_is_imported_whole(database: Database, workbook: Path) -> None:
    said: list[str] = []
    is_told = threading.Event()

    def tell(text: str) -> None:
        said.append(text)
        is_told.set()

    def write_on() -> None:
        number = 2
        while not is_told.wait(0.05):
            with workbook.open("a") as file:
                file.write(f"P-{number},KSB\n")
            number += 1
        with workbook.open("a") as file:
            file.write("P-last,KSB\n")

    workbook.write_text(f"{HEADER}P-1,KSB\n")
    writer = threading.Thread(target=write_on)
    writer.start()
    import_at_rest(database, workbook, watched=workbook, batch_size=10, tell=tell)
    writer.join()

    assert said == ["master.csv is being written: the import waits until it is at rest"]
    assert "P-last" in ids(database)
    verdict = verdict_of(database)
    assert verdict is not None
    assert verdict.mark.size == workbook.stat().st_size


def test_a_file_that_is_written_all_the_time_is_refused(workbook: Path) -> None:
    is_over = threading.Event()

    def write_on() -> None:
        while not is_over.wait(0.05):
            with workbook.open("a") as file:
                file.write("P,KSB\n")

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        with pytest.raises(WorkbookError, match="still being written after 0 s"):
            wait_for_rest(workbook, tell=lambda _: None, has_hash=False, longest_seconds=0.3)
    finally:
        is_over.set()
        writer.join()


def test_a_file_that_is_another_one_than_was_looked_at_is_refused(database: Database, workbook: Path) -> None:
    status = workbook.stat()
    mark = WorkbookMark(status.st_size - 1, status.st_mtime, "")
    with pytest.raises(WorkbookError, match="changed while it was read"):
        import_master(database, workbook, batch_size=10, mark=mark)
    assert ids(database) == []


def test_a_good_import_forgets_the_failed_one_and_a_dry_run_does_not(
    database: Database, workbook: Path
) -> None:
    with database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, "the last one was broken")

    import_master(database, workbook, batch_size=10, is_dry_run=True)
    assert noted(database) == "the last one was broken"
    import_master(database, workbook, batch_size=10)
    assert noted(database) is None


def test_a_broken_import_forgets_nothing(database: Database, workbook: Path) -> None:
    with database.begin() as connection:
        save_setting(connection, SOURCE, IMPORT_ERROR, "the last one was broken")
    workbook.write_text("Make\nKSB\n")

    with pytest.raises(WorkbookError):
        import_master(database, workbook, batch_size=10)

    assert noted(database) == "the last one was broken"
