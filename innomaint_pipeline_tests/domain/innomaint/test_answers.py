import json
import unicodedata
from copy import deepcopy
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innomaint_pipeline.domain.documents import MOST_ISSUES, dump_json, load_json
from innomaint_pipeline.domain.http_answers import AnswerError, HttpAnswer
from innomaint_pipeline.domain.innomaint.answers import (
    VOLATILE_FIELDS,
    CheckedAnswer,
    check_answer,
    judge_answer,
    normalise_id,
)
from innomaint_pipeline.domain.states import ErrorClass
from innomaint_pipeline.errors import AuthError, RouteError

EXAMPLE_TEXT = (
    resources.files("innomaint_pipeline.simulator.innomaint")
    .joinpath("asset_detail.example.json")
    .read_text("utf-8")
)
EXAMPLE = json.loads(EXAMPLE_TEXT)
PUMP = "Delhi Cantt Naraina_BP_01"


def minimal(inner: str = "", *, serialnumber: str = '"P1"', top: str = "") -> str:
    """The text of the smallest answer for P1; `inner` stands in data, `top` beside response."""
    return f'{{{top}"response":{{"data":{{"serialnumber":{serialnumber}{inner}}}}}}}'


def stored(checked: CheckedAnswer) -> dict[str, Any]:
    return load_json(checked.body_json)["response"]["data"]


def hash_of(answer: Any) -> str:
    return check_answer(json.dumps(answer), PUMP).body_hash


def refusal_of(text: str, cmms_asset_id: str = "P1") -> AnswerError:
    with pytest.raises(AnswerError) as caught:
        check_answer(text, cmms_asset_id)
    return caught.value


def violation_of(text: str, cmms_asset_id: str = "P1") -> str:
    refusal = refusal_of(text, cmms_asset_id)
    assert refusal.error_class == "contract"
    return str(refusal)


# the contract


def test_the_example_keeps_the_contract_and_is_stored_as_received():
    checked = check_answer(EXAMPLE_TEXT, PUMP)
    assert checked.body_json == EXAMPLE_TEXT
    assert checked.issues == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "<html><body>502</body></html>",
        EXAMPLE_TEXT[:-20],
        "{",
        '{"a":}',
        "\ufeff{}",
        "{} {}",
        "\0\0",
        minimal().replace(",", "\0,").replace(":", "\0:"),
        minimal().encode("utf-16-le").decode(),
        minimal(',"barcode":"A\\\0u0000B"'),
    ],
)
def test_what_is_no_json_is_transient(text):
    refusal = refusal_of(text)
    assert refusal.error_class == "transient"
    assert "is no JSON" in str(refusal)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("null", "the answer is null"),
        ("[]", "the answer is a list without content"),
        ("5", "the answer is a int"),
        ("NaN", "the answer is no value of JSON"),
        ("1e999999", "the answer is no value of JSON"),
        ("{}", "response is null or absent"),
        ('{"status":true,"response_code":200,"response":null}', "response is null or absent"),
        ('{"response":[]}', "response is a list without content"),
        ('{"response":"ok"}', "response is a str"),
        ('{"response":{}}', "data is null or absent"),
        ('{"response":{"data":null}}', "data is null or absent"),
        ('{"response":{"data":[]}}', "data is a list without content"),
        ('{"response":{"data":{}}}', "data is an object without content"),
        ('{"response":{"data":[{"serialnumber":"P1"}]}}', "data is a list, expected"),
        ('{"response":{"data":{"id":1}}}', "serialnumber is null or absent"),
        (minimal(serialnumber="null"), "serialnumber is null or absent"),
        (minimal(serialnumber="true"), "serialnumber is a bool"),
        (minimal(serialnumber="1.5"), "serialnumber is a Decimal"),
        (minimal(',"id":1', serialnumber="NaN"), "serialnumber is null or absent"),
        (minimal(serialnumber='["P1"]'), "serialnumber is a list"),
        (minimal(serialnumber='"P2"'), "asked for 'P1', the answer is for 'P2'"),
        (minimal(top='"status":false,'), "says status 'False', expected true"),
        (minimal(top='"response_code":"x",'), "says response_code 'x', expected 200"),
    ],
)
def test_what_is_not_the_detail_of_the_asked_cmms_asset_violates_the_contract(text, complaint):
    assert complaint in violation_of(text)


