"""No secret in a log, an error, a repr or a stored answer."""

import base64
import io
import json
import logging
import re
import traceback
from urllib.parse import quote, unquote

import pytest

from innomaint_pipeline.cli.environment import Addresses
from innomaint_pipeline.domain.innomaint.answers import check_answer
from innomaint_pipeline.redaction import install_redaction, redact, redactor_of, secrets_removed
from innomaint_pipeline.settings import load_settings
from innomaint_pipeline_tests.conftest import CANARY_TOKEN

ESCAPED = "".join(f"\\u{ord(character):04x}" for character in CANARY_TOKEN)


@pytest.fixture(autouse=True)
def _installed():
    before = logging.getLogRecordFactory()
    install_redaction(CANARY_TOKEN)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("name", ["innomaint_pipeline.x", "httpx", "uvicorn.error", "alembic", "dagster"])
def test_a_log_of_any_library_holds_no_token_in_message_arguments_or_traceback(name):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    before, logger.disabled = logger.level, False
    logger.setLevel(logging.DEBUG)
    try:
        logger.debug("sent %s with %r", CANARY_TOKEN, {"Authorization": f"Bearer {CANARY_TOKEN}"})
        try:
            try:
                raise ValueError(f"header {CANARY_TOKEN}")
            except ValueError as error:
                raise KeyError("outer") from error
        except KeyError:
            logger.exception("failed", stack_info=True)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    written = stream.getvalue()
    assert written.count("[redacted]") >= 3
    assert CANARY_TOKEN not in written


class StubbornError(Exception):
    """Says what its arguments do not."""

    def __str__(self) -> str:
        return f"inside {CANARY_TOKEN}"


@pytest.mark.parametrize("inner", [ValueError(f"x {CANARY_TOKEN}"), StubbornError("x")], ids=repr)
def test_an_error_is_raised_without_the_token_in_it_or_its_causes(inner):
    inner.add_note(f"note {CANARY_TOKEN}")
    with pytest.raises(RuntimeError) as caught, secrets_removed():
        raise RuntimeError(f"outer {CANARY_TOKEN}") from inner
    assert CANARY_TOKEN not in "".join(traceback.format_exception(caught.value, chain=True))


@pytest.mark.parametrize(
    "field",
    [
        f'"barcode":"x {CANARY_TOKEN}"',
        f'"barcode":["{ESCAPED}"]',
        f'"{CANARY_TOKEN}":1',
        f'"{ESCAPED}":{{"a":null}}',
        f'"barcode":"{CANARY_TOKEN[:5]}\\u0000{CANARY_TOKEN[5:]}"',
    ],
)
def test_a_token_that_the_api_sends_back_is_not_stored_and_reported(field):
    text = f'{{"response":{{"data":{{"serialnumber":"P1",{field}}}}}}}'
    checked = check_answer(text, "P1", redactor_of(CANARY_TOKEN))
    assert CANARY_TOKEN not in json.dumps(json.loads(checked.body_json)) + repr(checked)
    assert [issue.reason for issue in checked.issues] == ["held the API token; it was replaced"]
    assert "[redacted]" in checked.body_json


@pytest.mark.parametrize(
    "text",
    [
        f'{{"status":"{CANARY_TOKEN}","response":{{"data":{{"serialnumber":"{CANARY_TOKEN}"}}}}}}',
        f'{{"response_code":"{CANARY_TOKEN}"}}',
    ],
)
def test_a_complaint_about_an_answer_does_not_quote_the_token(text):
    with pytest.raises(ValueError, match="redacted") as caught:
        check_answer(text, "P1", redactor_of(CANARY_TOKEN))
    assert CANARY_TOKEN[:6] not in str(caught.value)


def test_what_the_settings_hold_is_known_and_no_address_shows_its_password(monkeypatch):
    url = "postgresql://user:pass%40word-1@127.0.0.1/ic3"
    monkeypatch.setenv("IC3_DATABASE_URL", url)
    monkeypatch.setenv("INNOMAINT_ADMIN_TOKEN", "admin-token-77aa")
    load_settings()
    assert "77aa" not in redact("admin-token-77aa refused")
    assert "word-1" not in redact(f"{url} and pass@word-1")
    assert "word-1" not in repr(Addresses(url, url, is_embedded=False))


LARAVEL = "8|q/Zt+3xKd9_Wm2~Lp"


def forms_of(secret: str) -> list[str]:
    """What a secret looks like in other programs' texts, with neighbours."""
    packed = [
        base64.b64encode(f"{before}{secret}:x".encode()).decode() for before in ("", "a", "ab", "Bearer ")
    ]
    packed += [text.replace("+", "-").replace("/", "_").rstrip("=") for text in packed]
    percent = [
        quote(secret, safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        "".join(f"%{ord(c):02x}" for c in secret),
    ]
    return [secret, *packed, *percent]


def test_a_secret_is_removed_in_whatever_form_it_comes_back():
    for secret in (CANARY_TOKEN, LARAVEL):
        redact_one = redactor_of(secret)
        for form in forms_of(secret):
            shown = redact_one(f"x {form} y")
            assert "[redacted]" in shown, form
            decoded = unquote(shown)
            for part in secret.split("|")[-1:]:
                assert part not in decoded
                for length in (len(part), len(part) // 2 + 4):
                    assert base64.b64encode(part[:length].encode()).decode().rstrip("=")[:-1] not in shown
    shown = redactor_of(LARAVEL)("the token q/Zt+3xKd9_Wm2~Lp is unknown, user 8")
    assert shown == "the token [redacted] is unknown, user 8"


def test_a_text_without_the_secret_comes_back_as_it_is():
    text = "100 % of Pump%201 is aGVsbG8gd29ybGQ="
    assert redactor_of(LARAVEL)(text) is text
    assert redact(text) is text
    assert redactor_of("8|short")("8|short") == "8|short"
