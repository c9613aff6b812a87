"""The error of a restart that isn't possible."""

from __future__ import annotations


class CannotRestart(Exception):
    """This process can't be restarted; the text is one line that says why."""


def cannot_restart() -> None:
    """Raise CannotRestart. It is the restart function of a bot that something other than twistd runs."""
    raise CannotRestart("whoever runs this bot has to start it again")
