import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innomaint_pipeline.domain.pacing import (
    BREAKER_THRESHOLD,
    LONGEST_PROBE_SECONDS,
    LONGEST_STOP_SECONDS,
    LOWEST_RATE_PER_SECOND,
    START_TOLERANCE_SECONDS,
    SUCCESSES_PER_STEP,
    UNPACED_BLOCK,
    Grant,
    Permit,
    RateState,
    Refusal,
    confirm,
    end_turn,
    record_contract_error,
    record_failure,
    record_rate_limit,
    record_success,
    reserve,
    set_right,
)

INTERVAL = 0.2
# A real epoch: floats are only exact to a quarter of a microsecond there.
T0 = 1_781_900_000.0
ROUNDING = 1e-5


@dataclass
class Account:
    """The shared row with a clock that the test turns, and the starts that were allowed."""

    interval: float = INTERVAL
    now: float = T0
    state: RateState = field(default_factory=RateState)
    starts: list[float] = field(default_factory=list)

    def reserve(self, owner: str = "a", *, is_bulk: bool = True) -> Grant | Refusal:
        self.state, answer = reserve(
            self.state, now=self.now, configured_seconds=self.interval, owner=owner, is_bulk=is_bulk
        )
        if isinstance(answer, Grant) and answer.wait_seconds == 0:
            self.starts += [self.now] * answer.permit.starts
        return answer

    def confirm(self, *, is_probe: bool = False) -> float | None:
        self.state, wait = confirm(
            self.state, now=self.now, configured_seconds=self.interval, is_probe=is_probe
        )
        if wait is None:
            self.starts.append(self.now)
        return wait

    def start(self, owner: str = "a", *, is_bulk: bool = True, late_seconds: float = 0.0) -> float:
        """Wait as a source does, waking up this late; return when the request started."""
        answer = self.reserve(owner, is_bulk=is_bulk)
        while isinstance(answer, Refusal):
            assert not answer.is_breaker_open
            self.now += answer.wait_seconds
            answer = self.reserve(owner, is_bulk=is_bulk)
        wait: float | None = answer.wait_seconds or None
        while wait is not None:
            assert wait > 0
            self.now += wait + late_seconds
            wait = self.confirm(is_probe=answer.permit.is_probe)
        return self.now

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.state = record_success(self.state, configured_seconds=self.interval)

    def break_contract(self, item: str, error: str = "no data") -> tuple[str, ...] | None:
        self.state, fellows = record_contract_error(
            self.state, item, error, now=self.now, configured_seconds=self.interval
        )
        return fellows

    def fail(self, cmms_asset_id: str) -> None:
        self.state = record_failure(self.state, cmms_asset_id, now=self.now)

    def refuse(self, retry_after: float | None = None, *, started_seconds_ago: float = 0.05) -> None:
        self.state = record_rate_limit(
            self.state,
            now=self.now,
            started_seconds_ago=started_seconds_ago,
            retry_after_seconds=retry_after,
            configured_seconds=self.interval,
        )

    def open_breaker(self) -> None:
        for number in range(BREAKER_THRESHOLD):
            self.fail(f"P{number}")
        assert self.state.breaker_opened_at is not None


def granted(answer: Grant | Refusal) -> Grant:
    assert isinstance(answer, Grant)
    return answer


def refused(answer: Grant | Refusal) -> Refusal:
    assert isinstance(answer, Refusal)
    return answer


def most_in_a_second(starts: list[float]) -> int:
    return max(sum(1 for other in starts if start <= other <= start + 1) for start in starts)


# pacing


def test_the_first_start_waits_for_nothing():
    assert Account().reserve() == Grant(0.0, Permit(1, is_probe=False))


def test_the_second_start_waits_for_one_interval():
    account = Account()
    account.reserve()
    assert granted(account.reserve()).wait_seconds == pytest.approx(INTERVAL, abs=ROUNDING)
    assert granted(account.reserve()).wait_seconds == pytest.approx(2 * INTERVAL, abs=ROUNDING)


