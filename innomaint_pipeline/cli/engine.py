"""What executes the runs of an installation, as its dagster.yaml says: this machine, or workers elsewhere."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import yaml

from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import Settings

CELERY = "celery"
_OURS = "innomaint_pipeline.defs.launchers."
# What each extra brings beside Dagster.
_EXTRAS = {
    CELERY: ("dagster_celery", "redis"),
    "docker": ("dagster_docker",),
    "kubernetes": ("dagster_k8s",),
}
_ON_THIS_MACHINE = {"LeasedRunLauncher", "DefaultRunLauncher"}


def find_engine(folder: Path) -> str | None:
    """Return which engine the dagster.yaml of a folder names, None for Dagster's own on this machine."""
    written = yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8")) or {}
    launcher = written.get("run_launcher") or {}
    if launcher.get("class", "DefaultRunLauncher") in _ON_THIS_MACHINE:
        return None
    return str(launcher.get("module", "")).removeprefix(_OURS)


def require_engine(engine: str | None, settings: Settings) -> None:
    """Raise `ConfigurationError` where something is missing that the engine needs."""
    if engine is None:
        return
    missing = [name for name in _EXTRAS.get(engine, ()) if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"dagster.yaml lets {engine} execute the runs, and not installed is {', '.join(missing)}: "
            f"python -m pip install --require-hashes --no-deps -r requirements-{engine}.txt"
        )
    if settings.ic3_database_url is None:
        raise ConfigurationError(
            f"dagster.yaml lets {engine} execute the runs, on any machine, and an embedded database is for "
            "one machine: set IC3_DATABASE_URL to a postgresql:// address that all of them reach"
        )
    if engine == CELERY:
        require_broker(settings)


def require_broker(settings: Settings) -> None:
    """Raise `ConfigurationError` where the broker is not set."""
    if settings.innomaint_broker_url is None:
        raise ConfigurationError(
            "INNOMAINT_BROKER_URL is not set: dagster.yaml lets workers execute the runs, and they need the "
            "address of the Redis that they share, like redis://:password@host:6379/0"
        )
