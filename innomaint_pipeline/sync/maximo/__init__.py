"""One read of a structure of Maximo: fetched, then merged into its tables."""
