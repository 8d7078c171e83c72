"""One base error; the docstring of a subclass is its default message.

Every error that may reach a door (the command line, the API) carries an exit code and one
sentence that says what to do.
"""

from __future__ import annotations

from typing import ClassVar


class HomeostatError(Exception):
    """Something in Homeostat failed."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        """Use `message`, or the class docstring's first line where none is given."""
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class SettingsError(HomeostatError):
    """The settings are not usable; correct the named variable and start again."""

    exit_code = 78


class UnknownComponentError(HomeostatError):
    """No component has that name; `homeostat component list` shows the names."""

    exit_code = 64


class ComponentLoadError(HomeostatError):
    """A component's module could not be loaded."""


class ProbeFailedError(HomeostatError):
    """A probe did its real job and saw a wrong result."""


class StoreUnavailableError(HomeostatError):
    """The database does not answer; check HOMEOSTAT_DATABASE_URL and that the server is up."""

    exit_code = 69


class BrokerUnavailableError(HomeostatError):
    """The broker does not answer; check HOMEOSTAT_BROKER_URL or run `homeostat up`."""

    exit_code = 69


class StateFolderError(HomeostatError):
    """The state folder cannot be used; make it writable or set HOMEOSTAT_STATE_DIR."""

    exit_code = 73


class AlreadyRunningError(HomeostatError):
    """A stack already runs on this state folder; stop it with `homeostat down` first."""

    exit_code = 75


class MarketDataError(HomeostatError):
    """A market data file cannot be read; it is a wrong argument, as any that Typer refuses."""

    exit_code = 2


class UnsignedTaskError(HomeostatError):
    """A task that causes an effect came without a valid signature and was refused."""


class ActionRefusedError(HomeostatError):
    """Governance refused the action."""

    exit_code = 77
