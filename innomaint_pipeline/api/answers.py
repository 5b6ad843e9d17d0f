"""How answers look: JSON with exact numbers and times in ISO 8601, errors as `{"error": …}`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import simplejson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from innomaint_pipeline.api.models import Answer, ErrorAnswer
from innomaint_pipeline.errors import InnomaintPipelineError

_ERRORS = {
    400: "a parameter, the body or the host name is not usable",
    401: "the token or the session is missing or wrong",
    404: "unknown",
    413: "the body is too large",
    429: "too many wrong tokens",
    502: "Innomaint refused or failed, or the work could not be done",
    503: "the database cannot be reached or used, or Innomaint is down for the moment",
}


def describe(
    answer: type[Answer] | None, *errors: int, status: int = 200, words: str = "done"
) -> dict[int | str, dict[str, Any]]:
    """Return an address' answers: the good one, unless it is None, and its errors beside the usual."""
    answers: dict[int | str, dict[str, Any]] = {}
    if answer is not None:
        answers[status] = _describe(answer, words)
    for code in sorted({400, 401, 413, 429, 503, *errors}):
        answers[code] = _describe(ErrorAnswer, _ERRORS[code])
    return answers


def _describe(answer: type[Answer], words: str) -> dict[str, Any]:
    content = {"application/json": {"example": answer.example()}}
    return {"model": answer, "description": words, "content": content}


def _plain(value: object) -> Any:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, Answer):
        return value.model_dump()
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
        return _error(self.status, str(self), self.headers)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> AdminJson:
    # No model: a message may hold what no text can, like half of a surrogate pair that a client sent.
    return AdminJson({"error": message}, status, headers=headers)


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
        return _error(503, str(error), {"Retry-After": "10"})

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> AdminJson:
        message = _WORDS.get(error.status_code, str(error.detail))
        return _error(error.status_code, message, dict(error.headers or {}))

    @app.exception_handler(Exception)
    def _fault(_: Request, __: Exception) -> AdminJson:
        return fault().to_response()

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> AdminJson:
        return _error(400, "; ".join(_complaint(item) for item in error.errors()))


def _complaint(item: Any) -> str:
    """Return what is wrong with a parameter; never what was given, which may be a token."""
    place = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
    if item["type"] == "json_invalid":
        return 'the body is no JSON; send an object like {"intervalMinutes": 60} as application/json'
    return f"{place}: {item['msg'][:1].lower()}{item['msg'][1:]}; see /openapi.json"
