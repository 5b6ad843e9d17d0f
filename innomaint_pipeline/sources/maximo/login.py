"""Native login at Maximo, to make an API key: the only requests that send a password, and cookies."""

from __future__ import annotations

import base64
from typing import Any

import httpx
from pydantic import SecretStr

from innomaint_pipeline.domain.documents import UnreadableDocumentError, UnstorableDocumentError, load_json
from innomaint_pipeline.errors import AuthError, InnomaintPipelineError, SourceRefusedError
from innomaint_pipeline.redaction import remember_secret
from innomaint_pipeline.sources.route import DIRECT, Route, trusted_certificates

_HAS_KEY = "BMXAA10051E"
_WHERE_A_PERSON_MAKES_ONE = (
    "login is not native here: a person makes the key in Maximo, Administration, Integration, API Keys, or "
    "Administration Work Center, Integration; put it into .env as MAXIMO_API_KEY"
)


class KeyExistsError(InnomaintPipelineError):
    """The user has a key already: one at a time."""


def create_key(
    base_url: str,
    user: str,
    password: SecretStr,
    *,
    expires_minutes: int | None = None,
    timeout_seconds: float = 120.0,
    route: Route = DIRECT,
) -> SecretStr:
    """Log in once, create an API key, log out; return the key.

    Raises `AuthError` where the password is wrong or login is not native, `KeyExistsError`, and
    `SourceRefusedError` where Maximo cannot be reached.
    """
    value = base64.b64encode(f"{user}:{password.get_secret_value()}".encode()).decode()
    remember_secret(value)
    root = base_url.rstrip("/") + "/oslc"
    proxy = None if route.proxy_url is None else route.proxy_url.get_secret_value()
    with httpx.Client(
        timeout=timeout_seconds,
        follow_redirects=False,
        trust_env=False,
        verify=trusted_certificates(route.ca_file),
        proxy=proxy,
    ) as client:
        try:
            answer = client.post(f"{root}/login", params={"lean": "1"}, headers={"maxauth": value})
            _check_login(answer)
            made = client.post(
                f"{root}/apitoken/create",
                params={"lean": "1"},
                json={"expiration": -1 if expires_minutes is None else expires_minutes},
            )
            client.post(f"{root}/logout")
        except httpx.HTTPError as error:
            raise SourceRefusedError(
                f"Maximo at MAXIMO_BASE_URL cannot be reached ({type(error).__name__}): look at the address"
            ) from None
    return _read_key(made)


def _read(answer: httpx.Response) -> Any:
    try:
        return load_json(answer.text)
    except (UnreadableDocumentError, UnstorableDocumentError):
        return None


def _code(value: Any) -> str | None:
    error = value.get("Error", value.get("oslc:Error")) if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return None
    return str(error.get("reasonCode", error.get("spi:reasonCode", "unknown")))


def _shown(answer: httpx.Response, code: str | None) -> str:
    return f"HTTP {answer.status_code}" + (f", {code}" if code else "")


def _check_login(answer: httpx.Response) -> None:
    value = _read(answer)
    if 300 <= answer.status_code < 400 or (value is None and answer.status_code in {200, 403, 404}):
        raise AuthError(f"Maximo sends to another page: {_WHERE_A_PERSON_MAKES_ONE}")
    code = _code(value)
    if answer.status_code >= 400 or code is not None:
        raise AuthError(
            f"Maximo refuses the login ({_shown(answer, code)}): look at user "
            "and password. Several wrong ones may block the user"
        )


def _read_key(answer: httpx.Response) -> SecretStr:
    value = _read(answer)
    code = _code(value)
    if code == _HAS_KEY:
        raise KeyExistsError(
            "the user has an API key already, and a second one is refused: read it in Maximo, "
            "Administration, Integration, API Keys, or end it there; where it is the one in use here, "
            "innomaint maximo key revoke ends it"
        )
    key = value.get("apikey") if isinstance(value, dict) else None
    if not isinstance(key, str) or not key.strip():
        raise AuthError(
            f"Maximo made no key ({_shown(answer, code)}): the user may need the right to create one"
        )
    remember_secret(key.strip())
    return SecretStr(key.strip())
