"""Provisional."""

from innomaint_pipeline.domain.customers.headers import build_header_names


def read_headers(path):  # type: ignore[no-untyped-def]
    """Provisional."""
    return build_header_names({})
