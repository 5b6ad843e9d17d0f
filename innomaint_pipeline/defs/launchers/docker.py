"""Runs as Docker containers: the launcher that dagster.yaml names."""

from dagster_docker.docker_run_launcher import DockerRunLauncher

from innomaint_pipeline.defs.recovery import LaunchElsewhere


class LeasedDockerRunLauncher(LaunchElsewhere, DockerRunLauncher):  # pyright: ignore[reportIncompatibleMethodOverride] # runs are not resumed
    """Dagster's Docker launcher, which tells by leases who lives and terminates through the database."""
