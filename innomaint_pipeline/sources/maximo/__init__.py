"""Maximo over HTTP: its REST API, and the native login that makes a key."""
