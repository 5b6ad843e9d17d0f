"""`innomaint simulate`: the simulated Innomaint alone."""

from __future__ import annotations

from pathlib import Path

from innomaint_pipeline.cli.output import say
from innomaint_pipeline.simulator.innomaint.app import BASE_PATH, build_app
from innomaint_pipeline.simulator.innomaint.demo import demo_faults
from innomaint_pipeline.simulator.innomaint.faults import FaultScript
from innomaint_pipeline.simulator.innomaint.workbook import write_sample_workbook
from innomaint_pipeline.simulator.innomaint.world import World
from innomaint_pipeline.simulator.limit import build_exponential_latency
from innomaint_pipeline.simulator.server import serve


def run_simulator(
    *,
    host: str,
    port: int,
    assets: int,
    seed: int,
    latency: float,
    faults: float,
    has_demo_faults: bool,
    limit: int | None,
    workbook: Path | None,
) -> None:
    """Serve the simulated Innomaint until Ctrl-C."""
    world = World(assets, seed)
    script = demo_faults(world).script if has_demo_faults else FaultScript()
    if faults:
        script.by_chance(faults, seed=seed)
    if workbook is not None:
        write_sample_workbook(world, workbook)
        say(f"The matching workbook: {workbook}")
    app = build_app(
        world,
        script,
        latency=build_exponential_latency(latency) if latency else None,
        limit_per_second=limit,
    )

    def announce(origin: str) -> None:
        say(
            f"Simulated Innomaint with {assets} assets; any token is accepted. "
            f"INNOMAINT_API_URL={origin}{BASE_PATH}"
        )

    serve(app, host=host, port=port, on_ready=announce)
