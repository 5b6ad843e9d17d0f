"""What every answer of the service is: a model whose fields have their types and examples.

From them the OpenAPI document is made, and `innomaint status --json` is the same object. Belongs here: what
all sources share; the answers about one source stand in its folder.
"""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


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
