"""Parsers for a command's arguments: what `split_args_with` takes, and what `@arg_botcmd` is built on."""

from __future__ import annotations

import argparse
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn

ARG_BOTCMD_CHARACTER_REPLACEMENTS = {"—": "--", "“": '"', "”": '"', "‘": "'", "’": "'"}
"""What telephones and word processors make of typed text, and what was meant."""


class ArgParserBase(ABC):
    """Something for `split_args_with`: turns the arguments as they were typed into what the method gets."""

    @abstractmethod
    def parse_args(self, args: str) -> Any:
        """What the method gets; whatever is raised is told to whom gave the command, which doesn't run."""


class SeparatorArgParser(ArgParserBase):
    """Splits at a separator, None being white space, at most `maxsplit` times; -1 is without limit."""

    def __init__(self, separator: str | None = None, maxsplit: int = -1) -> None:
        self.separator = separator
        self.maxsplit = maxsplit

    def parse_args(self, args: str) -> list[str]:
        """The parts."""
        return args.split(self.separator, self.maxsplit)


class ShlexArgParser(ArgParserBase):
    """Splits as a shell does: quotes keep words together."""

    def parse_args(self, args: str) -> list[str]:
        """The words; raises ValueError if a quote isn't closed."""
        return shlex.split(args)


class ArgumentParseError(Exception):
    """Arguments aren't what the command takes; the text says why."""


class HelpRequested(Exception):
    """The arguments ask for help instead, which is the text."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser, for a program that outlives a mistake: it raises instead of printing and exiting."""

    # Colours are for terminals; Python 3.14 has them on.
    color = False

    def error(self, message: str) -> NoReturn:
        """Raise ArgumentParseError."""
        raise ArgumentParseError(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise ArgumentParseError."""
        raise ArgumentParseError(message or "")

    def print_help(self, file: Any = None) -> NoReturn:
        """Raise HelpRequested with the help."""
        raise HelpRequested(self.format_help())

    def _print_message(self, message: str, file: Any = None) -> NoReturn:
        # What is left to print is asked for by arguments, as with action="version".
        raise HelpRequested(message)

    def parse_command(self, text: str) -> argparse.Namespace:
        """The values in a line of chat. Raises ArgumentParseError, HelpRequested, or ValueError (unclosed quote)."""
        return self.parse_args(words_of(text))


def words_of(text: str) -> Sequence[str]:
    """The words of a line of chat as a shell would have them, with typographic quotes and dashes as what was meant."""
    for character, meant in ARG_BOTCMD_CHARACTER_REPLACEMENTS.items():
        text = text.replace(character, meant)
    return shlex.split(text)
