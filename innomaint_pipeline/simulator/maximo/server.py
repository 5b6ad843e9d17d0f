"""The simulated Maximo on a real socket, with its world, faults and record at hand."""

from typing import Any

from innomaint_pipeline.simulator.maximo.app import CONTEXT, Asked, MaximoApp
from innomaint_pipeline.simulator.maximo.world import World
from innomaint_pipeline.simulator.server import SimulatorServer


class MaximoSimulator(SimulatorServer):
    """The simulated Maximo as a context manager; `url` is what MAXIMO_BASE_URL takes."""

    def __init__(
        self, world: World | None = None, *, key: str = "key-of-the-simulation", port: int = 0, **options: Any
    ) -> None:
        self.app = MaximoApp(World() if world is None else world, key=key, **options)
        super().__init__(self.app, port=port)

    @property
    def url(self) -> str:
        """The base for MAXIMO_BASE_URL."""
        return f"{self.origin}{CONTEXT}"

    def asked(self, structure: str) -> list[Asked]:
        """Return the requests for a structure, in order of arrival."""
        return [item for item in self.app.record if item.structure == structure]
