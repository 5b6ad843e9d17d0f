"""What the data means; pure: no input or output, no clock, no Dagster."""
