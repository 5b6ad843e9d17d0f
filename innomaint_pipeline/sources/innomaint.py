"""The Innomaint API: one endpoint, one request for each CMMS asset."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Self

import httpx
from pydantic import SecretStr

from innomaint_pipeline.domain.innomaint.answers import check_answer
from innomaint_pipeline.domain.pacing import Pacing
from innomaint_pipeline.redaction import redactor_of
from innomaint_pipeline.sources.http import HttpSession
from innomaint_pipeline.sources.outcomes import Request, RequestFailure, RequestPolicy, RequestSuccess
from innomaint_pipeline.sources.route import DIRECT, Route

DETAIL_PATH = "/assetmanagement/getAssetIDDetailByAssetID"

OnDetail = Callable[[str, RequestSuccess | RequestFailure], Awaitable[None]]


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
        self._read = partial(check_answer, redact=redactor_of(token.get_secret_value()))
        self._session = HttpSession(
            token=token,
            pacing=pacing,
            policy=policy or RequestPolicy(),
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
        self, cmms_asset_ids: Iterable[str], on_detail: OnDetail, *, is_bulk: bool = True
    ) -> None:
        """Ask for each CMMS asset's detail, spaces and all; results arrive in any order.

        A `RequestSuccess` holds a `CheckedAnswer`. `is_bulk` marks the first pass of a batch, which is
        subject to turns. Raises `AuthError`, `BreakerOpenError` and what the pacing raises.
        """
        await self._session.post_each(
            self._url,
            (Request(identifier, {"serialnumber": identifier}) for identifier in cmms_asset_ids),
            read=self._read,
            on_result=on_detail,
            is_bulk=is_bulk,
        )
