"""The request clock that every process shares: innomaint_rate_limit (docs/how-it-works.md).

Belongs here: running the pure transitions of `domain.pacing` under the lock of the account's row, each in a
short transaction of its own, with the database's clock. No lock is held while waiting. When the row cannot be
reached nothing is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import TypeVar

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from innomaint_pipeline.domain import pacing
from innomaint_pipeline.domain.pacing import Permit, RateState, Refusal
from innomaint_pipeline.errors import BreakerOpenError
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.tables import rate_limit

_STATE_COLUMNS = [item.name for item in fields(RateState)]
_ARRAYS = ("failing", "contract_items")
_NOW = func.extract("epoch", func.clock_timestamp())
# While waiting, a stop or a cancellation by another process is noticed within this time.
_LONGEST_SLEEP_SECONDS = 5.0

Result = TypeVar("Result")


def ensure_account(connection: Connection, account: str) -> None:
    """Create the row of an API account if it is missing."""
    connection.execute(insert(rate_limit).values(account=account).on_conflict_do_nothing())


def load_rate_state(connection: Connection, account: str) -> tuple[RateState, float] | None:
    """Return the shared state and the database's time, without locking; None when the account is unknown."""
    row = connection.execute(
        select(*(rate_limit.c[name] for name in _STATE_COLUMNS), _NOW).where(rate_limit.c.account == account)
    ).first()
    if row is None:
        return None
    now = float(row[-1])
    return pacing.set_right(_state(tuple(row)), now=now), now


def _state(row: tuple) -> RateState:
    values = dict(zip(_STATE_COLUMNS, row[:-1], strict=True))
    return RateState(**{**values, **{name: tuple(values[name]) for name in _ARRAYS}})


class SharedPacing:
    """A `domain.pacing.Pacing` for one run (`owner`) of one API account.

    At most one reservation of a run waits at a time: a slot is never kept from another process by a request
    that could not start anyway.
    """

    def __init__(
        self,
        database: Database,
        account: str,
        *,
        owner: str,
        rate_ms: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._sleep = sleep
        self._account = account
        self._owner = owner
        self._configured_seconds = rate_ms / 1000
        self._is_disturbed = True
        self._waiting = asyncio.Lock()
        columns = (*(rate_limit.c[name] for name in _STATE_COLUMNS), _NOW)
        locked_row = select(*columns).where(rate_limit.c.account == account).with_for_update()
        # A slot need not reach the disk: a server that lost the last ones in a crash is away for longer
        # than they lasted. What the source said (a stop, a failure) does reach it.
        fleeting = func.set_config("synchronous_commit", "off", True)  # noqa: FBT003
        self._locked_rows = {True: locked_row, False: locked_row.add_columns(fleeting)}

    def _change(
        self, transition: Callable[[RateState, float], tuple[RateState, Result]], *, is_durable: bool = True
    ) -> Result:
        with self._database.begin() as connection:
            locked_row = self._locked_rows[is_durable]
            row = connection.execute(locked_row).first()
            if row is None:
                ensure_account(connection, self._account)
                row = connection.execute(locked_row).one()
            row = row[: len(_STATE_COLUMNS) + 1]
            before = _state(tuple(row))
            now = float(row[-1])
            after, result = transition(
                pacing.set_right(before, now=now, configured_seconds=self._configured_seconds), now
            )
            if after != before:
                old = asdict(before)
                changes = {
                    name: list(value) if name in _ARRAYS else value
                    for name, value in asdict(after).items()
                    if value != old[name]
                }
                connection.execute(
                    update(rate_limit).where(rate_limit.c.account == self._account).values(changes)
                )
        self._is_disturbed = after.is_disturbed
        return result

    async def start(self, *, is_bulk: bool) -> Permit:
        """Wait for a slot, then look again; raise `BreakerOpenError` while the breaker is open."""
        while True:
            async with self._waiting:
                answer = await asyncio.to_thread(
                    self._change,
                    lambda state, now: pacing.reserve(
                        state,
                        now=now,
                        configured_seconds=self._configured_seconds,
                        owner=self._owner,
                        is_bulk=is_bulk,
                    ),
                    is_durable=False,
                )
                if not isinstance(answer, Refusal):
                    if answer.wait_seconds > 0:
                        await self._wait_and_look_again(answer.wait_seconds, is_probe=answer.permit.is_probe)
                    return answer.permit
            if answer.is_breaker_open:
                raise self._breaker_error(answer.wait_seconds)
            # It is another batch's turn; a retry of this run may start meanwhile.
            await self._sleep(answer.wait_seconds)

    async def _wait_and_look_again(self, wait_seconds: float, *, is_probe: bool) -> None:
        remaining: float | None = wait_seconds
        while remaining is not None:
            await self._sleep(min(remaining, _LONGEST_SLEEP_SECONDS))
            remaining = await asyncio.to_thread(
                self._change,
                lambda state, now: pacing.confirm(
                    state, now=now, configured_seconds=self._configured_seconds, is_probe=is_probe
                ),
                is_durable=False,
            )
            if remaining is not None and remaining < 0:
                raise self._breaker_error(pacing.FIRST_PROBE_SECONDS)

    @staticmethod
    def _breaker_error(retry_in_seconds: float) -> BreakerOpenError:
        return BreakerOpenError(
            f"the source failed for {pacing.BREAKER_THRESHOLD} assets in a row, so nothing is sent now; the "
            f"next probe may start in {retry_in_seconds:.0f} s. Nothing is lost: the assets not asked for "
            "keep their state",
            retry_in_seconds=retry_in_seconds,
        )

    async def end_bulk(self) -> None:
        """Let the next batch send its first requests."""
        await asyncio.to_thread(self._change, lambda state, _: (pacing.end_turn(state, self._owner), None))

    async def succeeded(self) -> None:
        """Count a success where something waits for it; costs nothing while all is well."""
        if self._is_disturbed:
            await asyncio.to_thread(
                self._change,
                lambda state, _: (
                    pacing.record_success(state, configured_seconds=self._configured_seconds),
                    None,
                ),
            )

    async def failed(self, item: str) -> None:
        """Count a transient failure towards the breaker."""
        await asyncio.to_thread(
            self._change, lambda state, now: (pacing.record_failure(state, item, now=now), None)
        )

    async def broke_contract(self, item: str, error: str) -> tuple[str, ...] | None:
        """Count an answer that broke the contract; see `domain.pacing.Pacing`."""
        return await asyncio.to_thread(
            self._change,
            lambda state, now: pacing.record_contract_error(
                state, item, error, now=now, configured_seconds=self._configured_seconds
            ),
        )

    async def rate_limited(self, retry_after_seconds: float | None, *, started_at: float) -> None:
        """Stop everybody after a 429."""
        started_seconds_ago = time.monotonic() - started_at
        await asyncio.to_thread(
            self._change,
            lambda state, now: (
                pacing.record_rate_limit(
                    state,
                    now=now,
                    started_seconds_ago=started_seconds_ago,
                    retry_after_seconds=retry_after_seconds,
                    configured_seconds=self._configured_seconds,
                ),
                None,
            ),
        )
