"""A small simulated Maximo beside the admin service."""

from innomaint_pipeline_tests.maximo import _maximo_process, maximo

__all__ = ["_maximo_process", "maximo"]
