"""Files that hang, eat memory or have too many pages, and processes that are ended: the program lives on."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import psutil
import pytest

from innomaint_pipeline.domain.customers.lists import CustomerList
from innomaint_pipeline.errors import ReaderEndedError
from innomaint_pipeline.simulator.customers.drawing import draw_list
from innomaint_pipeline.sources.customers.reading import ParserBounds, read_list
from innomaint_pipeline_tests.sources.customers.processes import find_readers
from innomaint_pipeline_tests.sources.customers.raw_lists import NAMES, assemble_pdf, find_failed, read_apart


def build_page(content: bytes) -> bytes:
    packed = zlib.compress(content, 1)
    return assemble_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
            b"<</Filter/FlateDecode/Length %d>>\nstream\n%b\nendstream" % (len(packed), packed),
            b"<</Type/Font/Subtype/Type1/BaseFont/Times-Roman>>",
        ]
    )


def build_pages(count: int) -> bytes:
    kids = b" ".join(b"%d 0 R" % number for number in range(3, count + 3))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
    return assemble_pdf(
        [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count %d/Kids[%b]>>" % (count, kids)]
        + [page] * count
    )


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes many seconds of processor time."""
    path = tmp_path_factory.mktemp("hostile") / "endless.pdf"
    path.write_bytes(build_page(b"q Q " * 40_000_000))
    return path


def judge(content: CustomerList) -> tuple[str, object]:
    [failed] = find_failed(content)
    assert content.rows == ()
    return failed.check, failed.figures.get("bound")


def test_a_file_beyond_a_bound_is_refused_and_the_next_one_read(tmp_path, endless):
    path = tmp_path / "list.pdf"
    assert judge(read_apart(endless, ParserBounds(cpu_seconds=1, memory_mb=2_000))) == (
        "file_is_whole",
        "time",
    )
    path.write_bytes(build_page(b"BT /F1 9 Tf " + b"(aaaaaaaaaaaaaaaa) Tj " * 1_000_000 + b"ET"))
    assert judge(read_apart(path, ParserBounds(memory_mb=200))) == ("file_is_whole", "memory")
    path.write_bytes(build_pages(100_000))
    assert judge(read_apart(path)) == ("file_is_whole", "pages")
    draw_list(path, 40)
    assert judge(read_apart(path, ParserBounds(output_mb=0))) == ("file_is_whole", "output")
    assert judge(read_apart(path, ParserBounds(pages=3))) == ("file_is_whole", "pages")
    assert len(read_apart(path).rows) == 40


def test_a_file_that_is_no_whole_pdf_is_refused(tmp_path):
    path = tmp_path / "list.pdf"
    for body in (
        b"%PDF-1.4\n" + bytes(3000) + b"%%EOF",
        build_pages(0),
        assemble_pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[2 0 R]>>"]),
        assemble_pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 7/Kids[3 0 R]>>"]),
        b" " + build_pages(1),
        build_pages(1) + bytes(2000),
    ):
        path.write_bytes(body)
        assert judge(read_apart(path)) == ("file_is_whole", None)


async def wait_for_child() -> psutil.Process:
    while not (children := find_readers()):  # noqa: ASYNC110 # another process, which tells nobody
        await asyncio.sleep(0.01)
    return children[0]


async def read_and_signal(path: Path, number: signal.Signals) -> CustomerList:
    reading = asyncio.create_task(read_list(path, ParserBounds(), NAMES))
    child = await wait_for_child()
    assert child.environ() == {}
    os.kill(child.pid, number)
    return await reading


def test_a_process_ended_from_outside_is_no_fault_of_the_file(endless):
    for number in (signal.SIGKILL, signal.SIGTERM):
        with pytest.raises(ReaderEndedError, match=number.name):
            asyncio.run(read_and_signal(endless, number))
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
        [failed] = find_failed(asyncio.run(read_and_signal(endless, number)))
        assert number.name in failed.message
    assert find_readers() == []


def test_a_process_that_stands_still_is_ended_by_the_clock(tmp_path):
    draw_list(tmp_path / "list.pdf", 3)

    async def stop_it() -> None:
        reading = asyncio.create_task(read_list(tmp_path / "list.pdf", ParserBounds(cpu_seconds=1), NAMES))
        os.kill((await wait_for_child()).pid, signal.SIGSTOP)
        await reading

    with pytest.raises(ReaderEndedError, match="by the clock"):
        asyncio.run(stop_it())
    assert find_readers() == []


def test_a_cancelled_reading_leaves_no_process(endless):
    async def cancel() -> None:
        async with asyncio.timeout(0.5):
            await read_list(endless, ParserBounds(), NAMES)

    with pytest.raises(TimeoutError):
        asyncio.run(cancel())
    assert find_readers() == []


def test_the_processes_end_with_their_parent_also_where_it_is_killed(endless):
    code = (
        "import asyncio, sys; from pathlib import Path; "
        "from innomaint_pipeline.domain.customers.headers import build_header_names; "
        "from innomaint_pipeline.sources.customers.reading import ParserBounds, read_list; "
        "asyncio.run(read_list(Path(sys.argv[1]), ParserBounds(memory_mb=2000), build_header_names({})))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(endless)])
    children: list[psutil.Process] = []
    while len(children) < 2:
        assert parent.poll() is None
        children = psutil.Process(parent.pid).children()
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert [it for it in alive if it.status() != psutil.STATUS_ZOMBIE] == []
