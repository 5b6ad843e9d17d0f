"""The file of further header names (`CUSTOMERS_HEADERS`): another language of the ERP."""

from __future__ import annotations

import tomllib
from pathlib import Path

from innomaint_pipeline.domain.customers.headers import HeaderNames, build_header_names
from innomaint_pipeline.errors import ConfigurationError


def read_headers(path: Path | None) -> HeaderNames:
    """Read a TOML file of `column = "header"` or a list of headers, beside the built-in ones.

    `count` and `sum` are the labels of the totals. None gives the built-in names alone. Raises
    `ConfigurationError`, with the file and the cause.
    """
    if path is None:
        return build_header_names({})
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"CUSTOMERS_HEADERS: {path} cannot be read as TOML ({error})") from None
    further: dict[str, list[str]] = {}
    for name, value in content.items():
        headers = [value] if isinstance(value, str) else value
        if not isinstance(headers, list) or not all(isinstance(it, str) for it in headers):
            raise ConfigurationError(
                f"CUSTOMERS_HEADERS: {path}: {name}: found {type(value).__name__}, expected a header or "
                "a list of them"
            )
        further[name] = headers
    try:
        return build_header_names(further)
    except ValueError as error:
        raise ConfigurationError(f"CUSTOMERS_HEADERS: {path}: {error}") from None
