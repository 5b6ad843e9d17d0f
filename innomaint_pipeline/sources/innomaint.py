"""The Innomaint API: one endpoint, one request for each CMMS asset."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Self

import httpx
from pydantic import SecretStr

from innomaint_pipeline.domain.documents import dump_json
from innomaint_pipeline.domain.http_answers import HttpAnswer
from innomaint_pipeline.domain.innomaint.answers import CheckedAnswer, judge_answer
from innomaint_pipeline.domain.pacing import Pacing
from innomaint_pipeline.redaction import redactor_of
from innomaint_pipeline.sources.http import HttpSession, OnResult, RouteAdvice, secret_header
from innomaint_pipeline.sources.outcomes import Request, RequestPolicy
from innomaint_pipeline.sources.route import DIRECT, Route

DETAIL_PATH = "/assetmanagement/getAssetIDDetailByAssetID"

_ADVICE = RouteAdvice(
    certificate="where a company's own authority has signed it, INNOMAINT_CA_FILE takes that authority's "
    "certificate as a file in PEM form. No asset was marked as failed",
    proxy="look at INNOMAINT_PROXY_URL (where it is not set: HTTPS_PROXY and NO_PROXY), its address, user "
    "and password, then start again. No asset was marked as failed",
)


class InnomaintClient:
    """Asks Innomaint for the details of CMMS assets, at the pace that `pacing` allows.

    Usable without Dagster and without a database: `pacing` is any `domain.pacing.Pacing`. One client serves
    one run; use it as an async context manager. The token is held as a secret and appears in no message.
    """

    def __init__(
        self,
        api_url: str,
        token: SecretStr,
        pacing: Pacing,
        policy: RequestPolicy | None = None,
        *,
        route: Route = DIRECT,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = api_url.rstrip("/") + DETAIL_PATH
        self._redact = redactor_of(token.get_secret_value())
        self._session = HttpSession(
            headers={
                "Authorization": secret_header(token, scheme="Bearer"),
                "Content-Type": "application/json",
                # Frameworks answer the page of a browser's login to callers that do not say so.
                "Accept": "application/json",
            },
            pacing=pacing,
            policy=policy or RequestPolicy(),
            advice=_ADVICE,
            route=route,
            transport=transport,
            sleep=sleep,
        )

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._session.__aexit__(*details)

    async def fetch_details(
        self, cmms_asset_ids: Iterable[str], on_detail: OnResult, *, is_bulk: bool = True
    ) -> None:
        """Ask for each CMMS asset's detail, spaces and all; results arrive in any order.

        A `RequestSuccess` holds a `CheckedAnswer`. `is_bulk` marks the first pass of a batch, which is
        subject to turns. Raises `AuthError`, `RouteError`, `BreakerOpenError` and what the pacing raises.
        """
        await self._session.ask_each(
            (self._request(identifier) for identifier in cmms_asset_ids),
            judge=self._judge,
            on_result=on_detail,
            is_bulk=is_bulk,
        )

    def _request(self, cmms_asset_id: str) -> Request:
        body = dump_json({"serialnumber": cmms_asset_id}).encode()
        return Request(cmms_asset_id, self._url, "POST", body)

    def _judge(self, answer: HttpAnswer, cmms_asset_id: str) -> CheckedAnswer:
        return judge_answer(answer, cmms_asset_id, now=datetime.now(UTC), redact=self._redact)