def test_a_violation_quotes_only_the_beginning_of_a_foreign_id():
    assert len(violation_of(minimal(serialnumber=f'"{"x" * 10_000}"'))) < 300


def test_a_status_that_is_not_true_violates_the_contract():
    for status in ("false", '"false"', '"False "', "0", '"0"', "0.0", "null", '""', "2", '"error"', "[true]"):
        assert "says status" in violation_of(minimal(top=f'"status":{status},'))


def test_a_status_that_is_true_or_absent_is_none():
    for status in ("true", '"true"', "1", "1.0", '" Success "', '"ok"'):
        assert check_answer(minimal(top=f'"status":{status},'), "P1").issues == ()
    assert check_answer(minimal(), "P1").issues == ()


def test_a_response_code_of_200_has_many_forms():
    for code in ("200", '"200"', '" 200 "', "200.0", '"200.0"', "null", "201"):
        assert check_answer(minimal(top=f'"response_code":{code},'), "P1").issues == ()


def test_a_response_code_that_is_no_status_violates_the_contract():
    for code in ("true", '"OK"', "2000", "[200]", "0", "-1"):
        assert "says response_code" in violation_of(minimal(top=f'"response_code":{code},'))


# what the vendor says inside an HTTP 200


def says(**fields: Any) -> str:
    return json.dumps(fields)


def test_a_code_inside_a_200_means_what_it_means_as_a_status():
    for code, error_class in (
        (404, "not_found"),
        ("410", "not_found"),
        (429, "rate_limited"),
        (503, "transient"),
        ("500.0", "transient"),
        (422, "data"),
        (302, "contract"),
        (418, "contract"),
    ):
        refusal = refusal_of(says(status=False, response_code=code, message="?"))
        assert (refusal.error_class, refusal_of(minimal(top=f'"response_code":"{code}",')).error_class) == (
            error_class,
            error_class,
        )
    for code in (401, "403"):
        with pytest.raises(AuthError, match="INNOMAINT_API_TOKEN"):
            check_answer(says(status=True, response_code=code), "P1")
    with pytest.raises(RouteError):
        check_answer(says(response_code=407), "P1")


def test_words_inside_a_200_mean_what_they_say_where_no_code_does():
    for words, error_class in (
        ("Too Many Requests", "rate_limited"),
        ("API rate limit exceeded", "rate_limited"),
        ("You are being throttled", "rate_limited"),
        ("Asset not found", "not_found"),
        ("No data available", "not_found"),
        ("This serial number does not exist.", "not_found"),
        ("It doesn't exist", "not_found"),
        ("The site is under maintenance", "transient"),
        ("Please try again later", "transient"),
        ("Something went wrong", "contract"),
    ):
        for answer in (
            says(status=False, message=words),
            says(status="error", response_code=200, response=words),
            says(status=False, errors=[{"detail": words}], response={"data": {"barcode": "unauthenticated"}}),
            says(status=True, response_code="error", msg=words),
            says(message=words),
        ):
            assert refusal_of(answer).error_class == error_class, answer
    for words in (
        "Unauthenticated.",
        "Unauthorised",
        "Token has expired",
        "invalid token",
        "JWT token invalid",
    ):
        for answer in (says(status=False, message=words), says(message=words)):
            with pytest.raises(AuthError, match="renew INNOMAINT_API_TOKEN"):
                check_answer(answer, "P1")


def test_words_of_the_asset_itself_are_no_verdict():
    name = ',"asset_name":"Unauthenticated token expired: not found, under maintenance"'
    assert check_answer(minimal(name, top='"status":true,"message":"not found",'), "P1")
    assert "says status" in violation_of(minimal(name, top='"status":false,'))


# the head of an answer

NOW = datetime(2026, 6, 20, 12, tzinfo=UTC)
PAGE = "<!doctype html><html><body>Not from here</body></html>"


