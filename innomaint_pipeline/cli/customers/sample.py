"""`innomaint customers sample`: a list of invented customers."""

from __future__ import annotations

from pathlib import Path

from innomaint_pipeline.cli.output import say
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.simulator.customers.drawing import draw_list


def write_sample(path: Path, *, rows: int, seed: int, cycle: int | None, fault: str | None) -> None:
    """Write the list under another name first: whoever watches the folder never sees half of it."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draw_list(draft, rows, seed, cycle=cycle, fault=fault)
        draft.replace(path)
    except ValueError as error:
        raise ConfigurationError(f"such a list cannot be printed: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    say(f"{path}: {rows} invented customers{f', with the fault {fault}' if fault else ''}.")
