"""What each account has for itself while `innomaint up` runs: variables, a database, an admin service.

Without accounts there is one part, which has everything. Belongs here: what is done once for each account,
and that the trouble of one leaves the others alone.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from innomaint_pipeline.accounts import database_variable, location_name
from innomaint_pipeline.cli.environment import (
    Addresses,
    dagster_variables,
    open_database,
    upgrade_own,
)
from innomaint_pipeline.cli.output import say
from innomaint_pipeline.cli.processes import KeptProcess, ProcessKeeper
from innomaint_pipeline.cli.serving import (
    TOKEN_VARIABLE,
    announce,
    make_token,
    page_address,
    refuse_taken_port,
)
from innomaint_pipeline.embedded.server import embedded_postgres, find_running
from innomaint_pipeline.errors import ConfigurationError, DatabaseError
from innomaint_pipeline.settings import Settings
from innomaint_pipeline.store.database import Database
from innomaint_pipeline.store.leases import UP_LEASE, acquire_lease, find_leases
from innomaint_pipeline.sync.holding import keep_lease

_AGAIN_SECONDS = 10

StartWork = Callable[[Settings, Database], None]
"""What a source does at the start: before Dagster runs, or a few seconds after everything does."""


@dataclass
class AccountPart:
    """What is one account's of an `up`; `variables` are those of its processes."""

    settings: Settings
    variables: dict[str, str] = field(repr=False)
    admin_port: int
    database: Database | None = None
    addresses: Addresses | None = None
    is_lost: threading.Event = field(default_factory=threading.Event)
    _made_token: SecretStr | None = field(default=None, repr=False)

    @property
    def account(self) -> str | None:
        """The account's name."""
        return self.settings.innomaint_account

    @property
    def label(self) -> str:
        """What tells its lines from those of other accounts."""
        return "" if self.account is None else f"{self.account}: "

    @property
    def location(self) -> str:
        """The name of its code location."""
        return location_name(self.account)

    def name_process(self, name: str) -> str:
        """Return the name of a process of the account, which is that of its log."""
        return name if self.account is None else f"{name}-{self.account}"

    def refuse_port(self, port: int) -> None:
        """Raise `ConfigurationError` where the admin service cannot have its port beside that of the UI."""
        if port == self.admin_port:
            raise ConfigurationError(
                f"{self.label}--port and --admin-port are both {port}: give another to one of them"
            )
        refuse_taken_port(self.settings.innomaint_admin_host, self.admin_port, "--admin-port")

    def start_admin(self, keeper: ProcessKeeper, dagster_url: str) -> None:
        """Start the admin service.

        Its token travels in its environment: a command line can be read by every user of the machine.
        """
        given = self.settings.innomaint_admin_token
        token = given or make_token()
        self._made_token = None if given else token
        command = [sys.executable, "-m", "innomaint_pipeline.cli", "serve", "--quiet"]
        command += ["--host", self.settings.innomaint_admin_host, "--port", str(self.admin_port)]
        command += ["--dagster-url", dagster_url]
        variables = {**self.variables, TOKEN_VARIABLE: token.get_secret_value()}
        name = self.name_process("admin-service")
        keeper.start(KeptProcess(name, command, f"{self.label}The admin service", variables))

    @property
    def health_url(self) -> str:
        """The address at which this machine asks whether the admin service runs."""
        page = page_address(self.settings.innomaint_admin_host, self.admin_port)
        return f"{page.removesuffix('/sync')}/healthz"

    def announce(self) -> None:
        """Tell people where the page is."""
        announce(self.settings.innomaint_admin_host, self.admin_port, self._made_token, account=self.account)


class Databases:
    """Opens each account's database, holds it against an `up` of another folder, and does `first_work`."""

    def __init__(
        self, stack: ExitStack, home: Path, first_work: Sequence[StartWork], *, is_alone: bool
    ) -> None:
        self._stack = stack
        self._home = home
        self._first_work = first_work
        self._is_alone = is_alone
        self._tried_at: dict[str | None, float] = {}
        self._is_embedded = False

    def open(self, part: AccountPart) -> bool:
        """Open, upgrade and hold a database; tell where that is in vain, and return whether it was not.

        Raise `DatabaseError` where there is no other account, whose part goes on.
        """
        try:
            with ExitStack() as attempt:
                self._open(part, attempt)
                self._stack.push(attempt.pop_all())
        except DatabaseError as error:
            if self._is_alone:
                raise
            part.database = part.addresses = None
            self._tried_at[part.account] = time.monotonic()
            say(f"{part.label}{error}. It is tried again, every {_AGAIN_SECONDS} s.")
            return False
        return True

    def _open(self, part: AccountPart, attempt: ExitStack) -> None:
        part.database, part.addresses = attempt.enter_context(
            open_database(part.settings, uses_dagster=True, is_upgraded_next=True)
        )
        self._is_embedded = self._is_embedded or part.addresses.is_embedded
        for line in upgrade_own(part.settings, part.database):
            say(f"{part.label}{line}")
        _hold(attempt, part.database, self._home, part.is_lost)
        for work in self._first_work:
            work(part.settings, part.database)

    def look(self, parts: Sequence[AccountPart], on_open: Callable[[AccountPart], None]) -> None:
        """Start the embedded server again where it has ended, and open what was away."""
        if self._is_embedded and find_running(self._home) is None:
            say("The embedded database has ended and is started again.")
            self._stack.enter_context(embedded_postgres(self._home))
        for part in parts:
            is_due = time.monotonic() - self._tried_at.get(part.account, 0.0) >= _AGAIN_SECONDS
            if part.database is None and is_due and self.open(part):
                on_open(part)


def _hold(stack: ExitStack, database: Database, home: Path, is_lost: threading.Event) -> None:
    """Hold a database against an `up` of another folder; the event is set when it was lost to one.

    An `up` of the same home comes back at once: whoever holds the home is the only one.
    """
    owner = f"{socket.gethostname()}, in {home}"
    with database.begin() as connection:
        if not acquire_lease(connection, UP_LEASE, owner):
            holder = next((lease.owner for lease in find_leases(connection, UP_LEASE)), "somebody else")
            raise ConfigurationError(
                f"innomaint up runs already on these databases (on {holder}), and only one may: stop it "
                "first, or set IC3_DATABASE_URL to another database"
            )
    stack.enter_context(keep_lease(database, UP_LEASE, owner, on_lost=is_lost.set))


def share_variables(parts: Sequence[AccountPart]) -> str:
    """Set what Dagster's processes read: in this process what all have in common, in each part its own.

    The daemon looks after the runs of all, and finds the database of each in a variable of its own. Return
    the address of Dagster's database.
    """
    addresses = next((part.addresses for part in parts if part.addresses is not None), None)
    if addresses is None:
        raise DatabaseError("the database of no account can be used; the reasons stand above")
    shared = dagster_variables(parts[0].settings, addresses)
    os.environ.update(shared)
    for part in parts:
        part.variables |= shared
        own = part.settings.ic3_database_url
        url = part.addresses.ic3_url if part.addresses else own.get_secret_value() if own else ""
        if url:
            part.variables["IC3_DATABASE_URL"] = url
            name = "IC3_DATABASE_URL" if part.account is None else database_variable(part.account)
            os.environ[name] = url
    return addresses.dagster_url
