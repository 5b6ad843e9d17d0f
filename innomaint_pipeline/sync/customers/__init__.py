"""One run of the customer list, from the file to the tables, without Dagster."""
