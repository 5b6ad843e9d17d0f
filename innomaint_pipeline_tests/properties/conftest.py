"""How generated tests run: the same examples each time, and no clock that decides."""

from hypothesis import HealthCheck, settings

GENERATED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
