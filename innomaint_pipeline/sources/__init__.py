"""Reads the outside world: addresses and formats, not meaning."""
