"""Parsers of command arguments, for the option `split_args_with` and for `@arg_botcmd`."""

from __future__ import annotations

import argparse
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn

ARG_BOTCMD_CHARACTER_REPLACEMENTS = {"—": "--", "“": '"', "”": '"', "‘": "'", "’": "'"}
"""Typographic characters that telephones insert, with the plain characters that replace them."""


class ArgParserBase(ABC):
    """Base class of parsers for the option `split_args_with` of `botcmd`.

    For example, this command handles `!set colour=red`::

        from errklein import BotPlugin, botcmd
        from errklein.commands import ArgParserBase


        class Pair(ArgParserBase):
            def parse_args(self, args):
                key, equals, value = args.partition("=")
                if not equals:
                    raise ValueError("expected KEY=VALUE")
                return key, value


        class Settings(BotPlugin):
            @botcmd(split_args_with=Pair())
            def set(self, msg, args):
                key, value = args
                return f"{key} is {value}."
    """

    @abstractmethod
    def parse_args(self, args: str) -> Any:
        """Return the arguments that the command's method gets.

        :param args: the text after the command.
        :raises Exception: any exception stops the command; the reply contains its text.
        """


class SeparatorArgParser(ArgParserBase):
    """A parser that splits arguments at a separator, as `str.split` does.

    :param separator: the separator, or None for whitespace.
    :param maxsplit: the maximum number of splits, or -1 for no limit.
    """

    def __init__(self, separator: str | None = None, maxsplit: int = -1) -> None:
        self.separator = separator
        self.maxsplit = maxsplit

    def parse_args(self, args: str) -> list[str]:
        """Return the parts between separators."""
        return args.split(self.separator, self.maxsplit)


class ShlexArgParser(ArgParserBase):
    """A parser that splits arguments into words as a shell does: quotes keep words together."""

    def parse_args(self, args: str) -> list[str]:
        """Return the words. Raises ValueError if a quote isn't closed."""
        return shlex.split(args)


class ArgumentParseError(Exception):
    """The arguments are invalid; the text is argparse's message."""


class HelpRequested(Exception):
    """The arguments request the help, which is the text."""


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that raises exceptions in place of printing to the terminal and exiting."""

    # Python 3.14 colours the help by default.
    color = False

    def error(self, message: str) -> NoReturn:
        """Raise ArgumentParseError."""
        raise ArgumentParseError(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise ArgumentParseError."""
        raise ArgumentParseError(message or "")

    def print_help(self, file: Any = None) -> NoReturn:
        """Raise HelpRequested with the help as its text."""
        raise HelpRequested(self.format_help())

    def _print_message(self, message: str, file: Any = None) -> NoReturn:
        # Only actions print otherwise, such as action="version".
        raise HelpRequested(message)

    def parse_command(self, text: str) -> argparse.Namespace:
        """Return the parsed arguments. Raises ArgumentParseError, HelpRequested, or ValueError if a quote isn't closed."""
        return self.parse_args(words_of(text))


def words_of(text: str) -> Sequence[str]:
    """Split the text into words as a shell does, after replacing typographic quotes and dashes by plain ones."""
    for character, plain in ARG_BOTCMD_CHARACTER_REPLACEMENTS.items():
        text = text.replace(character, plain)
    return shlex.split(text)
