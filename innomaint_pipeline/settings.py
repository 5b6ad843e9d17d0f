"""Every environment variable of the project, once, typed and validated (docs/environment.md).

Nothing is read at import: `load_settings()` reads the environment and a `.env` file in the working directory,
for an account also `.env.<account>`; the environment wins over that, and that over `.env`. Secrets are
`SecretStr`: their values appear in no message, log or repr.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
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
from innomaint_pipeline.addresses import is_loopback
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.redaction import remember_secret
from innomaint_pipeline.setting_types import (
    Accounts,
    AdminToken,
    AlertUrls,
    ApiUrl,
    BrokerUrl,
    CaFile,
    DefaultCaFile,
    DefaultProxyUrl,
    Host,
    HttpUrl,
    MaximoUrl,
    Networks,
    PageSize,
    PostgresqlUrl,
    ProxyUrl,
    Sites,
    TimeZoneName,
    Token,
    UserPath,
)

DEFAULT_API_URL = "https://app.innomaint.com/api/public/api/restapicontroller"


Read = TypeVar("Read", bound="AccountSettings")


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
    innomaint_accounts: Accounts = Field(
        (), description=f"names of accounts, {ACCOUNT_FORM}, separated by commas"
    )


class Settings(AccountSettings):
    """The settings of one process; a field's description says what a person may write."""

    innomaint_api_url: ApiUrl = Field(
        DEFAULT_API_URL, description="an https:// address, or http:// on this machine"
    )
    innomaint_api_token: Token | None = Field(None, description="the API token, printable ASCII")
    innomaint_ca_file: CaFile | None = Field(
        None, description="the path of a file of certificates in PEM form"
    )
    innomaint_proxy_url: ProxyUrl | None = Field(
        None, description="an http:// or https:// address with a port, or with user:password@ before its host"
    )
    no_proxy: str | None = Field(None, description="hosts, separated by commas")
    https_proxy: DefaultProxyUrl = Field(
        None, description="an http:// or https:// address; INNOMAINT_PROXY_URL is taken before it"
    )
    ssl_cert_file: DefaultCaFile = Field(
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
    innomaint_timezone: TimeZoneName = Field("Asia/Kolkata", description="a time zone name like Asia/Kolkata")
    innomaint_home: UserPath = Field(
        Path(".innomaint"), description="a folder for database, logs and compute logs"
    )
    ic3_database_url: PostgresqlUrl | None = Field(None, description="a postgresql:// address")
    dagster_pg_url: PostgresqlUrl | None = Field(None, description="a postgresql:// address")
    innomaint_broker_url: BrokerUrl | None = Field(None, description="a redis:// or rediss:// address")
    innomaint_worker_slots: int = Field(2, ge=1, le=64, description="a whole number from 1 to 64")
    innomaint_admin_host: Host = Field("127.0.0.1", description="a host name or address to listen on")
    innomaint_admin_port: int = Field(9090, ge=1, le=65535, description="a port from 1 to 65535")
    innomaint_admin_token: AdminToken | None = Field(
        None, description="the admin token, printable ASCII, at least 16 characters"
    )
    innomaint_trusted_proxy: Networks = Field(
        (), description="addresses or networks of proxies, like 10.0.0.5 or 10.0.0.0/24"
    )
    innomaint_alert_urls: AlertUrls = Field(
        (),
        description="addresses like mailto:// or slack://, separated by spaces or commas",
        repr=False,
        exclude=True,
    )

    innomaint_heartbeat_url: HttpUrl | None = Field(
        None, description="an http:// or https:// address", repr=False, exclude=True
    )

    maximo_base_url: MaximoUrl | None = Field(
        None, description="an https:// address that ends in the context root, like https://host/maximo"
    )
    maximo_api_route: Literal["api", "oslc"] = Field("api", description="api, or oslc for 7.6.0.9 to 7.6.1")
    maximo_api_key: Token | None = Field(None, description="the API key, printable ASCII")
    maximo_sites: Sites = Field((), description="sites, separated by commas")
    maximo_rate_ms: int = Field(200, ge=0, le=3_600_000, description="whole milliseconds from 0 to 3600000")
    maximo_max_in_flight: int = Field(2, ge=1, le=64, description="a whole number from 1 to 64")
    maximo_max_attempts: int = Field(3, ge=1, le=10, description="a whole number from 1 to 10")
    maximo_retry_base_s: float = Field(1, gt=0, le=60, description="seconds above 0, up to 60")
    maximo_timeout_s: float = Field(120, gt=0, le=3600, description="seconds above 0, up to 3600")
    maximo_max_mb: float = Field(50, gt=0, le=1024, description="megabytes above 0, up to 1024")
    maximo_page_size: PageSize = Field(None, description="a whole number from 10 to 10000")
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
    customers_timezone: TimeZoneName = Field("Europe/Rome", description="a time zone name like Europe/Rome")
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
