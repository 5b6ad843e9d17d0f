"""Any answer in: no crash, the states add up, each ends where it must, the rest of the batch is synced."""

import copy
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from innomaint_pipeline.domain.http_answers import AnswerError
from innomaint_pipeline.domain.innomaint.answers import check_answer
from innomaint_pipeline.simulator.innomaint.estate import load_example
from innomaint_pipeline.sources.innomaint import InnomaintClient
from innomaint_pipeline.sources.outcomes import RequestPolicy
from innomaint_pipeline.store.pacing import SharedPacing
from innomaint_pipeline.sync.innomaint.batch import Selection
from innomaint_pipeline_tests.conftest import CANARY_TOKEN, Pipeline
from innomaint_pipeline_tests.invariants import check_invariants
from innomaint_pipeline_tests.properties.conftest import GENERATED

API = "http://127.0.0.1:9/api"
GENERATED_ANSWERS, NEAR_VALID, HONEST_ANSWERS = 20, 16, 4
# Below the ten failures in a row that open the breaker.
MOST_UNREADABLE = 4
EXAMPLE = json.loads(load_example())
SECTIONS = {
    "data": list(EXAMPLE["response"]["data"]),
    "performance": list(EXAMPLE["response"]["performance"]),
    "workorder_transactional": ["upto", "last_year"],
}
runs = count(1)

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
odd_numbers = st.sampled_from(
    [2**31, -(2**31) - 1, 2**63, 10**40, -1, 0, 1e308, 5e-324, -0.0, float("nan"), float("inf"), 1.5, True]
)
odd_texts = st.sampled_from(
    [
        *("", " ", "\0", "\ud800", "0", "5", "-5", "1e9", "NaN", "100", "100.5", "1e999", "\xb2", "\u0663"),
        *("1,234.50", "99999999999.99", "1234567890123.456", "x" * 3000),
        *("8526:06:43", "-1:00:00", "1:99:99", "99999999999999:00:00"),
        *("09/07/2024 16:59", "31/02/2024 00:00", "2026-03-19 04:21:46+00", "0000-00-00"),
        "9999-12-31 23:59:59+00",
    ]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, odd_numbers, odd_texts)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def near_valid_answers(draw: st.DrawFn) -> Callable[[str], str]:
    """Build the vendor's example with a few things changed, for whatever id is asked for."""
    answer = copy.deepcopy(EXAMPLE)
    response = answer["response"]
    for _ in range(draw(st.integers(1, 8))):
        section = draw(st.sampled_from(sorted(SECTIONS)))
        if not isinstance(response.get(section), dict):
            continue
        place = response[section]
        name = draw(st.sampled_from(SECTIONS[section]) | texts)
        if section == "workorder_transactional" and draw(st.booleans()) and isinstance(place.get(name), dict):
            place, name = place[name], draw(st.sampled_from([*sorted(place[name]), "unknown"]) | texts)
        if draw(st.integers(0, 5)) == 0:
            place.pop(name, None)
        elif name != "serialnumber":
            place[name] = draw(values)
    if draw(st.integers(0, 5)) == 0:
        response[draw(st.sampled_from([*sorted(SECTIONS), "geolocation", "contract"]))] = draw(values)
    is_ascii = draw(st.booleans())

    def build(serial: str) -> str:
        if isinstance(response.get("data"), dict) and "serialnumber" in response["data"]:
            response["data"]["serialnumber"] = serial
        text = json.dumps(answer, ensure_ascii=is_ascii)
        return text.encode("utf-8", "replace").decode()

    return build


def fixed(text: str) -> Callable[[str], str]:
    return lambda _: text


any_json = values.map(lambda value: fixed(json.dumps(value)))
any_answers = st.builds(
    lambda *lists: [answer for answers in lists for answer in answers],
    st.lists(near_valid_answers(), min_size=NEAR_VALID, max_size=NEAR_VALID),
    st.lists(any_json, max_size=GENERATED_ANSWERS - NEAR_VALID),
)
unreadable = st.lists(
    st.sampled_from(["", "{", "<html>", json.dumps(EXAMPLE)[:-9], '{"a": 1} {}']).map(fixed),
    max_size=MOST_UNREADABLE,
)