def test_who_always_asks_in_time_uses_the_whole_rate():
    account = Account()
    starts = [account.start() for _ in range(500)]
    assert starts[-1] - starts[0] == pytest.approx(499 * INTERVAL, abs=0.001)
    assert most_in_a_second(starts) <= 6


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=60), st.floats(0, START_TOLERANCE_SECONDS)
)
def test_lateness_within_the_tolerance_costs_no_slot(owners, late_seconds):
    account = Account()
    for owner in owners:
        account.start(owner, is_bulk=False, late_seconds=late_seconds)
    used = account.starts[-1] - account.starts[0]
    assert used <= (len(owners) - 1) * INTERVAL + START_TOLERANCE_SECONDS + ROUNDING


def test_a_start_later_than_its_slot_pushes_back_who_asks_afterwards():
    account = Account()
    account.start()
    account.start(late_seconds=0.15)
    account.now += 0.05
    wait = granted(account.reserve()).wait_seconds
    assert wait == pytest.approx(INTERVAL - 0.05 - START_TOLERANCE_SECONDS, abs=ROUNDING)


def test_a_start_later_than_its_slot_pushes_back_who_waits_already():
    account = Account()
    account.start()
    account.reserve("b", is_bulk=False)
    account.reserve("c", is_bulk=False)
    account.now += 1.9 * INTERVAL
    assert account.confirm() is None
    account.now += 0.1 * INTERVAL
    wait = account.confirm()
    assert wait == pytest.approx(0.9 * INTERVAL - START_TOLERANCE_SECONDS, abs=ROUNDING)


def test_an_idle_time_is_not_saved_up():
    account = Account()
    account.start()
    account.now += 3600
    starts = [account.start() for _ in range(20)]
    assert starts[-1] - starts[0] >= 19 * (INTERVAL - START_TOLERANCE_SECONDS)


def test_without_an_interval_starts_are_granted_in_blocks():
    account = Account(interval=0.0)
    for _ in range(3):
        assert account.reserve() == Grant(0.0, Permit(UNPACED_BLOCK))


OWNERS = ("a", "b", "c")
operations = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.floats(0, 0.5)),
        st.tuples(st.just("advance"), st.floats(0, 40)),
        st.tuples(st.just("start"), st.sampled_from(OWNERS), st.booleans()),
        st.tuples(st.just("start"), st.sampled_from(OWNERS), st.booleans()),
        st.tuples(st.just("start"), st.sampled_from(OWNERS), st.booleans()),
        st.tuples(st.just("succeed"), st.integers(1, 25)),
        st.tuples(st.just("fail"), st.integers(0, 15)),
        st.tuples(st.just("outage"), st.just(0)),
        st.tuples(st.just("refuse"), st.none() | st.floats(-5, 2000), st.floats(0, 15)),
        st.tuples(st.just("end_turn"), st.sampled_from(OWNERS)),
    ),
    max_size=120,
)