def judge(status: int, text: str = "", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge_answer(HttpAnswer(status, named, text), "P1", now=NOW)


def error_of(status: int, text: str = "", **headers: str) -> AnswerError:
    with pytest.raises(AnswerError) as caught:
        judge(status, text, **headers)
    return caught.value


def test_a_good_status_with_a_good_body_is_an_answer():
    for status in (200, 201, 203, 226):
        assert judge(status, minimal()).issues == ()
        assert error_of(status, PAGE).error_class == error_of(status).error_class == "transient"


def test_each_other_status_has_one_meaning():
    for error_class, statuses in {
        "transient": (202, 204, 206, 408, 409, 421, 423, 425, 500, 501, 502, 503, 504, 507, 520, 599),
        "data": (400, 405, 413, 422),
        "not_found": (404, 410),
        "rate_limited": (429,),
        "contract": (300, 301, 302, 303, 304, 307, 308, 406, 418, 451),
    }.items():
        for status in statuses:
            for text in ("", '{"status": false}'):
                assert error_of(status, text).error_class == error_class, status
            if status not in (404, 410):
                assert error_of(status, PAGE, content_type="text/html").error_class == error_class, status


def test_a_page_is_no_verdict_on_the_asset_or_the_token():
    for status in (403, 404, 410):
        for text, kind in ((PAGE, "text/html"), (PAGE, ""), ("404 page not found", "text/plain")):
            error = error_of(status, text, content_type=kind)
            assert (error.error_class, "a page" in str(error)) == ("transient", True)
        unread = AnswerError(ErrorClass.TRANSIENT, "cut off")
        with pytest.raises(AnswerError) as caught:
            judge_answer(HttpAnswer(status, {}, unread=unread), "P1", now=NOW)
        assert caught.value.error_class == "transient"
    # Frameworks send JSON as text/html, too.
    assert error_of(404, '{"error": "?"}', content_type="text/html").error_class == "not_found"
    assert error_of(404, "", content_type="text/html").error_class == "not_found"


def test_a_refused_token_has_many_signs():
    for status, text, headers in (
        (401, "", {}),
        (401, PAGE, {"content_type": "text/html"}),
        (403, "", {}),
        (403, '{"message": "Forbidden"}', {"content_type": "application/json"}),
        (302, "", {"location": "https://innomaint.test/login"}),
        (302, PAGE, {"location": "/user/LoginPage.php?back=1"}),
        (303, "", {"location": "../sign-in"}),
        (307, "", {"location": "https://idp.test/oauth2/authorize?x=y"}),
        (302, "", {"location": "/sso/start"}),
        (302, "", {"location": "/%6Cogin"}),
    ):
        with pytest.raises(AuthError, match=f"HTTP {status}.*INNOMAINT_API_TOKEN"):
            judge(status, text, **headers)
    for location in (
        "/api/v2",
        "/author/7",
        "/authority",
        "/lasso",
        "/logging-in-progress",
        "//[",
        "/blog?login=1",
    ):
        assert error_of(302, "", location=location).error_class == "contract"


def test_a_time_that_an_answer_names_is_kept():
    for status in (429, 503, 409):
        assert error_of(status, "", retry_after="120").retry_after_seconds == 120
        assert error_of(status).retry_after_seconds is None
    assert error_of(200, says(response_code=429), retry_after="60").retry_after_seconds == 60
    assert error_of(403, PAGE, retry_after="60").retry_after_seconds == 60
    assert error_of(200, minimal(serialnumber='"P2"'), retry_after="60").retry_after_seconds is None


def test_a_contract_error_is_the_same_for_different_assets():
    kinds = set()
    for serial in ("P2", "P3"):
        with pytest.raises(AnswerError) as caught:
            check_answer(minimal(serialnumber='"other"'), serial)
        kinds.add(caught.value.kind)
    assert len(kinds) == 1
    assert refusal_of("null").kind != refusal_of("[]").kind


# whose answer it is


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("P1", '" P1\\t"'),
        (" P1 ", '"P1"'),
        ("Caf\u00e9", '"Cafe\\u0301"'),
        ("Cafe\u0301", '"Caf\u00e9"'),
        ("00123", '"00123"'),
        ("101", "101"),
        ("A/1, B", '"A/1, B"'),
    ],
)
def test_ids_that_differ_by_outer_spaces_or_composition_are_the_same(asked, answered):
    assert check_answer(minimal(serialnumber=answered), asked)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("P1", '"p1"'),
        ("P 1", '"P  1"'),
        ("00123", "123"),
        ("00123", '"123"'),
        ("P1", '"P1-2"'),
        ("\u2460", '"1"'),
    ],
)
def test_ids_that_differ_by_anything_else_are_not_the_same(asked, answered):
    assert "the answer is for" in violation_of(minimal(serialnumber=answered), asked)


