"""The definitions of the product with one more source, as a person who adds one would put them together."""

from innomaint_pipeline.definitions import SOURCES, build_defs
from innomaint_pipeline_tests.system.throwaway import TIDES

defs = build_defs([*SOURCES, TIDES])
