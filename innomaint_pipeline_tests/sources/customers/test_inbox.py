"""The inbox: which file is taken, when it is complete, and what is kept of it."""

import asyncio
import os
import signal
import stat
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from innomaint_pipeline.errors import SourceRefusedError, TransientSourceError
from innomaint_pipeline.simulator.customers.drawing import draw_list
from innomaint_pipeline.sources.customers.inbox import (
    Export,
    LookingBounds,
    Nothing,
    StillGrowingError,
    TooLarge,
    look,
)
from innomaint_pipeline_tests.sources.customers.processes import find_readers

BOUNDS = LookingBounds(settle_seconds=0.05)
EXPORTED_AT = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)


@pytest.fixture
def inbox(tmp_path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def look_at(inbox: Path, *, is_chosen: bool = False, max_bytes: int = 10**7, bounds: LookingBounds = BOUNDS):
    return asyncio.run(
        look(
            inbox,
            inbox.parent / "copies",
            max_bytes=max_bytes,
            timezone=ZoneInfo("Europe/Rome"),
            is_chosen=is_chosen,
            bounds=bounds,
        )
    )


def put(inbox: Path, name: str, *, seconds_old: float = 0, exported_at: datetime = EXPORTED_AT) -> Path:
    path = inbox / name
    draw_list(path, 2, exported_at=exported_at)
    at = time.time() - seconds_old
    os.utime(path, (at, at))
    return path


def test_the_newest_list_is_copied_under_its_hash_and_the_inbox_left_as_it_is(inbox):
    put(inbox, "a.pdf", seconds_old=60)
    newest = put(inbox, "Clienti \x07.PDF", seconds_old=30)
    for name in (".Clienti.pdf", "~Clienti.pdf", "Clienti.pdf.part", "x.crdownload", "y.tmp"):
        put(inbox, name)
    (inbox / "link.pdf").symlink_to(newest)
    (inbox / "folder.pdf").mkdir()
    before = {it.name: it.lstat().st_mtime_ns for it in inbox.iterdir()}
    found = look_at(inbox)
    assert isinstance(found, Export)
    body = newest.read_bytes()
    assert (found.sha256, found.path.read_bytes()) == (sha256(body).hexdigest(), body)
    assert (found.name, found.size, found.exported_at) == ("Clienti \\x07.PDF", len(body), EXPORTED_AT)
    assert found.path.name == f"{found.sha256}.pdf"
    assert stat.S_IMODE(found.path.parent.stat().st_mode) == 0o700
    assert {it.name: it.lstat().st_mtime_ns for it in inbox.iterdir()} == before
    assert [it.name for it in found.path.parent.iterdir()] == [found.path.name]
    # The inbox itself may be a link, and may be one file.
    (inbox.parent / "other").symlink_to(inbox)
    kept = found.path.stat().st_ctime_ns
    assert look_at(inbox.parent / "other") == found
    # The copy stays, with its age, by which it is deleted.
    assert found.path.stat().st_ctime_ns == kept
    assert look_at(newest).sha256 == found.sha256


def test_of_equal_times_the_later_name_counts_and_times_ahead_are_passed_over(inbox):
    first, second = put(inbox, "a.pdf"), put(inbox, "b.pdf")
    for path in (first, second):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    put(inbox, "2036.pdf", seconds_old=-3600)
    found = look_at(inbox)
    assert (found.name, found.passed_over) == ("b.pdf", ("2036.pdf",))
    first.unlink()
    second.unlink()
    found = look_at(inbox)
    assert isinstance(found, Nothing)
    assert "2036.pdf" in found.reason
    (inbox / "2036.pdf").unlink()
    assert look_at(inbox) == Nothing("there is no list in the inbox")


def test_a_file_without_its_end_is_growing_while_its_time_is_young(inbox):
    older = put(inbox, "older.pdf", seconds_old=3600)
    path = put(inbox, "Clienti.pdf")
    whole = path.read_bytes()
    for body in (b"", whole[: len(whole) // 2], whole[:500] + bytes(len(whole) - 500)):
        path.write_bytes(body)
        with pytest.raises(StillGrowingError, match=r"Clienti\.pdf"):
            look_at(inbox)
        assert look_at(path, is_chosen=True).size == len(body)
    os.utime(path, (time.time() - 700,) * 2)
    assert look_at(inbox).name == "Clienti.pdf"
    path.write_bytes(whole)
    assert look_at(inbox).sha256 == sha256(whole).hexdigest()
    assert older.exists()


def test_a_file_that_changes_while_it_settles_is_growing(inbox):
    path = put(inbox, "Clienti.pdf")

    async def append() -> None:
        looking = asyncio.create_task(
            look(
                inbox,
                inbox.parent / "copies",
                max_bytes=10**7,
                timezone=ZoneInfo("Europe/Rome"),
                bounds=LookingBounds(settle_seconds=1),
            )
        )
        while not looking.done():
            await asyncio.sleep(0.1)
            with path.open("ab") as file:
                file.write(b"%%EOF\n")
        await looking

    with pytest.raises(StillGrowingError, match="still growing"):
        asyncio.run(append())


def test_what_is_too_large_or_absent_is_told(inbox):
    path = put(inbox, "Clienti.pdf")
    found = look_at(inbox, max_bytes=100)
    assert isinstance(found, TooLarge)
    assert (found.name, found.size) == ("Clienti.pdf", path.stat().st_size)
    assert not (inbox.parent / "copies").exists()
    for absent in (inbox / "nothing", inbox / "nothing.pdf"):
        with pytest.raises(TransientSourceError, match="No such file"):
            look_at(absent)
    # A file that a person named and that is not there is no matter of waiting.
    with pytest.raises(SourceRefusedError, match=f"the file {inbox} cannot be read") as refused:
        look_at(inbox, is_chosen=True)
    assert not isinstance(refused.value, TransientSourceError)


def test_the_files_time_counts_where_the_pdf_names_no_date(inbox):
    path = inbox / "Clienti.pdf"
    path.write_bytes(b"%PDF-1.4\nnothing that opens\n%%EOF\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert look_at(inbox).exported_at == datetime.fromtimestamp(1_700_000_000, UTC)


def test_a_share_that_hangs_ends_the_look_and_nothing_else(inbox):
    put(inbox, "Clienti.pdf")

    async def hang() -> None:
        looking = asyncio.create_task(
            look(
                inbox,
                inbox.parent / "copies",
                max_bytes=10**7,
                timezone=ZoneInfo("Europe/Rome"),
                bounds=LookingBounds(seconds=1, settle_seconds=30),
            )
        )
        while not (children := find_readers()):  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.01)
        os.kill(children[0].pid, signal.SIGSTOP)
        await looking

    with pytest.raises(TransientSourceError, match="did not answer within 1 s"):
        asyncio.run(hang())
    assert find_readers() == []
    assert isinstance(look_at(inbox), Export)


def test_a_list_exported_earlier_keeps_its_own_date(inbox):
    put(inbox, "Clienti.pdf", exported_at=EXPORTED_AT - timedelta(days=1))
    assert look_at(inbox).exported_at == EXPORTED_AT - timedelta(days=1)