@given(st.text())
def test_normalising_an_id_twice_changes_nothing_more(text):
    once = normalise_id(text)
    assert normalise_id(once) == once
    assert unicodedata.is_normalized("NFC", once)


# characters and numbers that cannot be stored


@pytest.mark.parametrize("character", ["\\u0000", "\\ud800", "\\uDFFF", "\\udc00\\ud83d"])
def test_an_escaped_nul_or_half_surrogate_pair_is_removed_with_an_issue(character):
    checked = check_answer(minimal(f',"barcode":"A{character}B"'), "P1")
    assert stored(checked) == {"serialnumber": "P1", "barcode": "AB"}
    (issue,) = checked.issues
    assert issue.field == "data.barcode"
    assert issue.raw_value.startswith("A\\")
    assert "were removed" in issue.reason


@pytest.mark.parametrize("character", ["\0", "\ud800"])
def test_an_unescaped_nul_or_half_surrogate_pair_is_removed_with_an_issue(character):
    checked = check_answer(minimal(f',"barcode":"A{character}B"'), "P1")
    assert stored(checked)["barcode"] == "AB"
    assert [issue.field for issue in checked.issues if issue.field] == ["data.barcode"]


def test_control_characters_inside_texts_are_read_with_an_issue():
    for character in ("\t", "\n", "\r\n", "\x01", "\x1f"):
        checked = check_answer(minimal(f',"barcode":"A{character}B"'), "P1")
        assert stored(checked)["barcode"] == f"A{character}B"
        assert ["control characters" in issue.reason for issue in checked.issues] == [True]
        assert character not in checked.body_json


def test_of_two_names_that_cleaning_makes_one_the_untouched_field_stays():
    odd = ("criticality\\u0000", "\\ud800criticality", "critical\\u0000ity")
    for name in odd:
        for fields in (f'"criticality":"High","{name}":"x"', f'"{name}":"x","criticality":"High"'):
            checked = check_answer(minimal(f",{fields}"), "P1")
            assert stored(checked) == {"serialnumber": "P1", "criticality": "High"}
            (issue,) = checked.issues
            assert (issue.field, '"x"' in issue.raw_value, "left out" in issue.reason) == (
                "data.criticality",
                True,
                True,
            )
    checked = check_answer(minimal(f',"{odd[0]}":"first","{odd[1]}":"second"'), "P1")
    assert stored(checked)["criticality"] == "first"
    assert ["left out" in issue.reason for issue in checked.issues] == [False, True]


def test_a_name_with_a_nul_is_cleaned_with_an_issue():
    checked = check_answer(minimal(',"bar\\u0000code":"A"'), "P1")
    assert stored(checked) == {"serialnumber": "P1", "barcode": "A"}
    assert [issue.field for issue in checked.issues] == ["data.barcode"]
    assert "name" in checked.issues[0].reason


def test_a_nul_in_the_first_of_two_fields_of_one_name_is_not_stored():
    checked = check_answer(minimal(',"barcode":"\\u0000","barcode":"B","mttr":NaN,"mttr":1'), "P1")
    assert "\\u0000" not in checked.body_json
    assert "NaN" not in checked.body_json
    assert stored(checked) == {"serialnumber": "P1", "barcode": "B", "mttr": 1}


def test_a_whole_surrogate_pair_is_kept():
    checked = check_answer(minimal(',"barcode":"\\ud83d\\ude00"'), "P1")
    assert stored(checked)["barcode"] == "\U0001f600"
    assert checked.issues == ()


def test_a_backslash_before_an_escape_is_text():
    checked = check_answer(minimal(r',"barcode":"\\u0000"'), "P1")
    assert stored(checked)["barcode"] == r"\u0000"
    assert checked.issues == ()


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_know_is_left_out_and_not_stored_as_null(constant):
    checked = check_answer(minimal(f',"ticketcount":{constant},"sizes":[1,{constant}]'), "P1")
    assert stored(checked) == {"serialnumber": "P1", "sizes": [1, None]}
    assert [(issue.field, issue.raw_value) for issue in checked.issues] == [
        ("data.ticketcount", constant),
        ("data.sizes[1]", constant),
    ]


