"""The way to a source: which certificates are trusted, and through which proxy.

Belongs here: what is fixed before the first connection. Only what is passed in counts: no proxy, no
certificates and no credentials are taken from the environment.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx
from pydantic import SecretStr

from innomaint_pipeline.sources.connection import ConnectionTransport

_ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1)


@dataclass(frozen=True)
class Route:
    """How a source is reached.

    `ca_file`, a PEM file, is trusted instead of the public authorities: only one host is asked. `proxy_url`
    may hold a user and a password.
    """

    ca_file: Path | None = None
    proxy_url: SecretStr | None = None


DIRECT = Route()
"""Straight to the source, whose certificate a public authority has signed."""


def open_connection(route: Route) -> httpx.AsyncBaseTransport:
    """Return a transport that keeps one connection."""
    trusted = trusted_certificates(route.ca_file)
    if route.proxy_url is None:
        return ConnectionTransport(trusted)
    address = route.proxy_url.get_secret_value()
    proxy = httpx.Proxy(address, ssl_context=trusted if address.startswith("https:") else None)
    return httpx.AsyncHTTPTransport(verify=trusted, trust_env=False, limits=_ONE_CONNECTION, proxy=proxy)


def trusted_certificates(ca_file: Path | None) -> ssl.SSLContext:
    """Return what verifies a host's certificate; a file that changed is read again."""
    return _read_certificates(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0)


# Reading the certificates takes longer than twenty requests: once a process, not once a batch.
@lru_cache(maxsize=8)
def _read_certificates(ca_file: Path | None, _changed_at_ns: int) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    return ssl.create_default_context(cafile=ca_file)
