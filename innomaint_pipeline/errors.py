"""Every exception of the project, grouped by what the caller must do.

Belongs here: exception classes, nothing else. Messages say what was found, what was expected, where, and what
to do next; never a secret, never a response body.

Command line exit codes (docs/commands.md) follow from the class: `exit_code`.
"""


class InnomaintPipelineError(Exception):
    """Anything this project raises on purpose; shown to a person as its message, without a traceback."""

    exit_code = 1


class ConfigurationError(InnomaintPipelineError):
    """A setting, an option or a file given by a person is missing or malformed.

    Correct it, then start again.
    """

    exit_code = 2


class SelectionError(ConfigurationError):
    """A run is asked for a batch or for items that it cannot have; nothing was begun."""


class WorkbookError(ConfigurationError):
    """A workbook that cannot be imported at all; names file, sheet and cause."""


class NobodyLooksError(InnomaintPipelineError):
    """Work was stored for Dagster's daemon, and none looks for it: start one, and it is carried out."""

    exit_code = 4


class SourceRefusedError(InnomaintPipelineError):
    """The source as a whole refuses or is unreachable: stop the sync, mark no asset."""

    exit_code = 3


class AuthError(SourceRefusedError):
    """401 or 403: the token is wrong, expired or lacks rights. Repeating does not help."""


class RouteError(SourceRefusedError):
    """The way to the source is closed, by a certificate or a proxy. Repeating does not help.

    The message names the host, or the proxy without its password, and the setting that helps.
    """


class BreakerOpenError(SourceRefusedError):
    """The circuit breaker is open: the source failed for ten items in a row. Repeat later.

    `retry_in_seconds` is the time until the next probe may be sent.
    """

    def __init__(self, message: str, *, retry_in_seconds: float) -> None:
        super().__init__(message)
        self.retry_in_seconds = retry_in_seconds


class TransientSourceError(SourceRefusedError):
    """The source cannot be reached or read for the moment: the same attempt may be repeated."""


class DatabaseError(InnomaintPipelineError):
    """The database is unreachable, refuses, or does not have the expected tables."""

    exit_code = 4


class ConflictError(DatabaseError):
    """A deadlock or serialization failure: nothing was written, the same transaction may be repeated."""


class DiskFullError(DatabaseError):
    """A disk has no room left, the database's or that of the data folder. Repeating does not help."""


class RefusedRowError(DatabaseError):
    """The database refused a row, and nothing was written; `reason` are its own words.

    `is_certain` tells a value or constraint, which is the row's fault, from what a trigger or policy said:
    that is the row's where others are taken, and everybody's where each fails.
    """

    def __init__(self, message: str, *, reason: str, is_certain: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.is_certain = is_certain


class AdoptionError(DatabaseError):
    """Existing tables cannot be adopted; the message names what stands in the way and what helps."""


class RunCancelledError(InnomaintPipelineError):
    """A person or a signal ended the run; what was stored is kept."""

    exit_code = 130


class ReaderEndedError(TransientSourceError):
    """The process that reads a customer list was ended from outside; the file may be read again."""
