"""Requests that are taken up again."""

from innomaint_pipeline.store.requests import finish_own_request, open_own_request
from innomaint_pipeline_tests.conftest import Pipeline


def test_an_unfinished_request_is_taken_up_again_and_a_finished_one_is_not(empty_pipeline: Pipeline) -> None:
    selection = {"all": True, "names": ["Pump 1"]}

    def take(chosen: dict[str, object], minutes: int = 60):
        with empty_pipeline.database.begin() as connection:
            return open_own_request(connection, "source/work", chosen, resume_minutes=minutes)

    first = take(selection)
    assert not first.is_resumed
    again = take({"names": ["Pump 1"], "all": True})
    assert (again.id, again.requested_at, again.is_resumed) == (first.id, first.requested_at, True)
    other = take({"all": False})
    assert (other.id != first.id, other.is_resumed) == (True, False)
    assert take(selection, minutes=0).id not in {first.id, other.id}, "too long ago"
    for row in empty_pipeline.rows("select id from innomaint_request"):
        with empty_pipeline.database.begin() as connection:
            finish_own_request(connection, row["id"])
    assert not take(selection).is_resumed
