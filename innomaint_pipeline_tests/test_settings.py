import traceback
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from innomaint_pipeline.accounts import describe_origin
from innomaint_pipeline.addresses import is_loopback
from innomaint_pipeline.errors import ConfigurationError
from innomaint_pipeline.settings import (
    DEFAULT_API_URL,
    SECRET_VARIABLES,
    Settings,
    fingerprint,
    load_settings,
    load_settings_of,
    resolve_variables,
)

DEFAULTS = {
    "INNOMAINT_ACCOUNT": None,
    "INNOMAINT_ACCOUNTS": (),
    "INNOMAINT_API_URL": "https://app.innomaint.com/api/public/api/restapicontroller",
    "INNOMAINT_API_TOKEN": None,
    "INNOMAINT_WORKBOOK": None,
    "INNOMAINT_RATE_MS": 200,
    "INNOMAINT_MAX_IN_FLIGHT": 8,
    "INNOMAINT_MAX_ATTEMPTS": 3,
    "INNOMAINT_RETRY_BASE_S": 1,
    "INNOMAINT_TIMEOUT_S": 15,
    "INNOMAINT_BATCH_SIZE": 100,
    "INNOMAINT_SYNC_INTERVAL_S": 30,
    "INNOMAINT_REFRESH_MINUTES": 1440,
    "INNOMAINT_TIMEZONE": "Asia/Kolkata",
    "INNOMAINT_HOME": Path(".innomaint"),
    "IC3_DATABASE_URL": None,
    "DAGSTER_PG_URL": None,
    "INNOMAINT_BROKER_URL": None,
    "INNOMAINT_WORKER_SLOTS": 2,
    "INNOMAINT_ADMIN_HOST": "127.0.0.1",
    "INNOMAINT_ADMIN_PORT": 9090,
    "INNOMAINT_ADMIN_TOKEN": None,
    "INNOMAINT_ALERT_URLS": (),
    "INNOMAINT_TRUSTED_PROXY": (),
}
MAXIMO_DEFAULTS = {
    "INNOMAINT_ACCOUNT": None,
    "INNOMAINT_ACCOUNTS": (),
    "MAXIMO_BASE_URL": None,
    "MAXIMO_API_ROUTE": "api",
    "MAXIMO_API_KEY": None,
    "MAXIMO_SITES": (),
    "MAXIMO_RATE_MS": 200,
    "MAXIMO_MAX_IN_FLIGHT": 2,
    "MAXIMO_MAX_ATTEMPTS": 3,
    "MAXIMO_RETRY_BASE_S": 1,
    "MAXIMO_TIMEOUT_S": 120,
    "MAXIMO_MAX_MB": 50,
    "MAXIMO_PAGE_SIZE": None,
    "MAXIMO_INTERVAL_MINUTES": 60,
    "MAXIMO_OVERLAP_S": 600,
    "MAXIMO_TRANSACTION_DAYS": 365,
    "MAXIMO_MAX_DELETE_PCT": 2,
    "MAXIMO_PERSONAL_DATA": False,
}
CUSTOMERS_DEFAULTS = {
    "INNOMAINT_ACCOUNT": None,
    "INNOMAINT_ACCOUNTS": (),
    "CUSTOMERS_INBOX": None,
    "CUSTOMERS_INTERVAL_MINUTES": 30,
    "CUSTOMERS_MAX_MB": 50,
    "CUSTOMERS_PARSE_TIMEOUT_S": 60,
    "CUSTOMERS_PARSE_MB": 512,
    "CUSTOMERS_MAX_DROP_PCT": 5,
    "CUSTOMERS_MAX_CHANGE_PCT": 50,
    "CUSTOMERS_MAX_REMOVE_PCT": 0.5,
    "CUSTOMERS_HEADERS": None,
    "CUSTOMERS_TIMEZONE": "Europe/Rome",
    "CUSTOMERS_KEEP_DAYS": 30,
    "CUSTOMERS_KEEP_DELETED_DAYS": 365,
}
OWN_DEFAULTS = {"INNOMAINT_HEARTBEAT_URL": None, "INNOMAINT_CA_FILE": None, "INNOMAINT_PROXY_URL": None}
OWN_DEFAULTS |= {"HTTPS_PROXY": None, "NO_PROXY": None, "SSL_CERT_FILE": None}
ALL_DEFAULTS = {**DEFAULTS, **MAXIMO_DEFAULTS, **CUSTOMERS_DEFAULTS, **OWN_DEFAULTS}
# Invented, and spelled so that it is found wherever it appears.
SECRET = "Sup3rSecr3tVa1ue"
SECRET_VALUES = {
    "INNOMAINT_API_TOKEN": SECRET,
    "MAXIMO_API_KEY": SECRET,
    "INNOMAINT_ADMIN_TOKEN": SECRET,
    "IC3_DATABASE_URL": f"postgresql://ic3:{SECRET}@db.example/ic3",
    "DAGSTER_PG_URL": f"postgresql+psycopg2://ic3:{SECRET}@db.example/dagster",
    "INNOMAINT_BROKER_URL": f"redis://:{SECRET}@redis.example:6379/0",
    "INNOMAINT_ALERT_URLS": f"https://hooks.example/{SECRET} https://x:{SECRET}@hooks.example/",
    "INNOMAINT_HEARTBEAT_URL": f"https://heartbeat.example/{SECRET}",
    "INNOMAINT_PROXY_URL": f"http://user:{SECRET}@proxy.example:3128",
    "HTTPS_PROXY": f"http://user:{SECRET}@proxy.example:3128",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ALL_DEFAULTS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(tmp_path)


def load(name: str) -> object:
    return plain(getattr(load_settings(), name.lower()))


def plain(value: Any) -> object:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def load_after(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def complaint() -> str:
    """The message of a refusal, of which nothing that a traceback shows may say more."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    return str(caught.value)


# names and defaults


def test_every_variable_of_the_contract_is_a_setting():
    assert set(DEFAULTS) <= {name.upper() for name in Settings.model_fields}


def test_every_setting_has_its_default_here():
    assert {name.upper() for name in Settings.model_fields} == set(ALL_DEFAULTS)


@pytest.mark.parametrize(("name", "default"), ALL_DEFAULTS.items(), ids=ALL_DEFAULTS)
def test_without_an_environment_the_defaults_hold(name, default):
    assert load(name) == default


def test_the_default_address_is_that_of_the_contract():
    assert DEFAULTS["INNOMAINT_API_URL"] == DEFAULT_API_URL


@pytest.mark.parametrize("name", ALL_DEFAULTS)
def test_an_empty_value_counts_as_not_set(name, monkeypatch):
    monkeypatch.setenv(name, "")
    assert load(name) == ALL_DEFAULTS[name]


def test_every_setting_says_what_a_person_may_write():
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_cannot_be_changed_after_loading():
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.innomaint_rate_ms = 0  # pyright: ignore[reportAttributeAccessIssue]


# good values


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("INNOMAINT_API_URL", " https://innomaint.example/api/ ", "https://innomaint.example/api"),
        ("INNOMAINT_API_URL", "http://127.0.0.1:8123/api", "http://127.0.0.1:8123/api"),
        ("INNOMAINT_API_URL", "http://localhost", "http://localhost"),
        ("INNOMAINT_API_URL", "http://[::1]:8123", "http://[::1]:8123"),
        ("INNOMAINT_API_URL", "http://127.8.9.10", "http://127.8.9.10"),
        ("INNOMAINT_API_TOKEN", "  abc.DEF-123_~+/=  ", "abc.DEF-123_~+/="),
        ("INNOMAINT_API_TOKEN", "abc\r\n", "abc"),
        ("INNOMAINT_WORKBOOK", "Asset list.xlsx", Path("Asset list.xlsx")),
        ("INNOMAINT_RATE_MS", "0", 0),
        ("INNOMAINT_RATE_MS", "3600000", 3_600_000),
        ("INNOMAINT_MAX_IN_FLIGHT", "1", 1),
        ("INNOMAINT_MAX_IN_FLIGHT", "64", 64),
        ("INNOMAINT_MAX_ATTEMPTS", "10", 10),
        ("INNOMAINT_RETRY_BASE_S", "0.01", 0.01),
        ("INNOMAINT_TIMEOUT_S", "300", 300.0),
        ("INNOMAINT_BATCH_SIZE", " 50 ", 50),
        ("INNOMAINT_SYNC_INTERVAL_S", "5", 5),
        ("INNOMAINT_REFRESH_MINUTES", "5", 5),
        ("INNOMAINT_TIMEZONE", "Europe/Berlin", "Europe/Berlin"),
        ("INNOMAINT_HOME", "/srv/innomaint", Path("/srv/innomaint")),
        ("IC3_DATABASE_URL", " postgresql://u:p%40ss@h:5432/ic3 ", "postgresql://u:p%40ss@h:5432/ic3"),
        ("IC3_DATABASE_URL", "postgres://h/ic3", "postgres://h/ic3"),
        ("IC3_DATABASE_URL", "postgresql://u:p w@h/ic3", "postgresql://u:p%20w@h/ic3"),
        ("IC3_DATABASE_URL", "postgresql://u:p@h1:1,h2:2/ic3", "postgresql://u:p@h1:1,h2:2/ic3"),
        ("IC3_DATABASE_URL", "postgresql:///?service=ic3", "postgresql:///?service=ic3"),
        ("IC3_DATABASE_URL", "postgresql://u@/ic3?host=/tmp/socket", "postgresql://u@/ic3?host=/tmp/socket"),
        ("DAGSTER_PG_URL", "postgresql+psycopg2://h/d", "postgresql+psycopg2://h/d"),
        ("INNOMAINT_BROKER_URL", " rediss://u:p%40ss@h:6380/1 ", "rediss://u:p%40ss@h:6380/1"),
        ("INNOMAINT_BROKER_URL", "redis://127.0.0.1", "redis://127.0.0.1"),
        ("INNOMAINT_WORKER_SLOTS", "64", 64),
        ("INNOMAINT_ADMIN_HOST", "0.0.0.0", "0.0.0.0"),
        ("INNOMAINT_ADMIN_HOST", " ::1 ", "::1"),
        ("INNOMAINT_ADMIN_PORT", "65535", 65535),
        ("INNOMAINT_ADMIN_TOKEN", "t" * 16, "t" * 16),
        (
            "INNOMAINT_TRUSTED_PROXY",
            "10.0.0.5, fd00::/8",
            (ip_network("10.0.0.5"), ip_network("fd00::/8")),
        ),
        ("INNOMAINT_HEARTBEAT_URL", " https://heartbeat.example/x ", "https://heartbeat.example/x"),
        ("INNOMAINT_PROXY_URL", " http://proxy.example:3128 ", "http://proxy.example:3128"),
        ("INNOMAINT_PROXY_URL", "https://u:p%40ss@proxy.example/", "https://u:p%40ss@proxy.example/"),
        ("INNOMAINT_ALERT_URLS", "https://a.example/x", ("https://a.example/x",)),
        (
            "INNOMAINT_ALERT_URLS",
            " https://a.example/x, http://b.example/y\thttps://c.example ",
            ("https://a.example/x", "http://b.example/y", "https://c.example"),
        ),
    ],
)
def test_a_good_value_is_read(name, written, value, monkeypatch):
    monkeypatch.setenv(name, written)
    assert load(name) == value


def test_the_data_folder_is_an_absolute_path(monkeypatch, tmp_path):
    assert load_settings().home == tmp_path / ".innomaint"
    monkeypatch.setenv("INNOMAINT_HOME", "~/innomaint")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().home == tmp_path / "innomaint"


def test_a_tilde_is_the_home_of_its_user_in_every_path_of_the_settings_and_in_what_is_handed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "own"))
    paths = {"innomaint_home", "innomaint_workbook", "innomaint_ca_file", "ssl_cert_file"}
    paths |= {"customers_inbox", "customers_headers"}
    annotated = {name for name, field in Settings.model_fields.items() if "Path" in str(field.annotation)}
    assert annotated == paths
    for name in sorted(paths - {"ssl_cert_file"}):
        monkeypatch.setenv(name.upper(), "~/own")
    settings = load_settings()
    handed_on = resolve_variables(settings)
    for name in sorted(paths - {"ssl_cert_file"}):
        assert getattr(settings, name) == tmp_path / "own"
        assert handed_on[name.upper()] == str(tmp_path / "own")
    monkeypatch.delenv("INNOMAINT_CA_FILE")
    monkeypatch.setenv("SSL_CERT_FILE", "~/own")
    assert load_settings().ca_file == tmp_path / "own"
    assert resolve_variables(load_settings())["SSL_CERT_FILE"] == str(tmp_path / "own")


@pytest.mark.parametrize("name", ["INNOMAINT_HOME", "INNOMAINT_WORKBOOK", "INNOMAINT_CA_FILE"])
def test_a_tilde_of_nobody_is_refused_in_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "~nobody-of-this-name/data")
    with pytest.raises(ConfigurationError, match=f"{name}: .*the home that ~nobody-of-this-name stands for"):
        load_settings()


# bad values


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("INNOMAINT_API_URL", "app.innomaint.com", "expected an https:// address"),
        ("INNOMAINT_API_URL", "ftp://innomaint.example", "must start with https://"),
        ("INNOMAINT_API_URL", "https://", "name a host"),
        ("INNOMAINT_API_URL", "http://innomaint.example", "the token would travel in clear text"),
        ("INNOMAINT_API_URL", "http://10.0.0.1", "the token would travel in clear text"),
        ("INNOMAINT_API_URL", "http://localhost.example.com", "the token would travel in clear text"),
        ("INNOMAINT_API_URL", "http://127.0.0.1.example.com", "the token would travel in clear text"),
        ("INNOMAINT_API_URL", "https://innomaint.example:99999", "is no address"),
        ("INNOMAINT_API_URL", "https://[::1", "is no address"),
        ("INNOMAINT_API_URL", "https://innomaint.example:0", "a host or port that nobody can have"),
        ("INNOMAINT_API_URL", "https://inno maint.example", "no spaces or control characters"),
        ("INNOMAINT_API_URL", "https://innomaint.example/\napi", "no spaces or control characters"),
        ("INNOMAINT_RATE_MS", "fast", "whole milliseconds from 0 to 3600000"),
        ("INNOMAINT_RATE_MS", "-1", "whole milliseconds from 0 to 3600000"),
        ("INNOMAINT_RATE_MS", "0.5", "whole milliseconds from 0 to 3600000"),
        ("INNOMAINT_RATE_MS", "3600001", "whole milliseconds from 0 to 3600000"),
        ("INNOMAINT_MAX_IN_FLIGHT", "0", "a whole number from 1 to 64"),
        ("INNOMAINT_MAX_IN_FLIGHT", "65", "a whole number from 1 to 64"),
        ("INNOMAINT_MAX_ATTEMPTS", "0", "a whole number from 1 to 10"),
        ("INNOMAINT_MAX_ATTEMPTS", "11", "a whole number from 1 to 10"),
        ("INNOMAINT_RETRY_BASE_S", "0", "seconds above 0, up to 60"),
        ("INNOMAINT_RETRY_BASE_S", "61", "seconds above 0, up to 60"),
        ("INNOMAINT_TIMEOUT_S", "nan", "seconds above 0, up to 300"),
        ("INNOMAINT_TIMEOUT_S", "inf", "seconds above 0, up to 300"),
        ("INNOMAINT_TIMEOUT_S", "0", "seconds above 0, up to 300"),
        ("INNOMAINT_BATCH_SIZE", "0", "a whole number from 1 to 10000"),
        ("INNOMAINT_BATCH_SIZE", "10001", "a whole number from 1 to 10000"),
        ("INNOMAINT_TRUSTED_PROXY", "10.0.0.300", "addresses or networks of proxies"),
        ("INNOMAINT_TRUSTED_PROXY", "proxy.example", "addresses or networks of proxies"),
        ("INNOMAINT_SYNC_INTERVAL_S", "4", "whole seconds from 5 to 3600"),
        ("INNOMAINT_SYNC_INTERVAL_S", "3601", "whole seconds from 5 to 3600"),
        ("INNOMAINT_REFRESH_MINUTES", "4", "whole minutes from 5 to 1440"),
        ("INNOMAINT_REFRESH_MINUTES", "1441", "whole minutes from 5 to 1440"),
        ("INNOMAINT_TIMEZONE", "Bombay", "a time zone name like Asia/Kolkata"),
        ("INNOMAINT_TIMEZONE", "Asia", "a time zone name like Asia/Kolkata"),
        ("INNOMAINT_TIMEZONE", "../etc/passwd", "a time zone name like Asia/Kolkata"),
        ("INNOMAINT_CA_FILE", "missing.pem", "No such file"),
        ("INNOMAINT_CA_FILE", ".", "Is a directory"),
        ("INNOMAINT_CA_FILE", __file__, "holds no certificate in PEM form"),
        ("SSL_CERT_FILE", "missing.pem", "INNOMAINT_CA_FILE is taken before it"),
        ("INNOMAINT_ADMIN_HOST", "two words", "a host name or address to listen on"),
        ("INNOMAINT_ADMIN_HOST", "http://localhost", "a host name or address to listen on"),
        ("INNOMAINT_ADMIN_HOST", "   ", "a host name or address to listen on"),
        ("INNOMAINT_ADMIN_PORT", "0", "a port from 1 to 65535"),
        ("INNOMAINT_ADMIN_PORT", "65536", "a port from 1 to 65535"),
        ("INNOMAINT_ADMIN_PORT", "http", "a port from 1 to 65535"),
    ],
)
def test_a_bad_value_is_reported_with_its_variable_the_value_and_what_is_expected(
    name, written, expected, monkeypatch
):
    monkeypatch.setenv(name, written)
    message = complaint()
    assert f"{name}: {written!r} is not usable" in message
    assert expected in message
    assert f"expected {Settings.model_fields[name.lower()].description}" in message


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("INNOMAINT_API_TOKEN", f"{SECRET} {SECRET}", "printable ASCII"),
        ("INNOMAINT_API_TOKEN", f"{SECRET}\n{SECRET}", "copied with a line break"),
        ("INNOMAINT_API_TOKEN", f"{SECRET}\u2013", "printable ASCII"),
        ("INNOMAINT_API_TOKEN", f"{SECRET}\x7f", "printable ASCII"),
        ("INNOMAINT_API_TOKEN", "   ", "must not be blank"),
        ("INNOMAINT_ADMIN_TOKEN", f"{SECRET} \u00e9", "printable ASCII"),
        ("INNOMAINT_ADMIN_TOKEN", "t" * 15, "shorter than 16 characters"),
        ("INNOMAINT_API_URL", f"https://user:{SECRET}@innomaint.example", "no user, password"),
        ("INNOMAINT_API_URL", f"https://{SECRET}@innomaint.example", "no user, password"),
        ("INNOMAINT_API_URL", f"https://innomaint.example/?token={SECRET}", "no user, password, query"),
        ("INNOMAINT_API_URL", f"https://innomaint.example/#{SECRET}", "no user, password, query"),
        ("IC3_DATABASE_URL", f"mysql://u:{SECRET}@h/ic3", "must start with postgresql://"),
        ("IC3_DATABASE_URL", SECRET, "must start with postgresql://"),
        ("IC3_DATABASE_URL", f"postgresql://u:x#{SECRET}@h/ic3", "is no address"),
        ("IC3_DATABASE_URL", f"postgresql://u:x%{SECRET}@h/ic3", "is no address"),
        ("IC3_DATABASE_URL", f"postgresql://u:x[{SECRET}]x@h/ic3", "is no address"),
        ("IC3_DATABASE_URL", f"postgresql://u:{SECRET}@h\u2100/ic3", "is no address"),
        ("IC3_DATABASE_URL", f"postgresql://u:{SECRET}@h:port/ic3", "is no address"),
        ("DAGSTER_PG_URL", f"sqlite:///{SECRET}", "must start with postgresql://"),
        ("INNOMAINT_BROKER_URL", f"amqp://u:{SECRET}@h:5672/0", "must start with redis://"),
        ("INNOMAINT_BROKER_URL", f"redis://u:{SECRET}@", "name a host"),
        ("INNOMAINT_BROKER_URL", f"redis://h:6379/{SECRET}", "the number of a database"),
        ("INNOMAINT_BROKER_URL", f"redis://h/0?ssl_ca_certs={SECRET}", "with rediss:// alone"),
        ("INNOMAINT_BROKER_URL", f"rediss://h/0?password={SECRET}", "with rediss:// alone"),
        ("INNOMAINT_BROKER_URL", f"rediss://:{SECRET}@h/0?ssl_cert_reqs=reqired", "at required"),
        ("INNOMAINT_BROKER_URL", f"rediss://h/0?ssl_keyfile={SECRET}", "cannot be read"),
        ("INNOMAINT_BROKER_URL", f"rediss://:{SECRET}@h/0?ssl_ca_certs={__file__}", "no certificate"),
        ("INNOMAINT_ALERT_URLS", f"hooks.example/{SECRET}", "must start with its kind"),
        ("INNOMAINT_ALERT_URLS", f"https://ok.example mailto:{SECRET}@x", "must start with its kind"),
        ("INNOMAINT_HEARTBEAT_URL", f"heartbeat.example/{SECRET}", "must start with https://"),
        ("INNOMAINT_HEARTBEAT_URL", f"https://u:x[{SECRET}]x@h/", "is no address"),
        ("INNOMAINT_PROXY_URL", f"user:{SECRET}@proxy.example:3128", "must start with http://"),
        ("INNOMAINT_PROXY_URL", f"socks5://user:{SECRET}@proxy.example", "SOCKS is not supported"),
        ("INNOMAINT_PROXY_URL", f"http://user:{SECRET}@", "name a host"),
        ("INNOMAINT_PROXY_URL", f"http://user:{SECRET}@proxy..example:3128", "nobody can have"),
        ("HTTPS_PROXY", f"socks5://user:{SECRET}@proxy.example", "INNOMAINT_PROXY_URL is taken before it"),
        ("INNOMAINT_PROXY_URL", f"http://user:{SECRET}@proxy.example/x", "after its host and port"),
        ("INNOMAINT_PROXY_URL", f"http://user:x/{SECRET}@proxy.example", "is no address"),
        ("INNOMAINT_PROXY_URL", f"http://proxy.example?{SECRET}", "after its host and port"),
        ("INNOMAINT_ADMIN_HOST", f"user:{SECRET}@host", "is no host name"),
    ],
)
def test_a_bad_secret_is_reported_with_its_variable_and_never_shown(name, written, expected, monkeypatch):
    monkeypatch.setenv(name, written)
    message = complaint()
    assert f"{name}: " in message
    assert "'" not in message
    assert expected in message


def test_a_host_that_nobody_can_have_is_refused_and_every_other_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = [
        "api..example",
        ".example",
        "x" * 64 + ".example",
        ".".join(["label"] * 50),
        "xn--\u00fc.example",
    ]
    refused += [
        "-api.example",
        "api-.example",
        "a%2eb.example",
        "256.1.1.1",
        "1.2.3",
        "\u2603.example",
        "a!b",
    ]
    for host in refused:
        monkeypatch.setenv("INNOMAINT_API_URL", f"https://{host}/v1")
        assert "INNOMAINT_API_URL: " in complaint(), host
    taken = [
        "api.example",
        "api.example.",
        "x" * 63 + ".example",
        "m\u00fcnchen.example",
        "xn--i-7iq.example",
    ]
    taken += ["xn--i-7iq.example", "a_b.example", "intranet", "10.0.0.1", "[2001:db8::1]", "4you.example"]
    for host in taken:
        url = f"https://{host}/v1"
        assert load_after(monkeypatch, INNOMAINT_API_URL=url).innomaint_api_url == url
        assert httpx.URL(url).raw_host


def test_the_proxy_of_all_programs_counts_where_no_other_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(**variables: str) -> object:
        return plain(load_after(monkeypatch, **variables).proxy_url)

    assert proxy(INNOMAINT_API_URL="https://api.example:8443/v1") is None
    assert proxy(https_proxy="proxy.example:3128") == "http://proxy.example:3128"
    for exceptions in ("api.example", ".example", "other, api.example:8443", "a b example", "*"):
        assert proxy(NO_PROXY=exceptions) is None, exceptions
    for exceptions in ("other.example", "pi.example", "api.example:443", "10.0.0.0/8"):
        assert proxy(NO_PROXY=exceptions) == "http://proxy.example:3128", exceptions
    assert proxy(INNOMAINT_API_URL="https://10.1.2.3/v1") is None
    assert proxy(INNOMAINT_PROXY_URL="https://own.example") == "https://own.example"
    # What does not count may be of any form.
    proxied = "https://api.example/v1"
    assert proxy(https_proxy="socks5://x", INNOMAINT_API_URL=proxied) == "https://own.example"
    assert proxy(INNOMAINT_API_URL="http://127.0.0.1:8000") is None
    monkeypatch.delenv("INNOMAINT_PROXY_URL")
    assert proxy() is None


def test_the_certificates_of_all_programs_count_where_no_others_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("all.pem", "own.pem"):
        trustme.CA().cert_pem.write_to_path(str(tmp_path / name))
    assert load_settings().ca_file is None
    assert load_after(monkeypatch, SSL_CERT_FILE="all.pem").ca_file == Path("all.pem")
    assert load_after(monkeypatch, INNOMAINT_CA_FILE="own.pem").ca_file == Path("own.pem")
    assert load_after(monkeypatch, SSL_CERT_FILE="gone.pem").ca_file == Path("own.pem")


def test_all_bad_values_are_reported_at_once(monkeypatch):
    bad = {"INNOMAINT_RATE_MS": "x", "INNOMAINT_TIMEZONE": "x", "INNOMAINT_API_TOKEN": "x y"}
    for name, value in bad.items():
        monkeypatch.setenv(name, value)
    lines = complaint().splitlines()
    assert {line.split(":")[0].strip() for line in lines[1:]} == set(bad)


def test_a_validation_error_of_pydantic_itself_quotes_no_value(monkeypatch):
    monkeypatch.setenv("INNOMAINT_API_TOKEN", f"{SECRET} x")
    with pytest.raises(ValueError, match="innomaint_api_token") as caught:
        Settings()  # pyright: ignore[reportCallIssue]
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


# secrets of good settings


def test_settings_never_show_a_secret(monkeypatch):
    for name, value in SECRET_VALUES.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    shown = [
        *(repr(settings), str(settings), f"{settings}", settings.model_dump_json()),
        *(str(settings.model_dump()), str(list(settings.model_dump(mode="json").values()))),
    ]
    assert all(SECRET not in text for text in shown)
    assert settings.require_token().get_secret_value() == SECRET
    assert all(SECRET in url for url in settings.innomaint_alert_urls)
    assert SECRET in str(settings.innomaint_heartbeat_url)


def test_the_secret_variables_are_all_that_may_hold_one():
    assert set(SECRET_VARIABLES) == set(SECRET_VALUES)


def test_a_missing_token_is_reported_by_name_and_nothing_falls_back():
    with pytest.raises(ConfigurationError, match="INNOMAINT_API_TOKEN is not set") as caught:
        load_settings().require_token()
    assert caught.value.exit_code == 2


# the file .env


def test_the_file_env_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("INNOMAINT_RATE_MS=500\nINNOMAINT_BATCH_SIZE=7\n# a comment\n")
    monkeypatch.setenv("INNOMAINT_RATE_MS", "300")
    settings = load_settings()
    assert (settings.innomaint_rate_ms, settings.innomaint_batch_size) == (300, 7)


def test_an_empty_variable_of_the_environment_leaves_the_file_in_force(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("INNOMAINT_RATE_MS=500\nINNOMAINT_WORKBOOK=\n")
    monkeypatch.setenv("INNOMAINT_RATE_MS", "")
    settings = load_settings()
    assert (settings.innomaint_rate_ms, settings.innomaint_workbook) == (500, None)


def test_the_file_env_of_another_folder_is_not_read(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("INNOMAINT_RATE_MS=500\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_settings().innomaint_rate_ms == 200


def test_variables_of_other_programs_in_the_file_env_are_ignored(tmp_path):
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\nINNOMAINT_RATE_MS=500\n")
    assert load_settings().innomaint_rate_ms == 500


def test_a_byte_order_mark_before_the_file_env_hides_nothing(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfINNOMAINT_RATE_MS=500\r\nINNOMAINT_BATCH_SIZE=7\r\n")
    settings = load_settings()
    assert (settings.innomaint_rate_ms, settings.innomaint_batch_size) == (500, 7)


def test_a_file_env_that_is_no_utf8_is_reported(tmp_path):
    (tmp_path / ".env").write_bytes("INNOMAINT_RATE_MS=500".encode("utf-16"))
    assert ".env in the working directory is not UTF-8" in complaint()


def test_a_bad_secret_in_the_file_env_is_never_shown(tmp_path):
    (tmp_path / ".env").write_text(f"INNOMAINT_API_TOKEN='{SECRET} {SECRET}'\n")
    assert "INNOMAINT_API_TOKEN: its value (not shown)" in complaint()


# loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.1", "::1"])
def test_these_hosts_are_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", [None, "", "0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "127.0.0.1.x", "127.1"]
)
def test_these_hosts_may_be_another_machine(host):
    assert not is_loopback(host)


def test_what_is_handed_on_is_read_the_same_in_any_folder_whatever_env_file_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(
        "INNOMAINT_API_TOKEN='from-the-#-file'\n"
        "INNOMAINT_WORKBOOK=master.xlsx\nINNOMAINT_RATE_MS=7\nhttps_proxy=proxy.example:3128\n"
        "INNOMAINT_ALERT_URLS=json://one.example, json://two.example\n"
    )
    monkeypatch.setenv("INNOMAINT_RATE_MS", "9")
    settings = load_settings()
    handed_on, known = resolve_variables(settings), fingerprint(settings)
    other = tmp_path / "other"
    other.mkdir()
    (other / ".env").write_text("INNOMAINT_API_TOKEN=another\nINNOMAINT_RATE_MS=1\nINNOMAINT_BATCH_SIZE=3\n")
    monkeypatch.chdir(other)
    for name, value in handed_on.items():
        monkeypatch.setenv(name, value)

    read = load_settings()

    assert read.innomaint_rate_ms == 9
    assert read.innomaint_batch_size == 100
    assert read.innomaint_workbook == tmp_path / "master.xlsx"
    assert read.home == tmp_path / ".innomaint"
    assert fingerprint(read) == known
    monkeypatch.setenv("INNOMAINT_API_TOKEN", "another")
    assert fingerprint(load_settings()) != known


def test_where_settings_are_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe_origin(None) == f"the environment alone; there is no .env in {tmp_path}"
    Path(".env").write_text("INNOMAINT_RATE_MS=7\n")
    assert describe_origin(None) == f"{tmp_path / '.env'}, and the environment, which wins"


def test_an_account_reads_its_own_file_over_that_of_all_and_hands_both_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("INNOMAINT_RATE_MS=7\nINNOMAINT_BATCH_SIZE=7\nINNOMAINT_ACCOUNTS=north, south\n")
    Path(".env.north").write_text(
        "INNOMAINT_RATE_MS=5\nINNOMAINT_BATCH_SIZE=\nINNOMAINT_WORKBOOK=north.xlsx\n"
    )
    north, nobody = load_settings_of("north"), load_settings()

    assert (north.innomaint_rate_ms, north.innomaint_batch_size, nobody.innomaint_rate_ms) == (5, 7, 7)
    assert north.innomaint_accounts == ("north", "south")
    assert (north.home, north.shared_home) == (tmp_path / ".innomaint" / "north", tmp_path / ".innomaint")
    assert nobody.home == nobody.shared_home == north.shared_home
    files = f"{tmp_path / '.env.north'} over {tmp_path / '.env'}"
    assert describe_origin("north") == f"{files}, and the environment, which wins"
    monkeypatch.setenv("INNOMAINT_RATE_MS", "3")
    handed_on, home = resolve_variables(load_settings_of("north")), north.home
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    for name, value in handed_on.items():
        monkeypatch.setenv(name, value)

    read = load_settings()

    assert (read.innomaint_account, read.innomaint_rate_ms, read.innomaint_batch_size) == ("north", 3, 7)
    assert (read.home, read.innomaint_workbook) == (home, tmp_path / "north.xlsx")


def test_a_name_that_is_no_account_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (
        *(("INNOMAINT_ACCOUNT", name) for name in ("North", "1st", "a-b", "postgres", "pipeline", "n" * 31)),
        *(("INNOMAINT_ACCOUNTS", names) for names in ("north,South", "north north", "north,demo")),
    ):
        with monkeypatch.context() as variables:
            variables.setenv(variable, value)
            assert variable in complaint()
    assert load_after(monkeypatch, INNOMAINT_ACCOUNT="n" * 30).innomaint_account == "n" * 30


def test_a_maximo_address_without_tls_is_refused_and_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAXIMO_BASE_URL", "http://maximo.example/maximo")
    assert "a proxy that speaks TLS" in complaint()
    monkeypatch.setenv("MAXIMO_BASE_URL", "http://127.0.0.1:8098/maximo")
    monkeypatch.setenv("MAXIMO_SITES", "KDFAC, LCVIRQ,KDFAC")
    assert load_settings().maximo_sites == ("KDFAC", "LCVIRQ")
    monkeypatch.setenv("MAXIMO_SITES", 'A" or 1=1')
    assert "is no site" in complaint()


def test_maximo_needs_an_address_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="MAXIMO_BASE_URL is not set"):
        load_settings().require_maximo()
    monkeypatch.setenv("MAXIMO_BASE_URL", "https://maximo.example/maximo/")
    with pytest.raises(ConfigurationError, match="MAXIMO_API_KEY is not set"):
        load_settings().require_maximo()