@dataclass
class World(Account):
    """Several runs of one account, each with at most one reservation waiting, doing anything in any order."""

    waiting: dict[str, tuple[float, bool]] = field(default_factory=dict)

    def do(self, operation: tuple) -> None:
        name, *given_values = operation
        if name == "advance":
            self.now += given_values[0]
        elif name == "start":
            self.begin_or_go_on(*given_values)
        elif name == "succeed":
            self.succeed(given_values[0])
        elif name == "fail":
            self.fail(f"P{given_values[0]}")
        elif name == "outage":
            self.open_breaker_if_closed()
        elif name == "refuse":
            self.refuse(given_values[0], started_seconds_ago=given_values[1])
        else:
            self.state = end_turn(self.state, given_values[0])

    def open_breaker_if_closed(self) -> None:
        for number in range(BREAKER_THRESHOLD):
            self.fail(f"P{number}")

    def begin_or_go_on(self, owner: str, is_bulk: bool) -> None:
        before, count = self.state, len(self.starts)
        is_probe = False
        if owner not in self.waiting:
            answer = self.reserve(owner, is_bulk=is_bulk)
            if isinstance(answer, Refusal):
                assert answer.wait_seconds > 0
            elif answer.wait_seconds > 0:
                self.waiting[owner] = (self.now + answer.wait_seconds, answer.permit.is_probe)
            else:
                is_probe = answer.permit.is_probe
        elif self.now >= self.waiting[owner][0]:
            _, is_probe = self.waiting.pop(owner)
            wait = self.confirm(is_probe=is_probe)
            if wait is not None and wait > 0:
                self.waiting[owner] = (self.now + wait, is_probe)
        if len(self.starts) > count:
            assert self.now >= before.blocked_until
            assert before.breaker_opened_at is None or is_probe
            if count:
                least = before.interval_seconds(self.interval) - START_TOLERANCE_SECONDS
                assert self.now - self.starts[count - 1] >= least - ROUNDING

    def check(self) -> None:
        state = self.state
        assert state.blocked_until <= self.now + LONGEST_STOP_SECONDS
        assert 0 <= state.successes < SUCCESSES_PER_STEP
        assert state.reduced_rate is None or LOWEST_RATE_PER_SECOND <= state.reduced_rate < 1 / self.interval
        assert (state.breaker_opened_at is None) or len(state.failing) == BREAKER_THRESHOLD
        assert len(set(state.failing)) == len(state.failing) <= BREAKER_THRESHOLD
        assert 30 <= state.breaker_wait_seconds <= 600
        assert 0 <= state.measured_rate(self.now) <= 1 / (INTERVAL - START_TOLERANCE_SECONDS) + 0.11


@settings(max_examples=150)
@given(operations)
def test_whatever_happens_starts_keep_their_distance_their_stops_and_their_breaker(sequence):
    world = World()
    for operation in sequence:
        world.do(operation)
        world.check()
    if world.starts:
        assert most_in_a_second(world.starts) <= 6


# turns


def test_another_batch_gets_no_slot_while_the_first_takes_each():
    account = Account()
    for _ in range(10):
        account.start("a")
        account.reserve("a")
        wait = refused(account.reserve("b")).wait_seconds
        assert 0 < wait <= INTERVAL + ROUNDING
        account.now += INTERVAL
        account.confirm()


def test_another_batch_gets_a_slot_that_the_first_leaves_unused_and_not_the_turn():
    account = Account()
    account.start("a")
    account.now += INTERVAL
    answer = refused(account.reserve("b"))
    assert not answer.is_breaker_open
    account.now += answer.wait_seconds + ROUNDING
    assert granted(account.reserve("b")).wait_seconds == 0
    assert account.state.turn_owner == "a"
    assert isinstance(account.reserve("a"), Grant)
    assert isinstance(account.reserve("b"), Refusal)


def test_the_next_batch_gets_the_turn_when_the_first_ends_it():
    account = Account()
    account.start("a")
    account.state = end_turn(account.state, "a")
    assert isinstance(account.reserve("b"), Grant)
    assert account.state.turn_owner == "b"
    assert isinstance(account.reserve("a"), Refusal)


def test_only_its_owner_ends_a_turn():
    account = Account()
    account.start("a")
    assert end_turn(account.state, "b") == account.state


def test_the_next_batch_gets_the_turn_of_one_that_fell_silent():
    account = Account()
    account.start("a")
    account.now += 5 + INTERVAL + ROUNDING
    assert isinstance(account.reserve("b"), Grant)
    assert account.state.turn_owner == "b"


def test_a_batch_that_waits_for_a_stop_to_end_keeps_its_turn():
    account = Account()
    account.start("a")
    account.refuse(300)
    account.reserve("a")
    account.now += 299
    assert isinstance(account.reserve("b"), Refusal)
    assert account.state.turn_owner == "a"


