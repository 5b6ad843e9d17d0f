"""The request clock in its database row, shared by everybody who uses the account."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from innomaint_pipeline.domain.pacing import BREAKER_THRESHOLD, START_TOLERANCE_SECONDS
from innomaint_pipeline.errors import BreakerOpenError, DatabaseError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.pacing import SharedPacing, load_rate_state
from innomaint_pipeline_tests.conftest import Pipeline

ACCOUNT = "https://api.example/base"
# A clock in seconds since 1970 is exact to less than a microsecond as a float.
CLOCK_SECONDS = 1e-6


def clock(pipeline: Pipeline, owner: str = "first", *, rate_ms: int = 0) -> SharedPacing:
    return SharedPacing(pipeline.database, ACCOUNT, owner=owner, rate_ms=rate_ms)


def run(*steps: Callable[[], Awaitable[object]]) -> None:
    async def go() -> None:
        for step in steps:
            await step()

    asyncio.run(go())


def record_starts(pipeline: Pipeline) -> None:
    """Let the database write down every start itself."""
    pipeline.execute("create table starts (at double precision)")
    pipeline.execute(
        "create function note() returns trigger language plpgsql as"
        " $$ begin insert into starts values (new.last_start_at); return null; end $$"
    )
    pipeline.execute(
        "create trigger note after update on innomaint_rate_limit for each row"
        " when (old.last_start_at is distinct from new.last_start_at) execute function note()"
    )


def gaps(pipeline: Pipeline) -> list[float]:
    starts = [row["at"] for row in pipeline.rows("select at from starts order by at")]
    return [later - earlier for earlier, later in pairwise(starts)]


@pytest.mark.parametrize("is_bulk", [True, False])
def test_starts_of_several_users_together_are_an_interval_apart(
    empty_pipeline: Pipeline, database_url: str, is_bulk: bool
) -> None:
    record_starts(empty_pipeline)

    def work(owner: str) -> None:
        database = Database(database_url)
        pacing = SharedPacing(database, ACCOUNT, owner=owner, rate_ms=20)

        async def start_often() -> None:
            async def one() -> None:
                for _ in range(4):
                    await pacing.start(is_bulk=is_bulk)

            await asyncio.gather(*(one() for _ in range(3)))
            await pacing.end_bulk()

        asyncio.run(start_often())
        database.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = gaps(empty_pipeline)
    assert len(found) == 3 * 3 * 4 - 1
    assert min(found) >= 0.020 - START_TOLERANCE_SECONDS - CLOCK_SECONDS


def test_a_late_start_pushes_the_next_one_back(empty_pipeline: Pipeline) -> None:
    record_starts(empty_pipeline)
    pacing = clock(empty_pipeline, rate_ms=100)

    async def go() -> None:
        await pacing.start(is_bulk=False)
        waiting = asyncio.create_task(pacing.start(is_bulk=False))
        await asyncio.sleep(0.05)
        # The loop is held up, and the second start is late.
        time.sleep(0.12)  # noqa: ASYNC251
        await waiting
        await pacing.start(is_bulk=False)

    asyncio.run(go())
    assert min(gaps(empty_pipeline)) >= 0.100 - START_TOLERANCE_SECONDS - CLOCK_SECONDS


def test_the_account_gets_its_row_when_it_is_first_used(empty_pipeline: Pipeline) -> None:
    with empty_pipeline.database.begin() as connection:
        assert load_rate_state(connection, ACCOUNT) is None
    run(lambda: clock(empty_pipeline).start(is_bulk=True))
    with empty_pipeline.database.begin() as connection:
        loaded = load_rate_state(connection, ACCOUNT)
    assert loaded is not None
    state, now = loaded
    assert 0 <= now - state.last_start_at < 60
    assert empty_pipeline.rows("select account from innomaint_rate_limit") == [{"account": ACCOUNT}]


def test_accounts_do_not_wait_for_each_other(empty_pipeline: Pipeline) -> None:
    slow = clock(empty_pipeline, rate_ms=3_600_000)
    other = SharedPacing(empty_pipeline.database, "https://other.example", owner="x", rate_ms=3_600_000)
    run(lambda: slow.start(is_bulk=True), lambda: other.start(is_bulk=True))


def test_ten_failures_close_the_way_for_everybody_and_a_success_opens_it(empty_pipeline: Pipeline) -> None:
    first, second = clock(empty_pipeline, "first"), clock(empty_pipeline, "second")

    async def fail(count: int) -> None:
        for number in range(count):
            await first.failed(f"Pump {number}")

    run(lambda: fail(BREAKER_THRESHOLD - 1), lambda: second.start(is_bulk=True))
    run(lambda: first.failed("Pump 0"), lambda: second.start(is_bulk=True))
    run(lambda: first.failed("Pump 9"))
    with pytest.raises(BreakerOpenError) as caught:
        run(lambda: second.start(is_bulk=True))
    assert 25 < caught.value.retry_in_seconds <= 30
    with pytest.raises(BreakerOpenError):
        run(lambda: first.start(is_bulk=False))
    run(first.succeeded, lambda: second.start(is_bulk=True), lambda: second.start(is_bulk=False))


def test_a_success_of_another_user_interrupts_a_row_of_failures(empty_pipeline: Pipeline) -> None:
    first, second = clock(empty_pipeline, "first"), clock(empty_pipeline, "second")

    async def fail(*numbers: int) -> None:
        for number in numbers:
            await first.failed(f"Pump {number}")

    run(lambda: second.start(is_bulk=False), second.succeeded, lambda: fail(*range(9)))
    run(lambda: second.start(is_bulk=False), second.succeeded, lambda: fail(*range(9, 18)))
    run(lambda: second.start(is_bulk=False))


def test_ten_broken_contracts_of_different_runs_close_the_way_for_everybody(
    empty_pipeline: Pipeline,
) -> None:
    runs = [clock(empty_pipeline, name) for name in ("first", "second", "third")]
    told: list[tuple[str, ...] | None] = []

    async def break_contract() -> None:
        for number in range(BREAKER_THRESHOLD):
            fellows = await runs[number % 3].broke_contract(f"Pump {number}", "response is null")
            told.append(fellows)

    run(break_contract)
    assert told == [None] * 9 + [tuple(f"Pump {number}" for number in range(9))]
    with pytest.raises(BreakerOpenError):
        run(lambda: runs[0].start(is_bulk=True))
    run(runs[1].succeeded, lambda: runs[0].start(is_bulk=True))
    assert empty_pipeline.one("select contract_error, contract_items from innomaint_rate_limit") == {
        "contract_error": None,
        "contract_items": [],
    }


def test_an_open_breaker_lets_one_probe_through_after_its_time(empty_pipeline: Pipeline) -> None:
    first = clock(empty_pipeline)

    async def fail() -> None:
        for number in range(BREAKER_THRESHOLD):
            await first.failed(f"Pump {number}")

    run(fail)
    empty_pipeline.execute("update innomaint_rate_limit set breaker_probe_at = breaker_probe_at - 30")

    async def probe() -> None:
        assert (await first.start(is_bulk=True)).is_probe

    run(probe)
    with pytest.raises(BreakerOpenError) as caught:
        run(lambda: clock(empty_pipeline, "second").start(is_bulk=True))
    assert 55 < caught.value.retry_in_seconds <= 60


def test_a_429_stops_everybody_also_those_who_wait_already(empty_pipeline: Pipeline) -> None:
    record_starts(empty_pipeline)
    first, second = clock(empty_pipeline, "first", rate_ms=100), clock(empty_pipeline, "second", rate_ms=100)

    async def go() -> None:
        await second.start(is_bulk=False)
        waiting = asyncio.create_task(second.start(is_bulk=False))
        await asyncio.sleep(0.03)
        await first.rate_limited(0.5, started_at=time.monotonic() - 0.01)
        await waiting

    asyncio.run(go())
    (gap,) = gaps(empty_pipeline)
    assert gap >= 0.5


def test_after_a_429_the_shared_rate_falls_and_climbs_back_but_not_above(empty_pipeline: Pipeline) -> None:
    first = clock(empty_pipeline, rate_ms=200)

    def rate() -> float | None:
        return empty_pipeline.one("select reduced_rate from innomaint_rate_limit")["reduced_rate"]

    async def succeed(times: int) -> None:
        for _ in range(times):
            await first.succeeded()

    run(lambda: first.start(is_bulk=False), lambda: first.rate_limited(0, started_at=time.monotonic()))
    assert rate() == pytest.approx(3.5)
    run(lambda: succeed(9))
    assert rate() == pytest.approx(3.5)
    run(first.succeeded)
    assert rate() == pytest.approx(3.6)
    run(lambda: succeed(130))
    assert rate() == pytest.approx(4.9)
    run(lambda: succeed(20))
    assert rate() is None, "the configured rate holds again"


def test_while_all_is_well_a_success_costs_no_statement(empty_pipeline: Pipeline) -> None:
    first = clock(empty_pipeline)
    run(lambda: first.start(is_bulk=False))
    empty_pipeline.execute("alter table innomaint_rate_limit rename to hidden")
    run(first.succeeded)
    with pytest.raises(DatabaseError):
        run(lambda: first.failed("Pump 1"))
    empty_pipeline.execute("alter table hidden rename to innomaint_rate_limit")


def test_a_batch_whose_turn_it_is_not_takes_the_slots_that_are_left(empty_pipeline: Pipeline) -> None:
    first, second = clock(empty_pipeline, "first", rate_ms=50), clock(empty_pipeline, "second", rate_ms=50)
    order: list[str] = []

    async def start(pacing: SharedPacing, name: str, count: int) -> None:
        for _ in range(count):
            await pacing.start(is_bulk=True)
            order.append(name)
        await pacing.end_bulk()

    async def go() -> None:
        await first.start(is_bulk=True)
        await asyncio.gather(start(first, "first", 4), start(second, "second", 4))

    asyncio.run(go())
    assert sorted(order) == ["first"] * 4 + ["second"] * 4
    assert order[-3:] == ["second"] * 3, "the first batch ends first, whoever gets a slot between"


def test_a_lock_is_not_held_while_waiting(empty_pipeline: Pipeline) -> None:
    pacing = clock(empty_pipeline, rate_ms=60_000)

    async def go() -> None:
        await pacing.start(is_bulk=False)
        waiting = asyncio.create_task(pacing.start(is_bulk=False))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(
            empty_pipeline.execute,
            "do $$ begin perform 1 from innomaint_rate_limit for update nowait; end $$",
        )
        waiting.cancel()
        await asyncio.wait({waiting})

    asyncio.run(go())


def test_without_its_row_nothing_may_start() -> None:
    unreachable = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    pacing = SharedPacing(unreachable, ACCOUNT, owner="first", rate_ms=0)
    for call in (
        lambda: pacing.start(is_bulk=True),
        lambda: pacing.failed("Pump 1"),
        lambda: pacing.rate_limited(None, started_at=time.monotonic()),
    ):
        with pytest.raises(DatabaseError, match="unreachable"):
            run(call)
    unreachable.close()
