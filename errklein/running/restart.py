"""A new process in place of this one: offered by whoever started the process, asked for by plugins."""

from __future__ import annotations

from collections.abc import Callable


class CannotRestart(Exception):
    """This process can't be replaced; the text is one line that says why."""


def _nobody() -> None:
    raise CannotRestart("whoever runs this bot has to start it again")


_request: Callable[[], None] = _nobody


def offer_restart(request: Callable[[], None] | None) -> None:
    """From now on `restart` calls `request`, from any thread; it may raise CannotRestart. None takes the offer back."""
    global _request
    _request = request or _nobody


def restart() -> None:
    """Have the bot stop, in order, and the process begin again with the same command line. Returns at once.

    May be called from any thread. Raises CannotRestart.
    """
    _request()
