"""The application: routes, the page's files and session, liveness, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Body, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import Response

import innomaint_pipeline
from innomaint_pipeline.api.access import SESSION_COOKIE, SESSION_SECONDS, Access
from innomaint_pipeline.api.answers import AdminError, AdminJson, describe, install_error_answers
from innomaint_pipeline.api.customers import routes as customers_routes
from innomaint_pipeline.api.customers.gauges import collect_customers
from innomaint_pipeline.api.frequency import build_frequency_router
from innomaint_pipeline.api.guard import Guard, Network, check_token
from innomaint_pipeline.api.innomaint import acting, reading
from innomaint_pipeline.api.innomaint.gauges import collect_innomaint
from innomaint_pipeline.api.maximo import routes as maximo_routes
from innomaint_pipeline.api.maximo.gauges import collect_maximo
from innomaint_pipeline.api.metrics import Metrics
from innomaint_pipeline.api.models import WellAnswer
from innomaint_pipeline.api.parts import Parts, PartsOf, refuse_unknown_parameters
from innomaint_pipeline.errors import DatabaseError
from innomaint_pipeline.store.upgrade import find_missing

# Requests that read at the same time; the others wait for a thread, not for the database.
_THREADS = 8
# CMMS assets that are synced at the same time while their callers wait.
_SYNCS_AT_ONCE = 4
_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
_NAME = b"Innomaint sync"
_PAGE_HEADERS = {"Cache-Control": "no-cache"}
_DESCRIPTION = """What the sync is doing, and asking it to do something.

Everything but `/healthz`, `/readyz` and the page's own files needs
`Authorization: Bearer <INNOMAINT_ADMIN_TOKEN>`, or the page's session.
Errors are `{"error": "<what and what to do>"}`. Unknown query parameters are refused.
Work that is asked for is stored, carried out as Dagster runs, and reports under its own address."""


def build_app(parts: Parts, token: SecretStr, *, host: str, trusted_proxies: Sequence[Network] = ()) -> Guard:
    """Return the service as an ASGI application; `host` is a name of it beside those of loopback."""
    account = parts.settings.innomaint_account
    access, metrics = Access(token, account=account), Metrics()
    for collect in (collect_innomaint, collect_maximo, collect_customers):
        metrics.watch(partial(collect, parts))
    app = FastAPI(
        title="innomaint admin service",
        version=_version(),
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.parts = parts
    install_error_answers(app)
    app.include_router(_page_routes(access, account))
    app.include_router(_service_routes(app, metrics))
    app.include_router(reading.router)
    app.include_router(acting.router)
    app.include_router(maximo_routes.router)
    app.include_router(customers_routes.router)
    app.include_router(
        build_frequency_router(
            {
                "innomaint": acting.change_refresh_interval,
                "maximo": maximo_routes.change_read_interval,
                "customers": customers_routes.change_list_interval,
            }
        )
    )
    return Guard(app, access, host=host, trusted_proxies=trusted_proxies, count=metrics.count)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.sync_limit = anyio.CapacityLimiter(_SYNCS_AT_ONCE)
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 # costs nothing where no service is built

    return version(innomaint_pipeline.__name__.replace("_", "-"))


class SignIn(BaseModel):
    """What the page sends to sign in."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(max_length=1000)]


def _page_routes(access: Access, account: str | None) -> APIRouter:
    router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)
    # Only what lay in the folder at start is served: no path of a client ever meets the file system.
    files = (
        {path.name: path for path in _STATIC.iterdir() if path.suffix in _TYPES} if _STATIC.is_dir() else {}
    )

    def serve(name: str) -> Response:
        path = files.get(name)
        if path is None:
            raise AdminError(404, "the page has no such file; it starts at /sync")
        content = path.read_bytes()
        if account is not None and path.suffix == ".html":
            # Whoever has two of them open sees which is whose.
            content = content.replace(_NAME, _NAME + f" of {account}".encode())
        return Response(content, media_type=_TYPES[path.suffix], headers=_PAGE_HEADERS)

    @router.get("/sync", include_in_schema=False)
    def get_page() -> Response:
        """Return the page."""
        return serve("index.html")

    @router.get("/sync/static/{name}", include_in_schema=False)
    def get_file(name: str) -> Response:
        """Return a file of the page."""
        return serve(name)

    @router.post("/sync/session", status_code=204, responses=_without_content(), response_class=Response)
    def sign_in(request: Request, body: Annotated[SignIn, Body()]) -> Response:
        """Sign in with the admin token; the answer sets the session's cookie."""
        check_token(access, body.token, request.state.client)
        answer = Response(status_code=204)
        answer.set_cookie(
            access.cookie, access.open_session(), SESSION_SECONDS, path="/", httponly=True, samesite="strict"
        )
        return answer

    @router.delete("/sync/session", status_code=204, responses=_without_content(), response_class=Response)
    def sign_out(request: Request) -> Response:
        """Sign out: the session ends, and its cookie goes."""
        access.end_session(request.cookies.get(access.cookie, ""))
        answer = Response(status_code=204)
        answer.delete_cookie(access.cookie, path="/", httponly=True, samesite="strict")
        return answer

    return router


def _without_content() -> dict[int | str, Any]:
    return {204: {"description": "done"}, **describe(None)}


def _service_routes(app: FastAPI, metrics: Metrics) -> APIRouter:
    router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)

    @router.get("/healthz", responses=describe(WellAnswer))
    async def get_health() -> AdminJson:
        """Tell that the service answers."""
        return AdminJson(WellAnswer(status="ok"))

    @router.get("/readyz", responses=describe(WellAnswer))
    def get_readiness(parts: PartsOf) -> AdminJson:
        """Tell whether the database can be reached and has its tables."""
        with parts.connect() as connection:
            missing = find_missing(connection)
        if missing:
            raise DatabaseError(f"the database lacks {missing}; run: innomaint db upgrade")
        return AdminJson(WellAnswer(status="ok"))

    @router.get("/metrics", response_class=Response, responses=_as_text())
    def get_prometheus() -> Response:
        """Return numbers in the text format of Prometheus."""
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/openapi.json", include_in_schema=False)
    def get_document() -> AdminJson:
        """Return this service's description."""
        return AdminJson(describe_service(app))

    return router


def _as_text() -> dict[int | str, Any]:
    content = {"text/plain": {"example": "innomaint_assets 2957.0\n"}}
    return {200: {"description": "done", "content": content}, **describe(None)}


def describe_service(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document with the security that stands before the routes."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for path, methods in document["paths"].items():
        for operation in methods.values():
            # What FastAPI calls 422 is a 400 here.
            operation["responses"].pop("422", None)
            if path in {"/healthz", "/readyz"}:
                operation["security"] = []
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
    }
    document["security"] = [{"token": []}, {"session": []}]
    return document
