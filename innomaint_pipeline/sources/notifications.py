"""Telling people, and an outside watchdog: mail, Slack, Teams, webhooks, a heartbeat address.

Belongs here: addresses and formats; what is told, and when, is `domain.alerts`'s. Addresses hold passwords
and tokens: they appear in no message.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import httpx
from apprise import Apprise, NotifyFormat, NotifyType

from innomaint_pipeline.domain.alerts import Notice, NoticeKind
from innomaint_pipeline.errors import ConfigurationError

_HEARTBEAT_TIMEOUT_SECONDS = 10.0
_TYPES = {
    NoticeKind.RAISED: NotifyType.WARNING,
    NoticeKind.REMINDER: NotifyType.WARNING,
    NoticeKind.RECOVERED: NotifyType.SUCCESS,
}

# Each of them names addresses in its own log.
for _name in ("apprise", "httpcore", "httpx", "urllib3.connectionpool"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def refuse_addresses(addresses: Sequence[str]) -> None:
    """Raise `ConfigurationError` for an address that nobody understands, by its number."""
    for number, address in enumerate(addresses, start=1):
        if _understand(address) is None:
            raise ConfigurationError(_refusal(number, len(addresses)))


def _understand(address: str) -> Apprise | None:
    target = Apprise()
    try:
        return target if target.add(address) else None
    except Exception:  # noqa: BLE001 # the plug-in of a service may stumble over its address
        return None


def _refusal(number: int, count: int) -> str:
    return (
        f"INNOMAINT_ALERT_URLS: address {number} of {count} (not shown) is not understood; expected one like "
        "mailto://, slack://, msteams:// or json://"
    )


class Notifier:
    """Sends notices to the configured addresses, which are known by their number, from 1.

    `refusals` says which of them nobody understands; they silence no other. `account` is whose notices they
    are, where there are several.
    """

    def __init__(self, addresses: Sequence[str], *, account: str | None = None) -> None:
        self._whose = "" if account is None else f" of {account}"
        self._targets: dict[int, Apprise] = {}
        self.refusals: list[str] = []
        for number, address in enumerate(addresses, start=1):
            target = _understand(address)
            if target is None:
                self.refusals.append(_refusal(number, len(addresses)))
            else:
                self._targets[number] = target

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the addresses, none when nobody is told."""
        return tuple(self._targets)

    def send(self, notice: Notice, number: int) -> bool:
        """Deliver a notice to an address; False when it did not take it."""
        title = f"Innomaint sync{self._whose}: {notice.name.replace('_', ' ')} {notice.kind}"
        try:
            return bool(
                self._targets[number].notify(
                    body=notice.message,
                    title=title,
                    notify_type=_TYPES[notice.kind],
                    body_format=NotifyFormat.TEXT,
                )
            )
        except Exception:  # noqa: BLE001 # whatever the plug-in of one service does, the others are told
            return False


def send_heartbeat(address: str) -> None:
    """Tell an outside dead man's switch that the program lives.

    Raise `ConnectionError` when it does not answer.
    """
    try:
        httpx.get(address, timeout=_HEARTBEAT_TIMEOUT_SECONDS, trust_env=False).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionError(
            f"the heartbeat address (not shown) did not take the heartbeat: {type(error).__name__}"
        ) from None