def test_retries_are_not_subject_to_turns():
    account = Account()
    account.start("a")
    assert isinstance(account.reserve("b", is_bulk=False), Grant)
    assert account.state.turn_owner == "a"


def test_a_retry_takes_no_turn():
    account = Account()
    account.start("b", is_bulk=False)
    assert account.state.turn_owner is None


@given(st.lists(st.sampled_from(["a", "b"]), min_size=20, max_size=60))
def test_two_batches_together_use_the_whole_rate(owners):
    account = Account()
    for owner in ["a", *owners]:
        account.start(owner)
    used = account.starts[-1] - account.starts[0]
    # A slot that the owner of the turn leaves to the other is taken a fifth of an interval late.
    assert used <= len(owners) * INTERVAL * 1.2 + ROUNDING


# after a 429


def test_a_refusal_stops_everybody_for_as_long_as_it_says():
    account = Account()
    account.start("a")
    account.refuse(30)
    assert granted(account.reserve("a")).wait_seconds == pytest.approx(30, abs=ROUNDING)
    account.now += 29
    assert account.confirm() == pytest.approx(1, abs=ROUNDING)
    account.now += 1
    assert account.confirm() is None


def test_a_stop_that_came_while_waiting_is_waited_for():
    account = Account()
    account.start("a")
    account.reserve("b", is_bulk=False)
    account.refuse(60)
    account.now += INTERVAL
    assert account.confirm() == pytest.approx(60 - INTERVAL, abs=ROUNDING)


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(0, 0), (-5, 0), (1, 1), (900, 900), (901, 900), (1e9, 900)]
)
def test_a_stop_lasts_at_most_fifteen_minutes(retry_after, wait):
    account = Account()
    account.refuse(retry_after)
    assert account.state.blocked_until - account.now == pytest.approx(wait, abs=ROUNDING)


def test_a_shorter_stop_does_not_cut_a_longer_one():
    account = Account()
    account.refuse(100)
    account.now += 1
    account.refuse(5, started_seconds_ago=2)
    assert account.state.blocked_until == pytest.approx(T0 + 100, abs=ROUNDING)


def test_without_a_time_the_stops_grow_until_a_success():
    account = Account()
    stops = []
    for _ in range(9):
        account.refuse(None)
        stops.append(round(account.state.blocked_until - account.now, 3))
        account.now = account.state.blocked_until + 1
    assert stops == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    account.succeed()
    account.refuse(None)
    assert account.state.blocked_until - account.now == pytest.approx(1, abs=ROUNDING)


def test_a_refusal_cuts_the_rate_to_seven_tenths():
    account = Account()
    account.refuse(1)
    assert account.state.reduced_rate == pytest.approx(3.5)
    account.now += 2
    account.refuse(1)
    assert account.state.reduced_rate == pytest.approx(2.45)


def test_requests_under_way_at_the_cut_do_not_cut_again():
    account = Account()
    account.now += 10
    account.refuse(1, started_seconds_ago=0.5)
    for delay in (0.0, 0.1, 3.0):
        account.now += delay
        account.refuse(20, started_seconds_ago=5)
    assert account.state.reduced_rate == pytest.approx(3.5)
    assert account.state.consecutive_429 == 1
    assert account.state.blocked_until == pytest.approx(account.now + 20, abs=ROUNDING)


def test_the_rate_is_cut_from_the_configured_one_where_that_became_lower():
    account = Account()
    account.refuse(1)
    account.interval = 1.0
    account.now += 2
    account.refuse(1)
    assert account.state.reduced_rate == pytest.approx(0.7)


def test_the_rate_never_falls_below_one_start_in_ten_seconds():
    account = Account()
    for _ in range(50):
        account.now = account.state.blocked_until + 1
        account.refuse(0)
    assert account.state.reduced_rate == LOWEST_RATE_PER_SECOND
    account.now += 1
    account.starts.clear()
    first, second = account.start(), account.start()
    assert second - first == pytest.approx(10, abs=0.01)


