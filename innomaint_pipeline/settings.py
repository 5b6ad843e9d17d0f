"""Every environment variable of the project, once, typed and validated (docs/environment.md).

Nothing is read at import: `load_settings()` reads the environment and a `.env` file in the working directory,
for an account also `.env.<account>`; the environment wins over that, and that over `.env`. Secrets are
`SecretStr`: their values appear in no message, log or repr.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from innomaint_pipeline.accounts import (
    ACCOUNT_FORM,
    WITHOUT_ENV_FILE,
    check_account,
    database_variable,
    env_files,
    own_env_file,
)
from innomaint_pipeline.addresses import is_loopback, is_reached_directly, split_url, split_web_url
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.redaction import remember_secret

SHORTEST_ADMIN_TOKEN_CHARACTERS = 16
DEFAULT_API_URL = "https://app.innomaint.com/api/public/api/restapicontroller"


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


_FILES_OF_BROKER = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


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


UserPath = Annotated[Path, AfterValidator(_expand_home)]


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


Read = TypeVar("Read", bound="AccountSettings")
Token = Annotated[SecretStr, AfterValidator(_check_token)]
PostgresqlUrl = Annotated[SecretStr, AfterValidator(_check_postgresql_url)]


class AccountSettings(BaseSettings):
    """Whom a process works for: what is read first, because it says where all else is read."""

    model_config = SettingsConfigDict(
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    innomaint_account: Annotated[str, AfterValidator(check_account)] | None = Field(
        None, description=f"the name of an account, {ACCOUNT_FORM}"
    )
    innomaint_accounts: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_accounts)
    ] = Field((), description=f"names of accounts, {ACCOUNT_FORM}, separated by commas")


class Settings(AccountSettings):
    """The settings of one process; a field's description says what a person may write."""

    innomaint_api_url: Annotated[str, AfterValidator(_check_api_url)] = Field(
        DEFAULT_API_URL, description="an https:// address, or http:// on this machine"
    )
    innomaint_api_token: Token | None = Field(None, description="the API token, printable ASCII")
    innomaint_ca_file: Annotated[UserPath, AfterValidator(_check_ca_file)] | None = Field(
        None, description="the path of a file of certificates in PEM form"
    )
    innomaint_proxy_url: Annotated[SecretStr, AfterValidator(_check_proxy_url)] | None = Field(
        None, description="an http:// or https:// address with a port, or with user:password@ before its host"
    )
    no_proxy: str | None = Field(None, description="hosts, separated by commas")
    https_proxy: Annotated[SecretStr | None, AfterValidator(_check_default_proxy)] = Field(
        None, description="an http:// or https:// address; INNOMAINT_PROXY_URL is taken before it"
    )
    ssl_cert_file: Annotated[Path | None, AfterValidator(_check_default_ca_file)] = Field(
        None,
        description="the path of a file of certificates in PEM form; INNOMAINT_CA_FILE is taken before it",
    )
    innomaint_workbook: UserPath | None = Field(None, description="the path of the asset master workbook")
    innomaint_rate_ms: int = Field(
        200, ge=0, le=3_600_000, description="whole milliseconds from 0 to 3600000"
    )
    innomaint_max_in_flight: int = Field(8, ge=1, le=64, description="a whole number from 1 to 64")
    innomaint_max_attempts: int = Field(3, ge=1, le=10, description="a whole number from 1 to 10")
    innomaint_retry_base_s: float = Field(1, gt=0, le=60, description="seconds above 0, up to 60")
    innomaint_timeout_s: float = Field(15, gt=0, le=300, description="seconds above 0, up to 300")
    innomaint_batch_size: int = Field(100, ge=1, le=10_000, description="a whole number from 1 to 10000")
    innomaint_sync_interval_s: int = Field(30, ge=5, le=3600, description="whole seconds from 5 to 3600")
    innomaint_refresh_minutes: int = Field(1440, ge=5, le=1440, description="whole minutes from 5 to 1440")
    innomaint_timezone: Annotated[str, AfterValidator(_check_timezone)] = Field(
        "Asia/Kolkata", description="a time zone name like Asia/Kolkata"
    )
    innomaint_home: UserPath = Field(
        Path(".innomaint"), description="a folder for database, logs and compute logs"
    )
    ic3_database_url: PostgresqlUrl | None = Field(None, description="a postgresql:// address")
    dagster_pg_url: PostgresqlUrl | None = Field(None, description="a postgresql:// address")
    innomaint_broker_url: Annotated[SecretStr, AfterValidator(_check_broker_url)] | None = Field(
        None, description="a redis:// or rediss:// address"
    )
    innomaint_worker_slots: int = Field(2, ge=1, le=64, description="a whole number from 1 to 64")
    innomaint_admin_host: Annotated[str, AfterValidator(_check_host)] = Field(
        "127.0.0.1", description="a host name or address to listen on"
    )
    innomaint_admin_port: int = Field(9090, ge=1, le=65535, description="a port from 1 to 65535")
    innomaint_admin_token: Annotated[SecretStr, AfterValidator(_check_admin_token)] | None = Field(
        None, description="the admin token, printable ASCII, at least 16 characters"
    )
    innomaint_trusted_proxy: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split_networks)
    ] = Field((), description="addresses or networks of proxies, like 10.0.0.5 or 10.0.0.0/24")
    innomaint_alert_urls: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_alert_urls)
    ] = Field(
        (),
        description="addresses like mailto:// or slack://, separated by spaces or commas",
        repr=False,
        exclude=True,
    )

    innomaint_heartbeat_url: Annotated[str, AfterValidator(_check_http_url)] | None = Field(
        None, description="an http:// or https:// address", repr=False, exclude=True
    )

    maximo_base_url: Annotated[str, AfterValidator(_check_maximo_url)] | None = Field(
        None, description="an https:// address that ends in the context root, like https://host/maximo"
    )
    maximo_api_route: Literal["api", "oslc"] = Field("api", description="api, or oslc for 7.6.0.9 to 7.6.1")
    maximo_api_key: Token | None = Field(None, description="the API key, printable ASCII")
    maximo_sites: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_sites)
    ] = Field((), description="sites, separated by commas")
    maximo_rate_ms: int = Field(200, ge=0, le=3_600_000, description="whole milliseconds from 0 to 3600000")
    maximo_max_in_flight: int = Field(2, ge=1, le=64, description="a whole number from 1 to 64")
    maximo_max_attempts: int = Field(3, ge=1, le=10, description="a whole number from 1 to 10")
    maximo_retry_base_s: float = Field(1, gt=0, le=60, description="seconds above 0, up to 60")
    maximo_timeout_s: float = Field(120, gt=0, le=3600, description="seconds above 0, up to 3600")
    maximo_max_mb: float = Field(50, gt=0, le=1024, description="megabytes above 0, up to 1024")
    maximo_page_size: Annotated[int | None, AfterValidator(_check_page_size)] = Field(
        None, description="a whole number from 10 to 10000"
    )
    maximo_interval_minutes: int = Field(60, ge=5, le=1440, description="whole minutes from 5 to 1440")
    maximo_overlap_s: int = Field(600, ge=0, le=86_400, description="whole seconds from 0 to 86400")
    maximo_transaction_days: int = Field(365, ge=1, le=36_500, description="whole days from 1 to 36500")
    maximo_max_delete_pct: float = Field(2, ge=0, le=100, description="a percentage from 0 to 100")
    maximo_personal_data: bool = Field(default=False, description="true or false")

    customers_inbox: UserPath | None = Field(
        None, description="the path of a folder of customer lists, or of one"
    )
    customers_interval_minutes: int = Field(30, ge=5, le=1440, description="whole minutes from 5 to 1440")
    customers_max_mb: float = Field(50, gt=0, le=1024, description="megabytes above 0, up to 1024")
    customers_parse_timeout_s: int = Field(60, ge=1, le=3600, description="whole seconds from 1 to 3600")
    customers_parse_mb: int = Field(512, ge=64, le=16_384, description="whole megabytes from 64 to 16384")
    customers_max_drop_pct: float = Field(5, ge=0, le=100, description="a percentage from 0 to 100")
    customers_max_change_pct: float = Field(50, ge=0, le=100, description="a percentage from 0 to 100")
    customers_max_remove_pct: float = Field(0.5, ge=0, le=100, description="a percentage from 0 to 100")
    customers_headers: UserPath | None = Field(
        None, description="the path of a TOML file of further header names"
    )
    customers_timezone: Annotated[str, AfterValidator(_check_timezone)] = Field(
        "Europe/Rome", description="a time zone name like Europe/Rome"
    )
    customers_keep_days: int = Field(30, ge=1, le=3650, description="whole days from 1 to 3650")
    customers_keep_deleted_days: int = Field(365, ge=1, le=36_500, description="whole days from 1 to 36500")

    @property
    def shared_home(self) -> Path:
        """The data folder as an absolute path: the embedded database, Dagster's files, what `up` logs."""
        return self.innomaint_home.resolve()

    @property
    def home(self) -> Path:
        """The folder of what is the account's own; the data folder where there is none."""
        account = self.innomaint_account
        return self.shared_home if account is None else self.shared_home / account

    @property
    def ca_file(self) -> Path | None:
        """The authorities that are trusted for Innomaint instead of the public ones."""
        return self.innomaint_ca_file or self.ssl_cert_file

    @property
    def proxy_url(self) -> SecretStr | None:
        """The proxy to Innomaint; none to this machine: http would leave it, and it would be the proxy's."""
        if is_loopback(urlsplit(self.innomaint_api_url).hostname):
            return None
        return self.innomaint_proxy_url or self.https_proxy

    @property
    def maximo_proxy_url(self) -> SecretStr | None:
        """The proxy to Maximo: that of Innomaint's setting, none to this machine."""
        host = urlsplit(self.maximo_base_url or "").hostname
        return None if is_loopback(host) else self.innomaint_proxy_url or self.https_proxy

    @property
    def has_innomaint(self) -> bool:
        """Tell whether Innomaint is read: its token is set, or no other source is."""
        return self.innomaint_api_token is not None or self.maximo_base_url is None

    def require_maximo(self) -> tuple[str, SecretStr]:
        """Return Maximo's address and key, or raise `ConfigurationError`."""
        if self.maximo_base_url is None:
            raise ConfigurationError(
                "MAXIMO_BASE_URL is not set: it is the address of Maximo with its context root, like "
                "https://host/maximo; put it into the environment or into .env (see .env.example)"
            )
        if self.maximo_api_key is None:
            raise ConfigurationError(
                "MAXIMO_API_KEY is not set: asking Maximo needs an API key; put it into the environment or "
                "into .env. Where login is native, innomaint maximo key create makes one; else a person "
                "makes it in Maximo, Administration, Integration, API Keys"
            )
        return self.maximo_base_url, self.maximo_api_key

    def require_customers(self) -> Path:
        """Return where customer lists arrive, or raise `ConfigurationError`."""
        if self.customers_inbox is None:
            raise ConfigurationError(
                "CUSTOMERS_INBOX is not set: it is the folder in which the ERP's customer lists arrive; put "
                "it into the environment or into .env (see .env.example), or name one list with --file"
            )
        return self.customers_inbox

    def require_token(self) -> SecretStr:
        """Return the API token, or raise `ConfigurationError`: nothing falls back to the simulator."""
        if self.innomaint_api_token is None:
            raise ConfigurationError(
                "INNOMAINT_API_TOKEN is not set: asking Innomaint needs the API token; put it into the "
                "environment or into .env (see .env.example). To try the program without one, run: "
                "innomaint demo"
            )
        return self.innomaint_api_token


