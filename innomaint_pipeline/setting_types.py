"""What a person may write as the value of a setting: the types of `Settings`' fields.

Belongs here: the form of one value, and words for what is wrong with it. A message never holds the value: it
may be a secret. Raised as `ValueError`, which `settings` reports with the name of the variable.
"""

from __future__ import annotations

import re
import ssl
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from pydantic_settings import NoDecode

from innomaint_pipeline.accounts import check_account
from innomaint_pipeline.addresses import is_loopback, is_reached_directly, split_url, split_web_url

SHORTEST_ADMIN_TOKEN_CHARACTERS = 16
_FILES_OF_BROKER = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def _check_api_url(value: str) -> str:
    parts = split_web_url(value.strip())
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must start with https:// and name a host")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(
            "http is only allowed for this machine (127.0.0.1): the token would travel in clear text"
        )
    return value.strip().rstrip("/")


def _check_maximo_url(value: str) -> str:
    try:
        return _check_api_url(value)
    except ValueError as error:
        if "http is only allowed" in str(error):
            raise ValueError(
                "http is only allowed for this machine (127.0.0.1): the key would travel in clear text. "
                "Where Maximo itself speaks http alone, a proxy that speaks TLS before it helps"
            ) from None
        raise


def _check_http_url(value: str) -> str:
    parts = split_web_url(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must start with https:// or http:// and name a host")
    return value.strip()


def _check_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip()
    if not token:
        raise ValueError("must not be blank")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("must be printable ASCII without spaces inside; was it copied with a line break?")
    return SecretStr(token)


def _check_admin_token(value: SecretStr) -> SecretStr:
    token = _check_token(value)
    if len(token.get_secret_value()) < SHORTEST_ADMIN_TOKEN_CHARACTERS:
        raise ValueError(
            f"is shorter than {SHORTEST_ADMIN_TOKEN_CHARACTERS} characters, so that it could be guessed"
        )
    return token


def _check_postgresql_url(value: SecretStr) -> SecretStr:
    # A blank can only be meant as itself.
    text = value.get_secret_value().strip().replace(" ", "%20")
    kind, _, rest = text.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, hosts = authority.rpartition("@")
    # Several hosts are parted by commas, each with a port of its own.
    for host in hosts.split(","):
        parts = split_url(f"{kind}://{user}{at}{host}{rest.removeprefix(authority)}")
        if parts.scheme.split("+")[0] not in {"postgresql", "postgres"}:
            raise ValueError("must start with postgresql://")
    if "@" in user or re.search("%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("is no address: in a password, @ : / ? # % are %40 %3A %2F %3F %23 %25")
    return SecretStr(text)


def _check_broker_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    parts = split_web_url(text)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("must start with redis:// or rediss:// and name a host")
    if not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError("must end with the number of a database, like /0")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if (options and parts.scheme != "rediss") or set(options) - {"ssl_cert_reqs", *_FILES_OF_BROKER}:
        raise ValueError(
            f"takes, with rediss:// alone, ssl_cert_reqs, {', '.join(_FILES_OF_BROKER)} after a ?"
        )
    if options.get("ssl_cert_reqs", "required") != "required":
        # Celery takes a word that it does not know for "none".
        raise ValueError("must leave ssl_cert_reqs at required: without it, anybody could pose as this Redis")
    for name in _FILES_OF_BROKER:
        if name in options:
            _check_file_of_broker(name, Path(options[name]))
    return SecretStr(text)


def _check_file_of_broker(name: str, path: Path) -> None:
    try:
        path.read_bytes()
        if name == "ssl_ca_certs":
            _check_ca_file(path)
    except OSError as error:
        raise ValueError(f"names in {name} a file that cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"names in {name} a file that {error}") from None


def _expand_home(value: Path) -> Path:
    """Return the path with ~ replaced by the home of its user; nothing else in the project does so."""
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError(f"the home that {value.parts[0]} stands for is not known: write it out") from None


def _check_ca_file(path: Path) -> Path:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("holds no certificate in PEM form") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if context.cert_store_stats()["x509"] == 0:
        raise ValueError("holds no certificate in PEM form")
    return path


def _check_proxy_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    parts = split_web_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must start with http:// or https:// and name a host; SOCKS is not supported")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end after its host and port; in a password, / ? # are %2F %3F %23")
    return SecretStr(text)


def _check_default_proxy(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Return the proxy of all programs where it counts; one that does not count may be of any form."""
    api = urlsplit(info.data.get("innomaint_api_url", ""))
    has_own = info.data.get("innomaint_proxy_url", "refused") is not None
    if value is None or has_own or not api.hostname or is_loopback(api.hostname):
        return None
    if is_reached_directly(api, info.data.get("no_proxy") or ""):
        return None
    text = value.get_secret_value().strip()
    # Other programs take a host and port alone.
    return _check_proxy_url(SecretStr(text if "://" in text else f"http://{text}"))


def _check_default_ca_file(value: Path | None, info: ValidationInfo) -> Path | None:
    """Return the authorities of all programs where they count; a file that does not count may be missing."""
    has_own = info.data.get("innomaint_ca_file", "refused") is not None
    return None if value is None or has_own else _check_ca_file(_expand_home(value))


def _check_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is no name of the time zone database") from None
    return value


def _check_host(value: str) -> str:
    host = value.strip()
    if not host or not host.isprintable() or any(character in " /@" for character in host):
        raise ValueError("is no host name or address")
    return host


def _check_alert_urls(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all("://" in url and url.split("://", 1)[0] for url in value):
        raise ValueError("each must start with its kind, like mailto://, slack://, msteams:// or https://")
    return value


def _split(value: object) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _split_networks(value: object) -> object:
    try:
        return tuple(ip_network(item) for item in _split(value)) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(str(error)) from None


def _check_accounts(value: tuple[str, ...]) -> tuple[str, ...]:
    for account in value:
        try:
            check_account(account)
        except ValueError as error:
            raise ValueError(f"{account} {error}") from None
    if len(set(value)) < len(value):
        raise ValueError("names an account twice")
    return value


def _check_sites(value: tuple[str, ...]) -> tuple[str, ...]:
    for site in value:
        check_site(site)
    return tuple(dict.fromkeys(value))


def check_site(site: str) -> str:
    """Return the name of a Maximo site; raise `ValueError` for what is none: it goes into a query."""
    if not re.fullmatch(r"[\w.-]{1,8}", site):
        raise ValueError(f"{site!r} is no site: at most 8 letters, digits, dots, dashes or underscores")
    return site


def _check_page_size(value: int | None) -> int | None:
    if value is not None and not 10 <= value <= 10_000:
        raise ValueError("must lie between 10 and 10000")
    return value


ApiUrl = Annotated[str, AfterValidator(_check_api_url)]
MaximoUrl = Annotated[str, AfterValidator(_check_maximo_url)]
HttpUrl = Annotated[str, AfterValidator(_check_http_url)]
PostgresqlUrl = Annotated[SecretStr, AfterValidator(_check_postgresql_url)]
BrokerUrl = Annotated[SecretStr, AfterValidator(_check_broker_url)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_check_proxy_url)]
DefaultProxyUrl = Annotated[SecretStr | None, AfterValidator(_check_default_proxy)]
AlertUrls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_alert_urls)]
Token = Annotated[SecretStr, AfterValidator(_check_token)]
AdminToken = Annotated[SecretStr, AfterValidator(_check_admin_token)]
UserPath = Annotated[Path, AfterValidator(_expand_home)]
CaFile = Annotated[UserPath, AfterValidator(_check_ca_file)]
DefaultCaFile = Annotated[Path | None, AfterValidator(_check_default_ca_file)]
Host = Annotated[str, AfterValidator(_check_host)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split_networks)]
TimeZoneName = Annotated[str, AfterValidator(_check_timezone)]
Accounts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_accounts)]
Sites = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_sites)]
PageSize = Annotated[int | None, AfterValidator(_check_page_size)]