def test_starts_keep_to_the_reduced_rate():
    account = Account()
    account.refuse(1)
    starts = [account.start() for _ in range(20)]
    assert starts[0] == pytest.approx(T0 + 1, abs=ROUNDING)
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert min(gaps) >= 1 / 3.5 - START_TOLERANCE_SECONDS - ROUNDING
    assert sum(gaps) == pytest.approx(19 / 3.5, abs=0.01)


def test_ten_successes_raise_the_rate_by_a_tenth():
    account = Account()
    account.refuse(1)
    account.succeed(9)
    assert account.state.reduced_rate == pytest.approx(3.5)
    account.succeed()
    assert account.state.reduced_rate == pytest.approx(3.6)
    account.succeed(10)
    assert account.state.reduced_rate == pytest.approx(3.7)


def test_a_refusal_starts_the_count_of_successes_anew():
    account = Account()
    account.refuse(1)
    account.succeed(9)
    account.now += 2
    account.refuse(1)
    account.succeed(9)
    assert account.state.reduced_rate == pytest.approx(2.45)


def test_the_rate_climbs_back_to_the_configured_one_and_never_above():
    account = Account()
    account.refuse(1)
    rates = []
    for _ in range(40):
        account.succeed(10)
        rates.append(1 / account.state.interval_seconds(INTERVAL))
        assert account.state.reduced_rate is None or account.state.reduced_rate < 5
    assert rates == sorted(rates)
    assert max(rates) == pytest.approx(5)
    assert account.state.reduced_rate is None
    assert not account.state.is_disturbed


def test_without_an_interval_the_measured_rate_is_cut():
    account = Account(interval=0.0)
    for _ in range(50):
        account.reserve()
        account.now += 0.1
    account.refuse(1)
    assert account.state.reduced_rate == pytest.approx(0.7 * 50 * UNPACED_BLOCK / 10)
    assert granted(account.reserve()).permit.starts == 1


# the breaker


def test_the_tenth_failing_cmms_asset_in_a_row_opens_the_breaker():
    account = Account()
    for number in range(9):
        account.fail(f"P{number}")
        assert account.state.breaker_opened_at is None
    account.fail("P9")
    assert account.state.breaker_opened_at == account.now
    answer = refused(account.reserve())
    assert answer.is_breaker_open
    assert answer.wait_seconds == pytest.approx(30, abs=ROUNDING)


def test_the_same_cmms_asset_counts_once():
    account = Account()
    for _ in range(5):
        for number in range(9):
            account.fail(f"P{number}")
    assert account.state.breaker_opened_at is None
    assert len(account.state.failing) == 9


def test_a_success_forgets_the_failures_in_a_row():
    account = Account()
    for number in range(9):
        account.fail(f"P{number}")
    account.succeed()
    account.fail("P9")
    assert account.state.failing == ("P9",)
    assert account.state.breaker_opened_at is None


def test_an_open_breaker_lets_one_probe_through_in_each_growing_window():
    account = Account()
    account.open_breaker()
    windows, opened = [], account.now
    for _ in range(7):
        closed = refused(account.reserve("b", is_bulk=False))
        assert closed.is_breaker_open
        account.now += closed.wait_seconds + ROUNDING
        assert account.reserve("a") == Grant(0.0, Permit(1, is_probe=True))
        assert refused(account.reserve("a")).is_breaker_open
        windows.append(round(account.now - opened))
        opened = account.now
        account.fail("P3")
    assert windows == [30, 60, 120, 240, 480, 600, 600]


def test_a_probe_that_succeeds_closes_the_breaker_and_the_next_outage_begins_at_30_seconds():
    account = Account()
    account.open_breaker()
    account.now += 31
    assert granted(account.reserve()).permit.is_probe
    account.succeed()
    assert account.state.breaker_opened_at is None
    assert not granted(account.reserve()).permit.is_probe
    account.open_breaker()
    assert refused(account.reserve()).wait_seconds == pytest.approx(30, abs=ROUNDING)


