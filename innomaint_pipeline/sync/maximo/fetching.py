"""Fetching a structure: pages into maximo.response, until the whole answer to the question is there.

Belongs here: the loop between a client and the store, and what shows that a read is whole: counts, and asking
for each id that is missing. What becomes of it is `merging`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from innomaint_pipeline import crash_points
from innomaint_pipeline.domain.maximo.answers import (
    Page,
    check_rows,
    ignores_status,
)
from innomaint_pipeline.domain.maximo.plans import (
    RESUME_WITHIN,
    DateForm,
    Decision,
    Known,
    decide_read,
    highest_moment,
    literal,
    longest_reach,
    transactions_reach,
)
from innomaint_pipeline.domain.maximo.privacy import remove_private
from innomaint_pipeline.domain.maximo.questions import (
    IDS_AT_ONCE,
    IDS_OF_A_PAGE,
    SMALLEST_PAGE,
    TRANSACTION_DATE,
    Mode,
    Question,
)
from innomaint_pipeline.domain.maximo.rows import ROWSTAMP, Seen, count_seen
from innomaint_pipeline.domain.maximo.structures import Cursor, as_list
from innomaint_pipeline.domain.maximo.values import WrongTypeError, parse_moment, read_rowstamp
from innomaint_pipeline.store.database import find_now
from innomaint_pipeline.store.leases import report_progress
from innomaint_pipeline.store.maximo.merging import find_unseen
from innomaint_pipeline.store.maximo.responses import (
    drop_pending,
    find_new_ids,
    find_pending_ids,
    load_bodies,
    save_pending,
)
from innomaint_pipeline.store.maximo.states import (
    ensure_state,
    load_internal_values,
    load_known,
    load_state,
    load_words,
    save_state,
)
from innomaint_pipeline.sync.event_loop import run_in_thread
from innomaint_pipeline.sync.holding import LeaseWatch
from innomaint_pipeline.sync.maximo.reading import MaximoRun, OpenClient, Reading, lease_name

if TYPE_CHECKING:
    from innomaint_pipeline.sources.maximo.client import MaximoClient

PENDING_IDS = "SELECT id FROM maximo.response WHERE endpoint = :endpoint AND site = :site AND is_pending"


def fetch(run: MaximoRun, open_client: OpenClient, watch: LeaseWatch) -> Reading:
    """Fetch what is to be read, going on with a read that was broken off; the caller holds the lease.

    Raises `StructureError`, `SourceRefusedError`, `DatabaseError`, `RunCancelledError`, each after what had
    arrived was stored.
    """
    crash_points.reach("maximo fetch: lease taken")
    fetcher = _Fetcher(run)
    reading = fetcher.begin()
    if not reading.is_complete:
        run_in_thread(fetcher.read(open_client), watch.check)
    return fetcher.reading


class _Fetcher:
    """One read."""

    def __init__(self, run: MaximoRun) -> None:
        self._run = run
        self._structure = run.structure
        self._known = Known()
        self.reading = Reading(run.run_id, Mode.FULL.value, "", "", "", 0)

    # beginning

    def begin(self) -> Reading:
        """Return the read to do: one that was broken off, where it asked for the same, else a new one."""
        run = self._run
        with run.database.begin() as connection:
            ensure_state(connection, run.place)
            self._known = load_known(connection, run.place)
            stored = load_state(connection, run.place)["reading"]
            now = find_now(connection)
        decision = decide_read(
            self._structure,
            self._known,
            now=now,
            overlap_seconds=run.settings.overlap_seconds,
            is_forced=run.options.is_forced,
            since=run.options.since,
        )
        if self._known.words is not None:
            self._known = replace(self._known, words=self._find_words())
        self.reading = self._new(decision)
        before = Reading(**stored) if stored else None
        if before is not None and self._goes_on(before):
            self.reading = before
            return before
        with run.database.begin() as connection:
            drop_pending(connection, run.place)
            save_state(connection, run.place, reading=None)
        return self.reading

    def _goes_on(self, before: Reading) -> bool:
        if before.run_id == self._run.run_id:
            return True
        age = self._run.now() - datetime.fromisoformat(before.updated_at)
        # A read by words, or one that took the place of an increment, is still the same to a person.
        is_same = before.filter == self.reading.filter or (
            before.is_full and before.restored_on is not None and self.reading.mode == Mode.INCREMENT
        )
        return is_same and age < RESUME_WITHIN and not self._run.options.is_forced

    def _new(self, decision: Decision) -> Reading:
        run, known = self._run, self._known
        now = run.now()
        words = None if known.words is None else list(known.words)
        booked: datetime | None = None
        if self._structure.appended:
            booked = transactions_reach(known, now=now, days=run.settings.transaction_days)
        since = decision.changed_since
        if since is not None and decision.mode is Mode.SINCE and known.watermark is not None:
            since = since.astimezone(parse_moment(known.watermark).tzinfo)
        reading = Reading(
            run.run_id,
            decision.mode.value,
            "",
            now.isoformat(),
            now.isoformat(),
            run.settings.size_for(self._structure),
            changed_since=None if since is None else literal(since, known.date_form),
            last_fetch=decision.last_fetch,
            words=words,
            booked_since=None if booked is None else literal(booked, known.date_form),
            date_form=known.date_form,
            accepts_deletes=run.options.accepts_deletes,
            accepts_drift=run.options.accepts_drift,
        )
        reading.watermark_from = (
            str(decision.last_fetch) if decision.last_fetch is not None else reading.changed_since
        )
        if decision.mode is Mode.SINCE and since is not None:
            reading.closes_gap = known.watermark is not None and since <= parse_moment(known.watermark)
        if decision.reason:
            reading.note(f"{decision.mode} read: {decision.reason}")
        moment = f"|{reading.changed_since}" if decision.mode is Mode.SINCE else ""
        reading.filter = reading.question(run).filter_name + moment
        return reading

    def _restart(self, reason: str, *, restored_on: date | None = None) -> None:
        """Begin a full read instead of what was under way."""
        pages = self.reading.pages
        self.reading = self._new(Decision(Mode.FULL, reason=reason))
        self.reading.pages = pages
        self.reading.restored_on = None if restored_on is None else restored_on.isoformat()
        self._forget_pages()

    def _forget_pages(self) -> None:
        with self._run.database.begin() as connection:
            drop_pending(connection, self._run.place)
            save_state(connection, self._run.place, reading=None)

    # reading

    async def read(self, open_client: OpenClient) -> None:
        """Ask page by page, then for what is missing."""
        async with open_client(self._run.run_id) as client:
            while not self.reading.has_all_pages:
                await self._read_pages(client)
            if self.reading.is_full:
                await self._prove_whole(client)
            await self._fetch_long_reach(client)
        self.reading.is_complete = True
        self._save({})
        crash_points.reach("maximo fetch: complete")

    async def _read_pages(self, client: MaximoClient) -> None:
        """Ask for pages to the end, or until another question must be asked from the start."""
        while True:
            reading = self.reading
            is_first = reading.last is None
            answered = await client.fetch_page(
                reading.question(self._run),
                last=reading.last,
                size=reading.size,
                is_first=is_first,
                without_offset=None if reading.date_form == DateForm.PLAIN else self._without_offset,
            )
            self._remember(answered.question)
            page = answered.page
            reading.pages += 1
            if self._must_restart(page, is_first=is_first):
                return
            ids = check_rows(answered.question, page, last=reading.last)
            if is_first:
                reading.total_before = page.total
                reading.maxrowstamp = page.maxrowstamp
                reading.first_page_at = (page.date or self._run.now()).isoformat()
            reading.size = answered.size
            reading.last = ids[-1] if ids else reading.last
            reading.fetched += len(ids)
            self._look_at(page.rows)
            reading.wrong |= {str(ids[place]): why for place, why in page.wrong_rows().items()}
            reading.has_all_pages = not ids or (len(ids) < answered.asked_size and not page.has_next)
            self._save(dict(zip(ids, page.rows, strict=True)))
            crash_points.reach("maximo fetch: page committed")
            if reading.has_all_pages:
                return

    def _without_offset(self, question: Question) -> Question:
        """Return the question with its moments an hour earlier, as the clock on the server's wall."""

        def plain(text: str | None) -> str | None:
            return None if text is None else literal(datetime.fromisoformat(text), DateForm.PLAIN)

        return replace(
            question, changed_since=plain(question.changed_since), booked_since=plain(question.booked_since)
        )

    def _remember(self, question: Question) -> None:
        reading = self.reading
        if not question.has_dates:
            return
        is_plain = question.changed_since != reading.changed_since or (
            question.booked_since != reading.booked_since
        )
        if is_plain:
            reading.note("the server takes no moment with an offset in a filter")
        if reading.date_form is None or is_plain:
            reading.date_form = DateForm.PLAIN if is_plain else DateForm.WITH_OFFSET
        reading.changed_since, reading.booked_since = question.changed_since, question.booked_since

    def _must_restart(self, page: Page, *, is_first: bool) -> bool:
        """Tell whether a page shows that the question must be another; begin that one."""
        reading, structure = self.reading, self._structure
        if reading.is_full and reading.words is None and ignores_status(structure, page):
            self._ask_by_words()
            return True
        if not is_first or structure.cursor is not Cursor.ROWSTAMP or reading.mode != Mode.INCREMENT:
            return False
        if page.maxrowstamp is None:
            if not page.rows:
                return False
            self._restart("the server gives no maxrowstamp")
            return True
        newest = self._known.rowstamps[-1][0] if self._known.rowstamps else page.maxrowstamp
        today = self._run.now().date()
        if page.maxrowstamp < newest and self._known.restored_on != today:
            self._restart(
                f"maxrowstamp went back from {newest} to {page.maxrowstamp}, as after a restored database",
                restored_on=today,
            )
            return True
        return False

    def _find_words(self) -> tuple[str, ...]:
        """Return the installation's words for the scope, as domains have them by now, else our own."""
        scope = self._structure.status
        if scope is None:
            raise AssertionError("only a structure with a status is asked for by it")
        with self._run.database.begin() as connection:
            if scope.is_excluding:
                inside = [
                    value for value in load_internal_values(connection, scope.domain) if scope.includes(value)
                ]
            else:
                inside = list(scope.internal_values)
            return load_words(connection, scope.domain, inside) or scope.internal_values

    def _ask_by_words(self) -> None:
        pages = self.reading.pages
        notes = self.reading.notes
        known = replace(self._known, words=self._find_words())
        self._known = known
        self.reading = self._new(Decision(Mode.FULL))
        self.reading.pages, self.reading.notes = pages, notes
        self.reading.note(
            "the server ignores the internal status (domaininternalwhere): asked for by its words "
            f"{', '.join(known.words or ())}"
        )
        self._forget_pages()

    def _look_at(self, rows: Sequence[Mapping[str, Any]]) -> None:
        reading, structure = self.reading, self._structure
        if structure.cursor is Cursor.CHANGEDATE:
            moments = [row.get("changedate") for row in rows]
            reading.highest = highest_moment(moments, reading.highest)
            if reading.mode == Mode.INCREMENT and self._has_older(moments):
                reading.note("the server ignores the filter by changedate: all rows came")
        if any(row.get(ROWSTAMP) is not None and read_rowstamp(row[ROWSTAMP]) is None for row in rows):
            reading.has_bad_rowstamp = True
        for child in structure.appended:
            booked = [item.get(TRANSACTION_DATE) for row in rows for item in as_list(row.get(child.member))]
            reading.booked_offset = highest_moment(booked, reading.booked_offset)

    def _has_older(self, moments: Sequence[Any]) -> bool:
        since = self.reading.changed_since
        if since is None or self.reading.date_form == DateForm.PLAIN:
            return False
        for value in moments:
            try:
                if parse_moment(value) < parse_moment(since):
                    return True
            except WrongTypeError:
                continue
        return False

    def _save(self, rows: Mapping[int, Mapping[str, Any]], *, is_counted: bool = True) -> None:
        """Store a page and how far the read is, in one transaction."""
        run, reading = self._run, self.reading
        clean = {
            identifier: remove_private(row, keeps_personal_data=run.settings.keeps_personal_data)
            for identifier, row in rows.items()
        }
        if is_counted and clean:
            seen = Seen(**reading.seen)
            count_seen(self._structure, clean.values(), seen)
            reading.seen = seen.to_json()
        with run.database.begin() as connection:
            reading.updated_at = find_now(connection).isoformat()
            if clean and self._structure.appended:
                held = load_bodies(connection, run.place, list(clean))
                clean = {
                    identifier: self._with_transactions(row, held.get(identifier))
                    for identifier, row in clean.items()
                }
            refused = save_pending(connection, run.place, clean)
            reading.wrong |= {str(identifier): why for identifier, why in refused.items()}
            save_state(connection, run.place, reading=reading.to_json())
            report_progress(
                connection,
                lease_name(self._structure, run.site),
                run.run_id,
                total=reading.total_before or reading.fetched,
                done=reading.fetched,
            )
            crash_points.reach("maximo fetch: page written")

    def _with_transactions(self, row: dict[str, Any], held: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a root with the transactions that were held before, those of the same id as they are now."""
        if held is None:
            return row
        merged = dict(row)
        for child in self._structure.appended:
            name = child.table.key[-1]
            by_id = {item.get(name): item for item in as_list(held.get(child.member))}
            by_id |= {item.get(name): item for item in as_list(row.get(child.member))}
            if by_id:
                merged[child.member] = list(by_id.values())
        return merged

    # whole or not

    async def _prove_whole(self, client: MaximoClient) -> None:
        """Compare with the server's ids and counts; ask for each id that is missing or may be gone."""
        reading, question = self.reading, self.reading.question(self._run)
        entered, left = await self._find_moved(client, question)
        counts = [total for total in (reading.total_before, reading.total_after) if total is not None]
        if len(counts) < 2:
            reading.note("the server does not count, so that nothing proves the read whole", is_fault=True)
            return
        if reading.fetched < min(counts):
            reading.note(
                f"{reading.fetched} rows came where the server counts {min(counts)}: none is marked deleted",
                is_fault=True,
            )
            return
        if reading.fetched == 0 and self._structure.status is not None:
            await self._look_for_words(client, question)
            if reading.faults and reading.words is not None:
                # The words are wrong: by them, no row that answers could be told to be in scope.
                return
        reading.fetched += len(entered)
        await self._ask_for(client, question, entered)
        with self._run.database.begin() as connection:
            missing = find_unseen(connection, self._structure, self._run.site, PENDING_IDS)
        missing += left
        if reading.total_after is not None and reading.total_after < reading.fetched - len(left):
            # Some left the scope, or were deleted, since their ids were compared.
            missing += self._seen_ids()
        # A read that was broken off here has asked for some before.
        await self._ask_for(client, question, sorted(set(missing) - set(reading.deleted)))

    async def _find_moved(self, client: MaximoClient, question: Question) -> tuple[list[int], list[int]]:
        """Count at the end; return the ids that entered the scope while it was read, and those that left.

        A row that leaves and one that enters leave every count as it was: only their ids tell. Where that is
        no everyday matter, the ids are compared when the counts differ.
        """
        reading = self.reading
        is_long = reading.pages > 1 and reading.total_before is not None
        if not (is_long and self._structure.is_fleeting):
            reading.total_after = await client.count(question)
            if not is_long or reading.total_before == reading.total_after == reading.fetched:
                return [], []
        moved = await self._compare_ids(client, question)
        reading.total_after = await client.count(question)
        return moved

    async def _compare_ids(self, client: MaximoClient, question: Question) -> tuple[list[int], list[int]]:
        """Return the ids in scope that no page has brought, and those that one brought and that are not."""
        reading, run = self.reading, self._run
        entered: list[int] = []
        left: list[int] = []
        usual = run.settings.size_for(self._structure)
        # A size that the server refused is not tried once more.
        size = (
            reading.size
            if reading.size < usual
            else min(IDS_OF_A_PAGE, run.settings.page_size or IDS_OF_A_PAGE)
        )
        last: int | None = None
        is_last = False
        while not is_last:
            answered = await client.fetch_page(question.for_ids_alone(), last=last, size=size, is_first=False)
            ids = check_rows(question, answered.page, last=last)
            size = answered.size
            is_last = not ids or (len(ids) < answered.asked_size and not answered.page.has_next)
            with run.database.begin() as connection:
                held = set(find_pending_ids(connection, run.place, last, None if is_last else ids[-1]))
            entered += [identifier for identifier in ids if identifier not in held]
            left += held.difference(ids)
            last = ids[-1] if ids else last
        return entered, left

    async def _look_for_words(self, client: MaximoClient, question: Question) -> None:
        if not await client.count(question, with_status=False):
            return
        page = await client.fetch_any(question)
        words = sorted({str(row.get("status")) for row in page.rows})
        self.reading.note(
            "no row is in scope, although the server holds some; it calls their status "
            f"{', '.join(words)}: look at the domain of the status",
            is_fault=True,
        )

    def _seen_ids(self) -> list[int]:
        with self._run.database.begin() as connection:
            return find_new_ids(connection, self._run.place, None)

    async def _ask_for(self, client: MaximoClient, question: Question, ids: Sequence[int]) -> None:
        """Ask for rows by id: those that answer are read anew, the others are gone."""
        for start in range(0, len(ids), IDS_AT_ONCE):
            chunk = ids[start : start + IDS_AT_ONCE]
            found = await self._rows_of(client, question.of_ids(chunk, booked_since=question.booked_since))
            if found is None:
                self.reading.note(
                    "the server ignores the filter by id: no row is taken as deleted", is_fault=True
                )
                self.reading.deleted = []
                return
            self.reading.deleted += [identifier for identifier in chunk if identifier not in found]
            self._save(found, is_counted=False)
            crash_points.reach("maximo fetch: missing ids committed")

    async def _rows_of(self, client: MaximoClient, question: Question) -> dict[int, Mapping[str, Any]] | None:
        """Return the rows that answer to their ids; None where others came, too."""
        wanted = question.ids or ()
        found: dict[int, Mapping[str, Any]] = {}
        last: int | None = None
        size = max(len(wanted), SMALLEST_PAGE)
        while True:
            answered = await client.fetch_page(question, last=last, size=size, is_first=False)
            page = answered.page
            self.reading.pages += 1
            ids = check_rows(question, page, last=last)
            found |= zip(ids, page.rows, strict=True)
            self.reading.wrong |= {str(ids[place]): why for place, why in page.wrong_rows().items()}
            if not found.keys() <= set(wanted):
                return None
            is_last = not ids or (len(ids) < answered.asked_size and not page.has_next)
            if is_last or len(found) == len(wanted):
                return found
            last, size = ids[-1], answered.size

    async def _fetch_long_reach(self, client: MaximoClient) -> None:
        """Ask once more for roots that were never held: their transactions have the longest reach."""
        reading, run = self.reading, self._run
        if reading.booked_since is None or self._known.booked_since is None:
            return
        reach = literal(
            longest_reach(self._known, now=run.now(), days=run.settings.transaction_days), reading.date_form
        )
        if reach >= reading.booked_since:
            return
        with run.database.begin() as connection:
            new = find_new_ids(connection, run.place, run.structure)
        question = reading.question(run)
        for start in range(0, len(new), IDS_AT_ONCE):
            chunk = new[start : start + IDS_AT_ONCE]
            found = await self._rows_of(client, question.of_ids(chunk, booked_since=reach))
            if found is None:
                reading.note(
                    "the server ignores the filter by id: old transactions are missing", is_fault=True
                )
                return
            self._save(found, is_counted=False)


def booked_reach(run: MaximoRun, reading: Reading, now: datetime) -> str | None:
    """Return from when on the next full read asks for transactions."""
    if not run.structure.appended or reading.first_page_at is None:
        return None
    moment = min(datetime.fromisoformat(reading.first_page_at), now)
    moment -= timedelta(seconds=run.settings.overlap_seconds)
    zone = parse_moment(reading.booked_offset).tzinfo if reading.booked_offset else UTC
    return moment.astimezone(zone).isoformat(timespec="seconds")
