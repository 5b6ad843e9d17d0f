"""The customer list in Dagster: assets with blocking checks, job, sensors, checks."""
