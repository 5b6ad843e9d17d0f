"""One batch run of the source Innomaint, without Dagster."""
