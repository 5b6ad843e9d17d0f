"""What has arrived is written, whatever is cancelled while it waits for a thread to write it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.sources.outcomes import RequestFailure
from innomaint_pipeline.store.innomaint.states import find_targets
from innomaint_pipeline.sync.innomaint.fetching import PassReport, _Recorder
from innomaint_pipeline_tests.conftest import FIRST_BATCH, Pipeline


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_cancelled_flush_loses_nothing(pipeline: Pipeline, is_begun: bool) -> None:
    run = pipeline.run("first")
    with pipeline.database.begin() as connection:
        targets = {
            item.cmms_asset_id: item for item in find_targets(connection, FIRST_BATCH, run_id=run.run_id)
        }
    recorder = _Recorder(run, targets, PassReport())
    serial = pipeline.serials[0]

    async def cancel_a_flush() -> None:
        loop = asyncio.get_running_loop()
        is_free = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            loop.set_default_executor(thread)
            await recorder.record(serial, RequestFailure(ErrorClass.NOT_FOUND, "not found", 404, 1, 5))
            if not is_begun:
                loop.run_in_executor(None, is_free.wait)
            flush = asyncio.create_task(recorder.flush())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            flush.cancel()
            threading.Timer(0.05, is_free.set).start()
            with pytest.raises(asyncio.CancelledError):
                await flush
            await recorder.flush()

    asyncio.run(cancel_a_flush())
    assert pipeline.states()[serial] == ("failed", "not_found")
    assert recorder.report.failed == 1
    pipeline.settle(run)
