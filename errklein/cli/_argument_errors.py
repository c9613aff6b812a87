"""Errors about a command line: one line with a suggestion, instead of argparse's usage block."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from errklein.text.suggestions import did_you_mean, renamed


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line. The exit status is 2, as argparse's.

    Parsed arguments have the parser of the command as `parser`, which reports errors that are found later.
    """

    help_command = ""
    """The command line that prints the help; by default the parser's, with --help."""

    options_elsewhere: Mapping[str, str] = {}
    """Options of other commands, with the commands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        """Print the error, and exit with status 2. Called by argparse with its own message."""
        self.exit(2, f"{self.prog}: {self._readable(message)}\n")

    def _readable(self, message: str) -> str:
        help_command = self.help_command or f"{self.prog} --help"
        if found := re.match(r"argument (COMMAND|ACTION): invalid choice: '(.*?)'", message):
            kind = found[1].lower()
            listed = self._expected() if kind == "action" else ""
            meant = renamed(found[2]) or did_you_mean(found[2], self._choices()) or f"{listed}."
            return f"unknown {kind} {found[2]!r}{meant} '{help_command}' lists the {kind}s."
        if found := re.match("unrecognized arguments: (.*)", message):
            return unexpected(found[1].split(" ")[0], self._options(), help_command, self.options_elsewhere)
        if found := re.match(r"the following arguments are required: (COMMAND|ACTION)$", message):
            kind = found[1].lower()
            hint = "'errklein init bot' creates a bot in the folder bot, and " if kind == "command" else ""
            return f"the {kind} is missing{self._expected() if kind == 'action' else ''}; {hint}'{help_command}' lists the {kind}s"
        if found := re.match("the following arguments are required: (.*)", message):
            usage = " ".join(self.format_usage().split()).removeprefix("usage: ")
            return f"the argument {found[1]} is missing; usage: {usage}"
        if found := re.match("argument ([^ ]+): expected one argument", message):
            option = max(found[1].split("/"), key=len)
            return f"the value of {option} is missing; '{help_command}' describes it"
        return f"{message}; '{help_command}' shows the arguments"

    def _expected(self) -> str:
        return f"; expected one of {', '.join(self._choices())}"

    def _choices(self) -> list[str]:
        return [name for action in self._actions if isinstance(action.choices, dict) for name in action.choices]

    def _options(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings]


def unexpected(
    argument: str, options: Collection[str], help_command: str, elsewhere: Mapping[str, str] | None = None
) -> str:
    """Return the error about an unknown option, with a suggestion, or about an argument that isn't an option."""
    option = argument.partition("=")[0]
    if not option.startswith("-"):
        return f"unexpected argument {argument!r}; '{help_command}' shows the arguments"
    if elsewhere and option in elsewhere:
        return f"unknown option {option!r}; it is an option of '{elsewhere[option]}'"
    if meant := renamed(option):
        return f"unknown option {option!r}{meant}"
    meant = did_you_mean(option, [known for known in options if known.startswith("--")]) if option[1:2] == "-" else ""
    return f"unknown option {option!r}{meant or '.'} '{help_command}' lists the options."
