"""Runs as Kubernetes jobs: the launcher that dagster.yaml and the chart's values name."""

from dagster_k8s.launcher import K8sRunLauncher

from innomaint_pipeline.defs.recovery import LaunchElsewhere


class LeasedK8sRunLauncher(LaunchElsewhere, K8sRunLauncher):  # pyright: ignore[reportIncompatibleMethodOverride] # runs are not resumed
    """Dagster's Kubernetes launcher, which tells by leases who lives and terminates through the database."""
