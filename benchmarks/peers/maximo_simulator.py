"""A simulated Maximo that holds as many assets as are asked for, in a process of its own."""

from __future__ import annotations

import sys

from innomaint_pipeline.cli.maximo.simulate import KEY
from innomaint_pipeline.simulator.maximo.app import CONTEXT, MaximoApp
from innomaint_pipeline.simulator.maximo.world import World
from innomaint_pipeline.simulator.server import serve


def main() -> None:
    """Serve until the process is ended."""
    app = MaximoApp(World(persons=1, domains=6, assets=int(sys.argv[1])), key=KEY)

    def announce(origin: str) -> None:
        print(f"{origin}{CONTEXT}", flush=True)

    serve(app, port=0, on_ready=announce)


if __name__ == "__main__":
    main()
