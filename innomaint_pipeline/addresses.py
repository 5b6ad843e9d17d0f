"""What an address may be: its form, its host, and whether it is this machine.

Belongs here: what is true of the addresses of any program. Which variable takes which address is `settings`.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass_environment  # pyright: ignore[reportAttributeAccessIssue] # has it

import idna

_LONGEST_HOST_CHARACTERS = 253
_HOST_LABEL = re.compile("[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE | re.ASCII)


def is_loopback(host: str | None) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if not host:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_url(text: str) -> SplitResult:
    """Split an address of any kind; raises `ValueError` for what is none, without a word of its password."""
    if not text.isprintable() or " " in text:
        raise ValueError("must hold no spaces or control characters")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        # Python's own message may quote a part of a password.
        raise ValueError(
            "is no address: look at its host and port; in a password, @ : / # are %40 %3A %2F %23"
        ) from None
    return parts


def split_web_url(text: str) -> SplitResult:
    """Split an address of http or https; refuse one whose host or port nobody can have."""
    parts = split_url(text)
    if parts.hostname and (not _is_possible_host(parts.hostname) or parts.port == 0):
        raise ValueError(
            "names a host or port that nobody can have: between dots stand 1 to 63 letters, digits and "
            "hyphens, or it is an IP address"
        )
    return parts


def _is_possible_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return True
    try:
        name = host if host.isascii() else idna.encode(host.lower()).decode()
    except UnicodeError:
        return False
    labels = name.removesuffix(".").split(".")
    # What ends in a number is an IP address, or none.
    return (
        len(name) <= _LONGEST_HOST_CHARACTERS
        and all(_HOST_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
    )


def is_reached_directly(url: SplitResult, no_proxy: str) -> bool:
    """Tell whether NO_PROXY, hosts and networks separated by commas, excepts an address from the proxy."""
    host = url.hostname or ""
    exceptions = no_proxy.replace(",", " ").split()
    if proxy_bypass_environment(f"{host}:{url.port or 443}", {"no": ",".join(exceptions)}):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in map(_read_network, exceptions) if network is not None)


def _read_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
