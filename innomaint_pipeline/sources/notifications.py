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

# Apprise names addresses in its own log.
logging.getLogger("apprise").setLevel(logging.CRITICAL)


class Notifier:
    """Sends notices to every configured address.

    Raise `ConfigurationError` for an address nobody understands.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._targets = Apprise()
        for number, address in enumerate(addresses, start=1):
            if not self._targets.add(address):
                raise ConfigurationError(
                    f"INNOMAINT_ALERT_URLS: address {number} of {len(addresses)} (not shown) is not "
                    "understood; expected "
                    "one like mailto://, slack://, msteams:// or json://"
                )

    @property
    def has_targets(self) -> bool:
        """Whether anybody is told."""
        return len(self._targets) > 0

    def send(self, notice: Notice) -> bool:
        """Deliver a notice to all addresses; False when one of them did not take it."""
        title = f"Innomaint sync: {notice.name.replace('_', ' ')} {notice.kind}"
        return bool(
            self._targets.notify(
                body=notice.message,
                title=title,
                notify_type=_TYPES[notice.kind],
                body_format=NotifyFormat.TEXT,
            )
        )


def send_heartbeat(address: str) -> None:
    """Tell an outside dead man's switch that the program lives.

    Raise `ConnectionError` when it does not answer.
    """
    try:
        httpx.get(address, timeout=_HEARTBEAT_TIMEOUT_SECONDS, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise ConnectionError(
            f"the heartbeat address (not shown) did not take the heartbeat: {type(error).__name__}"
        ) from None
