"""Serving the application on a socket until the process is told to stop."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import uvicorn
from pydantic import SecretStr

from innomaint_pipeline.api.app import build_app
from innomaint_pipeline.api.guard import Network, access_log
from innomaint_pipeline.api.parts import Parts

# Callers that wait for a result are answered at once; the others get so long.
_GRACE_SECONDS = 3


class AdminServer(uvicorn.Server):
    """The admin service on one address; `run` serves until SIGTERM or Ctrl-C."""

    def __init__(
        self,
        parts: Parts,
        token: SecretStr,
        *,
        host: str,
        port: int,
        trusted_proxies: Sequence[Network] = (),
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        app = build_app(
            replace(parts, is_stopping=lambda: self.should_exit),
            token,
            host=host,
            trusted_proxies=trusted_proxies,
        )
        # Its own access log would hold the query, and the header of a proxy would name any client.
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            access_log=False,
            log_config=None,
            lifespan="on",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ws="none",
        )
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list | None = None) -> None:
        """Listen, then tell that the service is ready."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()


def log_accesses() -> None:
    """Write one line for each request to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    access_log.addHandler(handler)
    access_log.setLevel(logging.INFO)
    access_log.propagate = False
