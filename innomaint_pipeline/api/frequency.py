"""How often each source is looked at: one address for all; each hands in how its interval is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from innomaint_pipeline.api.answers import AdminError, AdminJson, describe
from innomaint_pipeline.api.models import Answer, MaybeMoment, example_field
from innomaint_pipeline.api.parts import Parts, PartsOf, refuse_unknown_parameters
from innomaint_pipeline.store.database import Connection

ChangeInterval = Callable[[Connection, Parts, int], datetime | None]
"""Stores a source's interval in minutes; returns when its next look is due then, None where not known."""


class Frequency(BaseModel):
    """The interval of a source."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"intervalMinutes": 60}})

    intervalMinutes: Annotated[StrictInt, Field(ge=5, le=1440)]  # noqa: N815 # the name in the JSON
    source: str | None = None


class FrequencyAnswer(Answer):
    """The interval in force."""

    success: Annotated[bool, example_field(True)]  # noqa: FBT003
    source: Annotated[str, example_field("innomaint")]
    intervalMinutes: Annotated[int, example_field(60)]  # noqa: N815
    nextDueAt: MaybeMoment  # noqa: N815
    message: Annotated[str, example_field("every 60 minutes, from now on")]


def build_frequency_router(sources: Mapping[str, ChangeInterval]) -> APIRouter:
    """Return the address; the first source is the one that is meant where none is named."""
    router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)], default_response_class=AdminJson)

    @router.post("/api/admin/sync/frequency", responses=describe(FrequencyAnswer))
    def change_frequency(parts: PartsOf, frequency: Annotated[Frequency, Body()]) -> Any:
        """Change the interval of a source at once and for good; nothing is asked for because of it."""
        source = next(iter(sources)) if frequency.source is None else frequency.source
        if source not in sources:
            raise AdminError(400, f"source: there is no such source; there are {', '.join(sources)}")
        minutes = frequency.intervalMinutes
        with parts.connect() as connection:
            due_at = sources[source](connection, parts, minutes)
        message = f"every {minutes} minutes, from now on"
        return AdminJson(
            FrequencyAnswer(
                success=True, source=source, intervalMinutes=minutes, nextDueAt=due_at, message=message
            )
        )

    return router
