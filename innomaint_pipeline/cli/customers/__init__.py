"""The commands of the customer list."""
