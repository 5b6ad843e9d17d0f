"""The simulated Innomaint on a real socket, with its world, faults, record and limit at hand."""

from innomaint_pipeline.simulator.innomaint.app import BASE_PATH, build_app
from innomaint_pipeline.simulator.innomaint.control import CONTROL_PATH
from innomaint_pipeline.simulator.innomaint.faults import FaultScript
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import Latency, VendorLimit
from innomaint_pipeline.simulator.record import RequestRecord
from innomaint_pipeline.simulator.server import SimulatorServer


class InnomaintSimulator(SimulatorServer):
    """The simulated Innomaint as a context manager; `url` is the base for INNOMAINT_API_URL."""

    def __init__(
        self,
        world: World | None = None,
        *,
        faults: FaultScript | None = None,
        record: RequestRecord | None = None,
        token: str | None = None,
        latency: Latency | None = None,
        limit_per_second: int | None = None,
        retry_after: float | str | None = None,
        retry_after_as_date: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.app = build_app(
            World() if world is None else world,
            faults,
            record,
            token=token,
            latency=latency,
            limit_per_second=limit_per_second,
            retry_after=retry_after,
            retry_after_as_date=retry_after_as_date,
        )
        super().__init__(self.app, host=host, port=port)

    @property
    def world(self) -> World:
        """The world that is served."""
        return self.app.parts.world

    @property
    def faults(self) -> FaultScript:
        """The script of faults, to be changed at any time."""
        return self.app.parts.faults

    @property
    def record(self) -> RequestRecord:
        """The record of requests."""
        return self.app.parts.record

    @property
    def limit(self) -> VendorLimit:
        """The vendor's rate limit; assign another one to change it."""
        return self.app.parts.limit

    @limit.setter
    def limit(self, limit: VendorLimit) -> None:
        self.app.parts.limit = limit

    @property
    def url(self) -> str:
        """The base for INNOMAINT_API_URL."""
        return f"{self.origin}{BASE_PATH}"

    @property
    def control_url(self) -> str:
        """The base of the control endpoints, ending in a slash."""
        return f"{self.origin}{CONTROL_PATH}"
