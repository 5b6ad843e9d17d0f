"""How answers look: JSON with exact numbers and times in ISO 8601, errors as `{"error": …}`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import simplejson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from innomaint_pipeline.errors import InnomaintPipelineError


def _plain(value: object) -> str:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


class AdminJson(JSONResponse):
    """JSON whose decimals keep their digits."""

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return simplejson.dumps(
            content, use_decimal=True, ensure_ascii=False, default=_plain, separators=(",", ":")
        ).encode("utf-8", "backslashreplace")


class AdminError(Exception):
    """An answer other than success, with what is wrong and what to do."""

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}

    def to_response(self) -> AdminJson:
        """Return the answer."""
        return AdminJson({"error": str(self)}, self.status, headers=self.headers)


def fault() -> AdminError:
    """Return the answer to a fault of ours; the log tells the rest."""
    return AdminError(500, "this is a fault of the program; report it with the log of the admin service")


_WORDS = {
    404: "there is nothing at this address; the addresses stand in /openapi.json",
    405: "this address does not take this method; see /openapi.json",
}


def install_error_answers(app: FastAPI) -> None:
    """Turn whatever a request can raise into JSON."""

    @app.exception_handler(AdminError)
    def _admin(_: Request, error: AdminError) -> AdminJson:
        return error.to_response()

    @app.exception_handler(InnomaintPipelineError)
    def _pipeline(_: Request, error: InnomaintPipelineError) -> AdminJson:
        return AdminJson({"error": str(error)}, 503, headers={"Retry-After": "10"})

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> AdminJson:
        message = _WORDS.get(error.status_code, str(error.detail))
        return AdminJson({"error": message}, error.status_code, headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    def _fault(_: Request, __: Exception) -> AdminJson:
        return fault().to_response()

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> AdminJson:
        return AdminJson({"error": "; ".join(_complaint(item) for item in error.errors())}, 400)


def _complaint(item: Any) -> str:
    """Return what is wrong with a parameter; never what was given, which may be a token."""
    place = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
    if item["type"] == "json_invalid":
        return 'the body is no JSON; send an object like {"intervalMinutes": 60} as application/json'
    return f"{place}: {item['msg'][:1].lower()}{item['msg'][1:]}; see /openapi.json"