@pytest.mark.parametrize(
    "number",
    ["1e999999999", "-1e999999999", "1e-999999999", "0e-99999", "1e99999999999999999999", "0." + "1" * 1001],
)
def test_a_number_that_the_database_cannot_hold_is_left_out_with_an_issue(number):
    checked = check_answer(minimal(f',"ticketcount":{number}'), "P1")
    assert stored(checked) == {"serialnumber": "P1"}
    (issue,) = checked.issues
    assert issue.field == "data.ticketcount"
    assert issue.raw_value == number[:500]


@pytest.mark.parametrize("number", ["1e999", "1e-1000", "0." + "1" * 1000, "9" * 4000])
def test_a_long_number_is_kept_digit_by_digit(number):
    checked = check_answer(minimal(f',"ticketcount":{number}'), "P1")
    assert checked.issues == ()
    assert f'"ticketcount":{number}' in checked.body_json


def test_an_integer_of_5000_digits_violates_the_contract():
    assert "a number of thousands of digits" in violation_of(minimal(f',"ticketcount":{"9" * 5000}'))


def test_the_path_and_the_raw_value_of_an_issue_are_bounded():
    checked = check_answer(minimal(f',"{"n" * 5000}":"\\u0000{"v" * 5000}"'), "P1")
    (issue,) = checked.issues
    assert len(issue.field) == len(issue.raw_value) == 500


def test_of_very_many_issues_some_are_named_and_the_others_counted():
    fields = "".join(f',"x{number}\\u0000":"\\u0000"' for number in range(30_000))
    issues = check_answer(minimal(fields), "P1").issues
    assert len(issues) == MOST_ISSUES + 1
    assert (issues[-1].field, issues[-1].raw_value) == ("(further)", str(60_000 - MOST_ISSUES))


def test_issues_of_another_section_carry_its_path():
    text = '{"note":"\\u0000","response":{"data":{"serialnumber":"P1"},"performance":{"mttr":"\\u00001"}}}'
    assert [issue.field for issue in check_answer(text, "P1").issues] == ["note", "performance.mttr"]


# nesting


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_of_100000_levels_violates_the_contract(opening, closing):
    text = minimal(f',"x":{opening * 100_000}1{closing * 100_000}')
    assert "nested" in violation_of(text)


def test_an_unfinished_nesting_of_100000_levels_is_one_of_the_two_errors():
    assert refusal_of("[" * 100_000).error_class in {"contract", "transient"}


def test_nesting_is_allowed_up_to_100_levels():
    def nested(levels: int) -> str:
        return minimal(f',"x":{"[" * levels}{"]" * levels}')

    assert check_answer(nested(97), "P1")
    assert "more than 100 levels" in violation_of(nested(98))


def test_many_sections_side_by_side_are_no_nesting():
    assert check_answer(minimal(f',"x":[{",".join(["[{}]"] * 500)}]'), "P1")


# duplicates


def test_the_last_of_two_fields_of_one_name_counts_as_in_postgresql():
    assert check_answer(minimal(',"serialnumber":"P2"'), "P2")
    assert "the answer is for" in violation_of(minimal(',"serialnumber":"P2"'))


# the hash


def test_the_volatile_fields_are_the_three_of_the_contract():
    assert set(VOLATILE_FIELDS) == {"mtbf", "availability", "total_actual_hrs"}


@pytest.mark.parametrize("name", VOLATILE_FIELDS)
@pytest.mark.parametrize("value", ["1:00:00", None, 5, []])
def test_the_hash_ignores_a_volatile_field(name, value):
    changed = deepcopy(EXAMPLE)
    changed["response"]["performance"][name] = value
    assert hash_of(changed) == hash_of(EXAMPLE)
    del changed["response"]["performance"][name]
    assert hash_of(changed) == hash_of(EXAMPLE)


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in leaves(item, (*path, name))]
    return [path]


STEADY_LEAVES = [
    path
    for path in leaves(EXAMPLE)
    if path[-1] not in {*VOLATILE_FIELDS, "serialnumber"} and path[0] == "response"
]