def test_the_answer_to_a_request_that_was_under_way_closes_the_breaker_too():
    account = Account()
    account.open_breaker()
    account.succeed()
    assert isinstance(account.reserve(), Grant)


def test_who_waited_when_the_breaker_opened_is_turned_away_unless_a_probe():
    account = Account()
    account.start()
    account.reserve()
    account.open_breaker()
    account.now += INTERVAL
    before = account.state
    assert account.confirm() == -1.0
    assert account.state == before
    assert account.confirm(is_probe=True) is None


def test_a_probe_waits_for_a_stop_to_end():
    account = Account()
    account.open_breaker()
    account.refuse(100)
    account.now += 31
    probe = granted(account.reserve())
    assert probe.permit.is_probe
    assert probe.wait_seconds == pytest.approx(69, abs=ROUNDING)
    assert account.confirm(is_probe=True) == pytest.approx(69, abs=ROUNDING)


def test_another_batchs_turn_uses_up_no_probe():
    account = Account(interval=600.0)
    account.start("a")
    account.open_breaker()
    account.now += 31
    assert granted(account.reserve("b")).permit.is_probe


def test_a_probe_without_an_interval_is_one_start():
    account = Account(interval=0.0)
    account.open_breaker()
    account.now += 31
    assert account.reserve() == Grant(0.0, Permit(1, is_probe=True))


# what is told of it


@pytest.mark.parametrize(
    ("change", "is_disturbed"),
    [
        ({}, False),
        ({"reduced_rate": 3.5}, True),
        ({"failing": ("P1",)}, True),
        ({"breaker_opened_at": T0}, True),
        ({"consecutive_429": 1}, True),
        ({"turn_owner": "a", "blocked_until": T0}, False),
    ],
)
def test_successes_are_worth_reporting_only_where_they_change_something(change, is_disturbed):
    state = replace(RateState(), **change)
    assert state.is_disturbed is is_disturbed
    assert is_disturbed or record_success(state, configured_seconds=INTERVAL) == state


def test_the_measured_rate_of_a_steady_sync_is_its_rate():
    account = Account()
    for number in range(300):
        account.start()
        if number >= 100:
            assert account.state.measured_rate(account.now) == pytest.approx(5, abs=0.2)


