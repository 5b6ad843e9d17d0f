"""The replaced program's three addresses: how Maximo's sync stands, asking for a read, how far that is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from innomaint_pipeline.api.answers import AdminError, AdminJson, describe
from innomaint_pipeline.api.maximo.models import MaximoStatusAnswer, TaskAnswer, TaskStartedAnswer
from innomaint_pipeline.api.parts import Parts, PartsOf, refuse_unknown_parameters
from innomaint_pipeline.domain.maximo.declarations import BY_SHORT_NAME, EVERY
from innomaint_pipeline.setting_types import check_site
from innomaint_pipeline.store.database import Connection
from innomaint_pipeline.store.maximo.conditions import change_interval
from innomaint_pipeline.store.maximo.overview import load_overview
from innomaint_pipeline.store.maximo.requests import load_task, submit_read
from innomaint_pipeline.store.maximo.schema import require_schema
from innomaint_pipeline.store.maximo.states import find_places, load_own_site

router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)

_LARGEST_ID = 2**63 - 1


class ReadWish(BaseModel):
    """How to read: all of it from the start, and one site instead of all that are known."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"force_full": False}})

    force_full: StrictBool = False
    site: Annotated[StrictStr | None, Field(max_length=8)] = None


@router.get("/api/sync-status", responses=describe(MaximoStatusAnswer))
def get_sync_status(parts: PartsOf) -> AdminJson:
    """Return how Maximo's sync stands: the JSON of `innomaint maximo status`."""
    with parts.read() as connection:
        require_schema(connection)
        found = load_overview(connection, is_set=parts.settings.maximo_base_url is not None)
    sites = sorted({*found["sites"], *parts.sites})
    return AdminJson(MaximoStatusAnswer.model_validate({"success": True, **found, "sites": sites}))


@router.post(
    "/api/sync/{endpoint}",
    status_code=202,
    responses=describe(TaskStartedAnswer, 404, status=202, words="stored; Dagster carries it out"),
)
def start_read(
    request: Request,
    parts: PartsOf,
    endpoint: Annotated[str, Path(examples=["assets"], max_length=20)],
    wish: Annotated[ReadWish | None, Body()] = None,
) -> AdminJson:
    """Read one structure of Maximo, or `all`; one in flight is answered with its id."""
    if endpoint not in {*BY_SHORT_NAME, EVERY}:
        raise AdminError(404, f"there is no such structure; there are {', '.join(BY_SHORT_NAME)} and {EVERY}")
    wish = wish or ReadWish()
    site = wish.site
    if site is not None:
        try:
            check_site(site)
        except ValueError as error:
            raise AdminError(400, f"site: {error}") from None
    with parts.connect() as connection:
        require_schema(connection)
        sites = (site,) if site is not None else (parts.sites or _find_sites(connection))
        if not sites and (endpoint == EVERY or BY_SHORT_NAME[endpoint].has_site):
            raise AdminError(400, "no site is known: give site, or set MAXIMO_SITES")
        task_id, is_new = submit_read(
            connection, endpoint, sites, is_forced=wish.force_full, asked_by=request.state.asked_by
        )
    words = "stored" if is_new else "one in flight covers it"
    message = f"{words}; /api/sync-task-status/{task_id} tells how far it is"
    return AdminJson(TaskStartedAnswer(success=True, task_id=str(task_id), message=message), 202)


def _find_sites(connection: Connection) -> tuple[str, ...]:
    """Return the site of the key's own user, as far as it was asked for, else those that were ever read."""
    own = load_own_site(connection)
    if own is not None:
        return (own[0],)
    return tuple(dict.fromkeys(place.site for place in find_places(connection) if place.site))


def change_read_interval(connection: Connection, _: Parts, minutes: int) -> datetime | None:
    """Store the interval between two increments; return when the next read is due."""
    require_schema(connection)
    return change_interval(connection, minutes)


@router.get("/api/sync-task-status/{task_id}", responses=describe(TaskAnswer, 404))
def get_task(parts: PartsOf, task_id: Annotated[str, Path(examples=["7"], max_length=40)]) -> AdminJson:
    """Return how far a read is that was asked for."""
    found = None
    if task_id.isascii() and task_id.isdecimal() and int(task_id) <= _LARGEST_ID:
        with parts.read() as connection:
            found = load_task(connection, int(task_id))
    if found is None:
        raise AdminError(404, "there is no such task; tasks are kept for 90 days")
    return AdminJson(TaskAnswer.model_validate(found))
