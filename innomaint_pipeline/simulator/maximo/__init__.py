"""The simulated Maximo: its world, its query language, and how it goes wrong."""