def parent_of(answer: Any, path: tuple[str, ...]) -> dict[str, Any]:
    for name in path[:-1]:
        answer = answer[name]
    return answer


@pytest.mark.parametrize("path", STEADY_LEAVES, ids=".".join)
def test_the_hash_changes_with_any_other_field(path):
    hashes = {hash_of(EXAMPLE)}
    for value in ("changed", 123, True, []):
        changed = deepcopy(EXAMPLE)
        parent_of(changed, path)[path[-1]] = value
        hashes.add(hash_of(changed))
    lacking = deepcopy(EXAMPLE)
    del parent_of(lacking, path)[path[-1]]
    hashes.add(hash_of(lacking))
    assert len(hashes) == 6


@pytest.mark.parametrize("section", ["data", "workorder_transactional"])
@pytest.mark.parametrize("name", VOLATILE_FIELDS)
def test_a_volatile_name_outside_performance_is_an_ordinary_field(name, section):
    changed = deepcopy(EXAMPLE)
    changed["response"][section][name] = "1"
    assert hash_of(changed) != hash_of(EXAMPLE)


def test_the_hash_does_not_depend_on_the_order_of_fields_or_on_white_space():
    def reverse(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: reverse(value[name]) for name in reversed(value)}
        return value

    compact = json.dumps(reverse(EXAMPLE), separators=(",", ":"))
    assert check_answer(compact, PUMP).body_hash == check_answer(EXAMPLE_TEXT, PUMP).body_hash


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("1.50", "1.5", True),
        ("150e-2", "1.5", True),
        ("1.0", "1", True),
        ("1e2", "100", True),
        ("-0.0", "0", True),
        ("1.5", "1.51", False),
        ("1e2", "1e3", False),
        ("1.5", '"1.5"', False),
        ("1", '"1"', False),
        ("1.0000000000000000000000000000000001", "1.0000000000000000000000000000000002", False),
        ("null", '""', False),
        ("true", "1", False),
        ("[1,2]", "[2,1]", False),
        ('"\u00e9"', '"\\u00e9"', True),
    ],
)
def test_the_hash_compares_values_not_spellings(one, other, is_same):
    hashes = {check_answer(minimal(f',"x":{value}'), "P1").body_hash for value in (one, other)}
    assert (len(hashes) == 1) is is_same


def test_the_hash_of_a_cleaned_answer_is_that_of_its_stored_text():
    checked = check_answer(minimal(',"barcode":"A\\u0000","ticketcount":NaN,"cost":1.10'), "P1")
    assert check_answer(checked.body_json, "P1").body_hash == checked.body_hash


# any JSON in

json_text = st.text(max_size=12)
json_numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(10**400), 2**31, 2**63])
    | st.decimals(allow_nan=False, allow_infinity=False)
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | json_numbers
    | json_text
    | st.sampled_from(["\0", "\ud800", "\U0001f600", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_text, inner, max_size=4),
    max_leaves=12,
)


def write(value: Any) -> str:
    """JSON with NaN and Infinity, as careless programs write it."""
    return json.dumps(value, default=str)


def check_or_refuse(text: str, cmms_asset_id: str) -> CheckedAnswer | None:
    try:
        return check_answer(text, cmms_asset_id)
    except (AnswerError, AuthError, RouteError):
        return None


@given(json_values | json_text.map(lambda text: {"response": {"data": {"serialnumber": text}}}))
def test_any_json_is_an_answer_or_one_of_its_errors(value):
    check_or_refuse(write(value), "P1")


@given(st.text(alphabet=st.characters(codec=None)) | st.text(alphabet='{}[]",:\\u0d89NaInfity.e-+ \0\n'))
def test_any_text_is_an_answer_or_one_of_its_errors(text):
    check_or_refuse(text, "P1")


@given(json_values)
def test_what_is_stored_is_strict_json_without_anything_postgresql_refuses(value):
    checked = check_answer(minimal(f',"x":{write(value)}'), "P1")

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    answer = load_json(checked.body_json, refuse)
    written = dump_json(answer)
    written.encode("utf-8")
    assert "\\u0000" not in written.replace("\\\\", "")
    again = check_answer(checked.body_json, "P1")
    assert again.issues == ()
    assert again.body_hash == checked.body_hash