SECRET_VARIABLES = frozenset(
    {
        "INNOMAINT_API_TOKEN",
        "MAXIMO_API_KEY",
        "INNOMAINT_ADMIN_TOKEN",
        "IC3_DATABASE_URL",
        "DAGSTER_PG_URL",
        "INNOMAINT_BROKER_URL",
        "INNOMAINT_ALERT_URLS",
        "INNOMAINT_HEARTBEAT_URL",
        "INNOMAINT_PROXY_URL",
        "HTTPS_PROXY",
    }
)


def _complaint(error: ValidationError, file: str) -> str:
    lines: list[str] = []
    for item in error.errors(include_url=False, include_context=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        name = field.upper()
        given = str(item.get("input"))
        # An "@" in an address may follow a password, a "?" or "#" may precede a key.
        is_secret = name in SECRET_VARIABLES or any(sign in given for sign in "@?#")
        value = "its value (not shown)" if is_secret else repr(given)
        known = Settings.model_fields.get(field)
        expected = known.description if known else item["msg"]
        reason = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {value} is not usable ({reason}); expected {expected}")
    where = f"environment or {file or own_env_file(None)}"
    return f"Correct these settings ({where}), then start again:\n  " + "\n  ".join(lines)


def _passwords(address: str) -> Iterator[str]:
    """Yield the password of an address, before its host or behind the question mark, written and meant."""
    if "://" not in address:
        return
    parts = urlsplit(address)
    named = [item.partition("=") for item in parts.query.split("&")]
    for password in (parts.password or "", *(value for name, _, value in named if name == "password")):
        yield from (password, unquote(password))


def _remember_secrets(settings: Settings) -> None:
    for _, value in settings:
        if isinstance(value, SecretStr):
            secret = value.get_secret_value()
            for text in (secret, *_passwords(secret)):
                remember_secret(text)
    for address in (*settings.innomaint_alert_urls, settings.innomaint_heartbeat_url or ""):
        remember_secret(address)


def resolve_variables(settings: Settings) -> dict[str, str]:
    """Return every variable that is set, from the environment or else a file, for processes of any folder.

    With them a process reads the same settings wherever it runs: paths are absolute, and no .env is read.
    """
    given: dict[str, str | None] = {}
    for name in env_files(settings.innomaint_account):
        given |= DotEnvSettingsSource(Settings, env_file=name).env_vars
    given |= EnvSettingsSource(Settings).env_vars
    given["innomaint_account"] = settings.innomaint_account
    resolved = {WITHOUT_ENV_FILE: "1"}
    for field, value in settings:
        text = str(value.absolute()) if isinstance(value, Path) else given.get(field)
        if text:
            resolved[field.upper()] = text
    # A variable may be written in small letters, too.
    return resolved | {name: resolved[name.upper()] for name in os.environ if name.upper() in resolved}


def fingerprint(settings: Settings) -> str:
    """Return what tells two settings apart and shows neither."""
    values = [(field, _plain(value)) for field, value in settings]
    return hashlib.sha256(repr(values).encode("utf-8", "surrogateescape")).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value.absolute() if isinstance(value, Path) else value)


