"""What is asked of a source, how often, and what comes of it (docs/how-it-works.md).

Belongs here: the data alone, without a library that speaks HTTP, so that who plans and records requests need
not load one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from innomaint_pipeline.domain.states import ErrorClass


@dataclass(frozen=True)
class RequestPolicy:
    """How often and how long to ask: the settings of the same names."""

    max_in_flight: int = 8
    max_attempts: int = 3
    retry_base_seconds: float = 1.0
    timeout_seconds: float = 15.0


@dataclass(frozen=True)
class Request:
    """One item to ask for: its name, for messages and the breaker, and the JSON body that asks for it."""

    item: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class RequestFailure:
    """Why all attempts of one item failed; `attempts` counts requests, refusals with 429 included."""

    error_class: ErrorClass
    message: str
    http_status: int | None
    attempts: int
    duration_ms: int


@dataclass(frozen=True)
class RequestSuccess:
    """What `read` made of the answer."""

    value: Any
    attempts: int
    duration_ms: int
