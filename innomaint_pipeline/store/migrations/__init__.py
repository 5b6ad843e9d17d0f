"""Alembic revisions: changes of the schema that are no additions."""
