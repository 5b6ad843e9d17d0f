"""The endpoints under `/_simulator/`: watching and steering the simulator from another process.

Belongs here: JSON in, JSON out. They ask for no token, since the simulator listens on loopback alone.

| request | does |
|---|---|
| `GET health` | `{"status": "ok", "cmms_assets": …}` |
| `GET requests` | `{"summary": {…}, "requests": […]}`: what reached the simulator |
| `GET faults`, `POST faults`, `DELETE faults` | show, replace, end the script |
| `GET limit`, `POST limit` | show, replace the vendor's rate limit |
| `POST reset` | forget requests, faults and changes of the world; the limit stays |
"""

import json
from dataclasses import dataclass
from typing import Any

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.innomaint.faults import FaultScript
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import VendorLimit, read_limit
from innomaint_pipeline.simulator.record import RequestRecord

CONTROL_PATH = "/_simulator/"
_METHODS = {
    "health": ("GET",),
    "requests": ("GET",),
    "faults": ("GET", "POST", "DELETE"),
    "limit": ("GET", "POST"),
    "reset": ("POST",),
}


@dataclass(slots=True)
class ControlledParts:
    """What can be watched and steered; the application reads `limit` anew for every request."""

    world: World
    faults: FaultScript
    record: RequestRecord
    limit: VendorLimit


def control(parts: ControlledParts, method: str, name: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Serve one control request: its status and its JSON; `{"error": …}` for what cannot be done."""
    methods = _METHODS.get(name)
    if methods is None:
        return 404, {"error": f"The simulator has no control {name!r}: there are {', '.join(_METHODS)}."}
    if method not in methods:
        return 405, {"error": f"{CONTROL_PATH}{name} takes {', '.join(methods)}, not {method}."}
    try:
        return 200, _serve(parts, method, name, body)
    except ConfigurationError as error:
        return 400, {"error": str(error)}


def _serve(parts: ControlledParts, method: str, name: str, body: bytes) -> dict[str, Any]:
    if name == "health":
        return {"status": "ok", "cmms_assets": len(parts.world)}
    if name == "requests":
        return {
            "summary": parts.record.summarize(),
            "requests": [start.to_json() for start in parts.record.starts],
        }
    if name == "reset":
        parts.record.clear()
        parts.faults.clear()
        parts.world.restore()
        return {"status": "reset"}
    if name == "limit":
        if method == "POST":
            parts.limit = read_limit(_read_json(body))
        return parts.limit.to_json()
    if method == "POST":
        parts.faults.load(_read_json(body))
    elif method == "DELETE":
        parts.faults.clear()
    return parts.faults.to_json()


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise ConfigurationError(f"The body is not JSON: {error}.") from error
