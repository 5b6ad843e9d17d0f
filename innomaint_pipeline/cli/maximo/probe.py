"""`innomaint maximo probe`: a question to the server for each thing that was inferred; nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from innomaint_pipeline.cli.environment import open_database
from innomaint_pipeline.cli.output import print_json, say
from innomaint_pipeline.defs.maximo.opening import client_opener
from innomaint_pipeline.domain.maximo.answers import Refusal, StructureError, read_total
from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME, STRUCTURES
from innomaint_pipeline.domain.maximo.questions import (
    SMALLEST_PAGE,
    Mode,
    Parameters,
    Question,
    any_parameters,
    count_parameters,
    page_parameters,
)
from innomaint_pipeline.domain.maximo.structures import as_list
from innomaint_pipeline.domain.maximo.values import read_rowstamp
from innomaint_pipeline.errors import SourceRefusedError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.sources.maximo.client import MaximoClient

_ANSWERED = "answered"


@dataclass(frozen=True)
class Check:
    """One question: whether what was inferred holds, what was asked, and what came, without any row."""

    name: str
    holds: bool
    request: str
    answer: str


@dataclass
class _Asked:
    """One answer to a question, or why there was none."""

    request: str
    value: Any = None
    headers: dict[str, str] | None = None
    refusal: str | None = None

    @property
    def rows(self) -> list[Any]:
        found = self.value.get("member") if isinstance(self.value, dict) else None
        return found if isinstance(found, list) else []


def run_probe(settings: Settings, *, is_json: bool) -> int:
    """Ask all questions; return 0 when all hold, 1 when some do not, 3 when the server refuses."""
    with open_database(settings) as (database, _):
        opener = client_opener(settings, database)

        async def ask() -> list[Check]:
            async with opener("maximo-probe") as client:
                return await _Probe(client, settings.maximo_sites).run()

        try:
            checks = asyncio.run(ask())
        except StructureError as error:
            raise SourceRefusedError(f"Maximo does not answer: {error}") from error
    for check in checks:
        say(f"{'yes' if check.holds else 'no '}  {check.name}: {check.answer}\n     {check.request}")
    if is_json:
        print_json({"checks": [asdict(check) for check in checks]})
    return 0 if all(check.holds for check in checks) else 1


class _Probe:
    """Asks one server."""

    def __init__(self, client: MaximoClient, sites: tuple[str, ...]) -> None:
        self._client = client
        self._sites = sites
        self._site = ""

    async def run(self) -> list[Check]:
        """Return what every question brought."""
        user = await self._client.whoami()
        self._site = next(iter(self._sites), str(user.get("defaultSite") or user.get("insertSite") or ""))
        checks = [self._check_sites(user)]
        questions: tuple[Callable[[], Awaitable[list[Check]]], ...] = (
            self._check_scopes,
            self._check_words,
            self._check_paging,
            self._check_delta,
            self._check_dates,
            self._check_children,
        )
        for question in questions:
            checks += await question()
        return checks

    def _question(self, short: str, **options: Any) -> Question:
        structure = BY_SHORT_NAME[short]
        return Question(structure, self._site if structure.has_site else None, Mode.FULL, **options)

    async def _ask(self, short: str, parameters: Parameters) -> _Asked:
        name = BY_SHORT_NAME[short].name
        # The list of attributes is long, and says nothing here.
        shown = "&".join(f"{key}={value}" for key, value in parameters if key != "oslc.select")
        asked = _Asked(f"GET os/{name}?{shown}")
        try:
            found, head = await self._client.ask_raw(f"os/{name}", parameters)
        except StructureError as error:
            asked.refusal = str(error)
            return asked
        if isinstance(found, Refusal):
            asked.refusal = found.message
            return asked
        asked.value, asked.headers = found, dict(head.headers) if head is not None else {}
        return asked

    async def _first_page(self, short: str, *, last: int | None = None, **options: Any) -> _Asked:
        question = self._question(short, **options)
        return await self._ask(
            short, page_parameters(question, last=last, size=SMALLEST_PAGE, is_first=last is None)
        )

    def _check_sites(self, user: dict[str, Any]) -> Check:
        sees_one = user.get("querywithsite")
        words = {True: "the user sees its own site only", False: "the user sees every site"}
        shown = words.get(sees_one, "it is not told") if isinstance(sees_one, bool) else "it is not told"
        return Check(
            "sites_of_the_user", bool(self._site), "GET whoami", f"{shown}; site {self._site or 'none'}"
        )

    async def _check_scopes(self) -> list[Check]:
        found = []
        for structure in STRUCTURES:
            if structure.status is None:
                continue
            page = await self._first_page(structure.short)
            good = [row for row in page.rows if structure.status.includes(str(row.get("status_maxvalue")))]
            holds = page.refusal is None and len(good) == len(page.rows)
            answer = page.refusal or f"{len(good)} of {len(page.rows)} rows are in scope"
            found.append(Check(f"internal_status_{structure.short}", holds, page.request, answer))
        return found

    async def _check_words(self) -> list[Check]:
        found = []
        for structure in STRUCTURES:
            if structure.status is None:
                continue
            page = await self._ask(structure.short, any_parameters(self._question(structure.short)))
            words = sorted({str(row.get("status")) for row in page.rows})
            answer = page.refusal or f"{_ANSWERED}: {', '.join(words) or 'no row'}"
            found.append(Check(f"status_words_{structure.short}", page.refusal is None, page.request, answer))
        return found

    async def _check_paging(self) -> list[Check]:
        structure = BY_SHORT_NAME["domain"]
        first = await self._first_page("domain")
        ids = [row.get(structure.id) for row in first.rows]
        last = ids[-1] if ids and isinstance(ids[-1], int) else 0
        second = await self._first_page("domain", last=last)
        more = [row.get(structure.id) for row in second.rows]
        together = [*ids, *more]
        is_ordered = all(isinstance(item, int) for item in together) and together == sorted(set(together))
        total = read_total(first.value)
        counted = await self._ask("domain", count_parameters(self._question("domain")))
        after = read_total(counted.value)
        return [
            Check(
                "order_and_filter_by_id",
                is_ordered and first.refusal is None and second.refusal is None,
                second.request,
                second.refusal or f"{len(together)} ids, {'ascending' if is_ordered else 'not ascending'}",
            ),
            Check(
                "counts",
                total is not None and total == after,
                counted.request,
                counted.refusal or f"{total} with the page, {after} alone",
            ),
        ]

    async def _check_delta(self) -> list[Check]:
        found = []
        for short in ("peruser", "inventory"):
            page = await self._first_page(short)
            stamp = read_rowstamp((page.headers or {}).get("maxrowstamp"))
            newest = max((read_rowstamp(row.get("_rowstamp")) or 0 for row in page.rows), default=0)
            whose = "of all rows" if stamp is not None and stamp > newest else "perhaps of the page alone"
            answer = page.refusal or (
                "no header maxrowstamp" if stamp is None else f"{_ANSWERED}: maxrowstamp is {whose}"
            )
            found.append(Check(f"delta_{short}", stamp is not None, page.request, answer))
        return found

    async def _check_dates(self) -> list[Check]:
        moment = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="seconds")
        question = Question(BY_SHORT_NAME["assets"], self._site, Mode.INCREMENT, changed_since=moment)
        parameters = page_parameters(question, last=None, size=SMALLEST_PAGE, is_first=False)
        page = await self._ask("assets", parameters)
        form = (
            "taken with its offset" if page.refusal is None else f"not taken with its offset: {page.refusal}"
        )
        return [Check("form_of_dates", holds=True, request=page.request, answer=f"{_ANSWERED}: {form}")]

    async def _check_children(self) -> list[Check]:
        moment = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
        filtered = await self._first_page("inventory", booked_since=moment)
        lines = sum(len(as_list(row.get("matrectrans"))) for row in filtered.rows)
        items = [row for row in filtered.rows if row.get("item") or row.get("item.description")]
        domains = await self._first_page("domain")
        ranges = sum(bool(as_list(row.get("numrangedomain"))) for row in domains.rows)
        return [
            Check(
                "filter_of_transactions",
                filtered.refusal is None and lines == 0,
                filtered.request,
                filtered.refusal or f"{lines} transactions of tomorrow",
            ),
            Check(
                "item_description",
                filtered.refusal is None and (not filtered.rows or bool(items)),
                filtered.request,
                filtered.refusal or f"{len(items)} of {len(filtered.rows)} rows have it",
            ),
            Check(
                "numrangedomain",
                domains.refusal is None,
                domains.request,
                domains.refusal or f"{_ANSWERED}: {ranges} of {len(domains.rows)} domains have it",
            ),
        ]
