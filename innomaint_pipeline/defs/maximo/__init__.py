"""Maximo in Dagster: assets, partitions, jobs, sensor, checks."""
