"""One word for the health of several sources."""

from innomaint_pipeline.domain.health import Health, most_urgent

IN_ORDER = [Health.HEALTHY, Health.UNKNOWN, Health.PAUSED, Health.STALE, Health.DEGRADED, Health.DOWN]


def test_the_most_urgent_word_of_any_two_sources_is_that_of_both():
    assert {*IN_ORDER, Health.NOT_SET} == set(Health)
    for place, milder in enumerate(IN_ORDER):
        for worse in IN_ORDER[place:]:
            assert most_urgent([milder, worse]) is most_urgent([worse, milder]) is worse


def test_a_source_that_is_not_set_says_nothing_of_the_others():
    for word in IN_ORDER:
        assert most_urgent([Health.NOT_SET, word]) is word
    assert most_urgent([Health.NOT_SET]) is Health.UNKNOWN


def test_without_a_source_health_is_unknown():
    assert most_urgent([]) is Health.UNKNOWN
