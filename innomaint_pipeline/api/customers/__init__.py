"""What the admin service answers about the customer list."""
