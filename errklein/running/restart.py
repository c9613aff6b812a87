"""The error of a restart that isn't possible."""

from __future__ import annotations

from typing import NoReturn


class CannotRestart(Exception):
    """This process can't be restarted. The text is one line with the reason."""


def cannot_restart() -> NoReturn:
    """Raise CannotRestart. Used as the restart function of a bot that isn't run by twistd."""
    raise CannotRestart("the program that runs this bot must start it again")
