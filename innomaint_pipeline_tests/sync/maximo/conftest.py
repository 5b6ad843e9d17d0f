"""A small simulated Maximo, and what stands on it."""

from innomaint_pipeline_tests.maximo import _maximo_process, maximo

__all__ = ["_maximo_process", "maximo"]
