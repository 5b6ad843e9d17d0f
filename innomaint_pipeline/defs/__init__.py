"""Dagster, thin: an asset calls `sync` and turns its report into metadata."""
