"""Where the output of steps goes: INNOMAINT_HOME/compute_logs.

`dagster.yaml` can take a whole value from the environment, but not add a folder to it.
"""

from pathlib import Path
from typing import Any, Self

from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData


class HomeComputeLogManager(LocalComputeLogManager):
    """Dagster's local compute log manager, in the folder compute_logs of `base_dir`."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Build the manager from dagster.yaml."""
        base_dir = str(Path(config_value["base_dir"]) / "compute_logs")
        return cls(inst_data=inst_data, **{**config_value, "base_dir": base_dir})
