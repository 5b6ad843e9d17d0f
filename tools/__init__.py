"""Programs for who changes the project; the package does not need them."""
