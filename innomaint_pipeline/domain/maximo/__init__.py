"""The source IBM Maximo: what its object structures mean (docs/maximo.md)."""

SOURCE = "maximo"
"""The source's name: of its leases, its stored settings, its Dagster runs and the schema of its tables."""

TITLE = "Maximo"