def test_the_measured_rate_falls_to_nothing_within_twenty_seconds_of_silence():
    account = Account()
    for _ in range(100):
        account.start()
    last = account.now
    rates = [account.state.measured_rate(last + seconds / 10) for seconds in range(250)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(5, abs=0.2)
    assert set(rates[200:]) == {0.0}


def test_the_measured_rate_does_not_jump_at_the_first_start_after_a_pause():
    account = Account()
    for _ in range(45):
        account.start()
    account.now += 6
    before = account.state.measured_rate(account.now)
    account.start()
    assert account.state.measured_rate(account.now) - before == pytest.approx(0.1, abs=0.02)


def test_nothing_was_measured_before_the_first_start():
    assert RateState().measured_rate(T0) == 0.0


def test_ten_items_in_a_row_with_the_same_contract_error_open_the_breaker_and_are_named():
    account = Account()
    for number in range(BREAKER_THRESHOLD - 1):
        assert account.break_contract(f"Pump {number}") is None
        assert account.break_contract(f"Pump {number}") is None, "a second answer for one item counts once"
        account.fail(f"Pump {number}")
    assert account.state.is_disturbed
    assert account.break_contract("Pump 9") == tuple(f"Pump {number}" for number in range(9))
    assert isinstance(account.reserve(), Refusal)
    assert account.break_contract("Pump 10") == (), "a request that was under way"
    account.now += 30
    probe = account.reserve()
    assert isinstance(probe, Grant)
    assert probe.permit.is_probe
    assert account.break_contract("Pump 11") == ()
    assert account.state.breaker_opened_at is not None
    account.succeed()
    assert not account.state.is_disturbed
    assert account.break_contract("Pump 12") is None


def test_a_good_answer_or_another_error_ends_a_row_of_contract_errors():
    account = Account()
    for number in range(5 * BREAKER_THRESHOLD):
        if number % (BREAKER_THRESHOLD - 1) == 0:
            account.succeed()
        assert account.break_contract(f"Pump {number}") is None
    account.succeed()
    for number in range(5 * BREAKER_THRESHOLD):
        assert account.break_contract(f"Pump {number}", "no data" if number % 9 else "x" * 5000) is None
    assert len(account.state.contract_error or "") <= 200


def test_a_contract_error_shows_that_the_source_answers():
    account = Account()
    for number in range(3 * BREAKER_THRESHOLD):
        account.fail(f"Pump {number % 9}")
        account.break_contract("Pump 1")
    assert account.state.breaker_opened_at is None
    for number in range(BREAKER_THRESHOLD):
        account.fail(f"Pump {number}")
    assert account.state.breaker_opened_at is not None
    assert account.break_contract("Pump 1") is None
    assert account.state.breaker_opened_at is None


@pytest.mark.parametrize("hour", [-3600.0, 3600.0])
def test_a_clock_that_is_set_changes_no_wait(hour: float) -> None:
    """What was stored before is read by the new clock: a slot, a stop, a probe, a turn."""
    then = 1_000_000.0
    stored = RateState(
        next_start_at=then + 0.4,
        last_start_at=then - 0.1,
        blocked_until=then + 20,
        reduced_at=then - 30,
        turn_owner="other",
        turn_until=then + 3,
        window_started_at=then - 5,
        breaker_opened_at=then - 40,
        breaker_probe_at=then + 25,
    )
    now = then + hour
    after = set_right(stored, now=now, configured_seconds=0.2)
    if hour > 0:
        assert after == stored, "what has passed by the new clock is over, and nobody waits"
        return
    assert after.next_start_at - now == pytest.approx(0.5, abs=0.001)
    assert after.blocked_until - now == pytest.approx(20.1, abs=0.001)
    assert after.breaker_probe_at - now == pytest.approx(25.1, abs=0.001)
    assert after.turn_until - now == pytest.approx(3.1, abs=0.001)
    assert max(after.last_start_at, after.reduced_at, after.window_started_at) <= now
    assert set_right(after, now=now, configured_seconds=0.2) == after


@pytest.mark.parametrize(
    "name",
    ["next_start_at", "last_start_at", "blocked_until", "reduced_at", "turn_until", "window_started_at"],
)
def test_a_moment_without_a_bound_stops_nobody_longer_than_an_honest_one(name: str) -> None:
    now = 1_000_000.0
    state = set_right(replace(RateState(), **{name: 1e12}), now=now, configured_seconds=0.2)
    _, answer = reserve(state, now=now, configured_seconds=0.2, owner="run", is_bulk=True)
    assert isinstance(answer, Grant)
    assert answer.wait_seconds <= (LONGEST_STOP_SECONDS if name == "blocked_until" else 10)


def test_a_probe_without_a_bound_comes_within_the_longest_pause() -> None:
    now = 1_000_000.0
    state = RateState(breaker_opened_at=1e12, breaker_probe_at=2e12, breaker_wait_seconds=1e12)
    state = set_right(state, now=now, configured_seconds=0.2)
    later = now + LONGEST_PROBE_SECONDS
    _, answer = reserve(state, now=later, configured_seconds=0.2, owner="run", is_bulk=True)
    assert isinstance(answer, Grant)
    assert answer.permit.is_probe


def test_a_state_that_is_right_stays_as_it_is() -> None:
    state = RateState(next_start_at=100.2, last_start_at=99.9, blocked_until=150, window_started_at=95)
    assert set_right(state, now=100.0, configured_seconds=0.2) == state
    assert set_right(RateState(), now=100.0, configured_seconds=0.2) == RateState()
