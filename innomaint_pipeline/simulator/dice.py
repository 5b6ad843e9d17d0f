"""Chance that is the same each time: for invented worlds, latencies and faults."""

import random


def build_dice(*parts: object) -> random.Random:
    """Return a random generator that depends on nothing but `parts`, whatever was drawn before elsewhere."""
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - reproducible on purpose, protects nothing
