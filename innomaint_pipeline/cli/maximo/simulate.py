"""`innomaint maximo simulate`: the simulated Maximo alone."""

from __future__ import annotations

from innomaint_pipeline.cli.output import say
from innomaint_pipeline.simulator.limit import build_exponential_latency
from innomaint_pipeline.simulator.maximo.app import CONTEXT, MaximoApp
from innomaint_pipeline.simulator.maximo.world import World
from innomaint_pipeline.simulator.server import serve

# A secret is removed from every text: no word that texts may hold.
KEY = "key-of-the-simulation"


def run_simulator(*, port: int, seed: int, faults: float, latency: float) -> None:
    """Serve the simulated Maximo until Ctrl-C."""
    app = MaximoApp(World(seed), key=KEY, latency=build_exponential_latency(latency) if latency else None)
    if faults:
        app.faults.by_chance(faults, seed=seed)

    def announce(origin: str) -> None:
        say(f"Simulated Maximo. MAXIMO_BASE_URL={origin}{CONTEXT} MAXIMO_API_KEY={KEY}")

    serve(app, port=port, on_ready=announce)
