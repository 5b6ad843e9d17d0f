"""The Dagster definitions of the source Innomaint."""
