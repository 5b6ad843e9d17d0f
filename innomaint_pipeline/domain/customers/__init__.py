"""The third source: the customer list of an ERP, printed as a PDF (docs/customers.md)."""

SOURCE = "customers"
"""The source's name: of its leases, its stored settings, its Dagster runs and the schema of its tables."""

TITLE = "Customers"