def expected(text: str, serial: str) -> tuple[str, str | None]:
    """Return state and class that an answer must lead to; `domain` says what is readable, and no more."""
    try:
        check_answer(text, serial)
    except AnswerError as error:
        return ("failed", error.error_class)
    return ("synced", None)


class UndeterredPacing(SharedPacing):
    """Lets each answer be this asset's alone, though ten alike would be taken for the source's trouble."""

    async def broke_contract(self, item: str, error: str) -> None:
        del item, error


def open_client(pipeline: Pipeline, answers: dict[str, str]) -> Callable[[str], Any]:
    """Let the real client ask, without a socket: generated answers are many."""

    def answer(request: httpx.Request) -> httpx.Response:
        serial = json.loads(request.content)["serialnumber"]
        headers = {"content-type": "application/json"}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(answers[serial].encode()))

    def opened(run_id: str) -> AbstractAsyncContextManager[InnomaintClient]:
        pacing = UndeterredPacing(pipeline.database, API, owner=run_id, rate_ms=0)
        policy = RequestPolicy(max_attempts=1, timeout_seconds=60)
        transport = httpx.MockTransport(answer)
        return InnomaintClient(API, SecretStr(CANARY_TOKEN), pacing, policy, transport=transport)

    return opened


def test_any_answer_ends_where_it_must_and_the_others_are_synced(empty_pipeline: Pipeline) -> None:
    pipeline = empty_pipeline
    size = GENERATED_ANSWERS + MOST_UNREADABLE + HONEST_ANSWERS
    serials = [f"Pump {number}/é, Ä" for number in range(size)]
    pipeline.import_serials(serials)
    honest = serials[-HONEST_ANSWERS:]

    def sync(answers: dict[str, str]) -> Any:
        pipeline.open_client = open_client(pipeline, answers)  # pyright: ignore[reportAttributeAccessIssue]
        selection = Selection(asked_before=datetime.now(UTC))
        return pipeline.sync(pipeline.run(f"run-{next(runs)}", selection=selection))

    @settings(GENERATED, max_examples=10)
    @given(built=any_answers, broken=unreadable)
    @example(
        built=[fixed("NaN"), fixed("[]"), fixed('{"response": {"data": {"serialnumber": 5}}}')], broken=[]
    )
    def check(built: list[Callable[[str], str]], broken: list[Callable[[str], str]]) -> None:
        honest_answer = {"status": True, "response_code": 200, "response": {"data": {"barcode": "B"}}}
        answers = {}
        for serial in serials:
            honest_answer["response"]["data"]["serialnumber"] = serial
            answers[serial] = json.dumps(honest_answer)
        answers |= {
            serial: build(serial)
            for serial, build in zip(serials[: -HONEST_ANSWERS or None], [*built, *broken], strict=False)
        }
        wanted = {serial: expected(text, serial) for serial, text in answers.items()}

        began = datetime.now(UTC)
        report = sync(answers)

        assert pipeline.states() == wanted
        assert {wanted[serial] for serial in honest} == {("synced", None)}
        synced = sum(state == ("synced", None) for state in wanted.values())
        assert (report.counts.success, report.counts.failed, report.skipped) == (synced, size - synced, 0)
        check_invariants(pipeline.database, began)

        again = sync(answers)
        assert (again.counts.success, again.counts.unchanged) == (synced, synced), "the same is unchanged"
        rebuilt = pipeline.enrich(pipeline.run("rebuild"), is_rebuild=True, is_last_step=True)
        assert rebuilt.failed == 0
        own = ("ic3_asset_performance", "ic3_workorder_summary")
        assert {name: rebuilt.rows_written[name] for name in own} == dict.fromkeys(own, 0)

    check()
