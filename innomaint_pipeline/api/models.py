"""What every answer of the service is: a model whose fields have their types and examples.

From them the OpenAPI document is made, and `innomaint status --json` is the same object. Belongs here: what
all sources share; the answers about one source stand in its folder.
"""

from __future__ import annotations

from datetime import datetime
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic.fields import FieldInfo

DAGSTER_URL = "dagster_url"
"""The name under which the validation's context holds the address of Dagster's UI, None where it has none."""

_RUN = "5b1d7c1e-0b0e-4c55-9c1b-0a2f6d2f9a11"
_AT = "2026-06-20T10:00:00+00:00"
_UI = "http://127.0.0.1:3000"


def _dagster_url(_: None, info: ValidationInfo) -> str | None:
    return (info.context or {}).get(DAGSTER_URL)


def _run_url(run_id: str | None, info: ValidationInfo) -> str | None:
    url = _dagster_url(None, info)
    return f"{url.rstrip('/')}/runs/{run_id}" if url and run_id else None


def example_field(*values: Any, **options: Any) -> Any:
    """Return a pydantic field with examples."""
    return Field(examples=list(values), **options)


Moment = Annotated[datetime, example_field(_AT)]
MaybeMoment = Annotated[datetime | None, example_field(_AT)]
RunId = Annotated[str, example_field(_RUN)]
MaybeRunId = Annotated[str | None, example_field(_RUN)]
RunUrl = Annotated[
    str | None,
    example_field(f"{_UI}/runs/{_RUN}", validation_alias="run_id", description="the run in Dagster's UI"),
    AfterValidator(_run_url),
]
DagsterUrl = Annotated[str | None, example_field(_UI, validate_default=True), AfterValidator(_dagster_url)]
Flag = Annotated[bool, Field(examples=[False])]


class Answer(BaseModel):
    """An answer, read from what `store` returns: fields are taken by name, what is not named is not told."""

    model_config = ConfigDict(
        from_attributes=True, frozen=True, json_schema_serialization_defaults_required=True
    )

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Return the example that the fields' examples make up."""
        return {name: _example_of(field) for name, field in cls.model_fields.items()}


def _example_of(field: FieldInfo) -> Any:
    if field.examples:
        return field.examples[0]
    return _example_of_type(field.annotation)


def _example_of_type(kind: Any) -> Any:
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return _example_of_type(get_args(kind)[0])
    if origin in {tuple, list}:
        return [_example_of_type(get_args(kind)[0])]
    return kind.example()


class ErrorAnswer(Answer):
    """What went wrong."""

    error: Annotated[str, Field(examples=["there is no such batch; they are listed at /api/sync/batches"])]


class WellAnswer(Answer):
    """The service is well."""

    status: Annotated[str, Field(examples=["ok"])]