def load_settings() -> Settings:
    """Read and validate every setting of the account that this process works for, or of none.

    The same variables and the same files are read once. Raise `ConfigurationError` naming each bad variable
    (never a secret).
    """
    return load_settings_of(load_accounts().innomaint_account)


def load_settings_of(account: str | None) -> Settings:
    """Read and validate every setting of an account; errors as those of `load_settings`."""
    return _load(Settings, env_files(account), innomaint_account=account)


def load_accounts() -> AccountSettings:
    """Read whom this process works for, and which accounts its folder holds; nothing else is validated."""
    return _load(AccountSettings, env_files(None))


def find_database_url(account: str | None) -> SecretStr | None:
    """Return the address of an account's database in any process of the installation; None where none is set.

    That of the process's own account is IC3_DATABASE_URL; a process that serves several has a variable for
    each.
    """
    url = os.environ.get(database_variable(account)) if account is not None else None
    if url:
        for text in (url, *_passwords(url)):
            remember_secret(text)
        return SecretStr(url)
    own = load_accounts().innomaint_account
    return load_settings_of(own).ic3_database_url if account == own else None


def _load(kind: type[Read], names: tuple[str, ...], **known: str | None) -> Read:
    files = tuple(Path(name).absolute() for name in names)
    # Sensors read them at every look, of which there are some thousands an hour.
    return cast("Read", _read(kind, files, tuple(map(_stamp, files)), frozenset(os.environ.items()), **known))


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return what changes with the content of a file, None where there is none."""
    try:
        found = file.stat() if file.is_file() else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if found else None


@lru_cache(maxsize=8)
def _read(
    kind: type[AccountSettings],
    files: tuple[Path, ...],
    _stamps: object,
    _environment: frozenset[tuple[str, str]],
    **known: str | None,
) -> AccountSettings:
    """Read settings of a kind from files, a later one over an earlier one, and the environment over both."""
    where = " or ".join(file.name for file in files)
    try:
        settings = kind(_env_file=files or None, **known)  # pyright: ignore[reportCallIssue] # from the environment
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"the file {where} in the working directory is not UTF-8 text: save it as UTF-8, then start again"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"the file {where} in the working directory cannot be read ({error.strerror}): make it readable, "
            "or remove it, then start again"
        ) from None
    except ValidationError as error:
        raise ConfigurationError(_complaint(error, files[-1].name if files else "")) from None
    if isinstance(settings, Settings):
        _remember_secrets(settings)
    return settings
