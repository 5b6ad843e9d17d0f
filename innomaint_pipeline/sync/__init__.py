"""One run, without Dagster: takes a source and a store, returns a report."""
