"""What is asked of a source, how often, and what comes of it (docs/how-it-works.md).

Belongs here: the data alone, without a library that speaks HTTP, so that who plans and records requests need
not load one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innomaint_pipeline.domain.states import ErrorClass


@dataclass(frozen=True)
class RequestPolicy:
    """How often, how long and for how much to ask: the settings of the same names.

    `answer_limit_bytes` bounds a body, decompressed.
    """

    max_in_flight: int = 8
    max_attempts: int = 3
    retry_base_seconds: float = 1.0
    timeout_seconds: float = 15.0
    answer_limit_bytes: int = 5 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """One item to ask for: its name, for messages and the breaker, and how it is asked for.

    `headers` come on top of the session's.
    """

    item: str
    url: str
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RequestFailure:
    """Why all attempts of one item failed; `attempts` counts requests, refusals with 429 included.

    `also_transient` are items whose contract error, told before, has turned out to be the source's trouble.
    """

    error_class: ErrorClass
    message: str
    http_status: int | None
    attempts: int
    duration_ms: int
    also_transient: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequestSuccess:
    """What `judge` made of the answer."""

    value: Any
    attempts: int
    duration_ms: int
