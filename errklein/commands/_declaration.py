"""Declarations of commands, which decorators store in the attributes of a plugin's methods, and parsers of arguments."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, NoReturn, TypeVar

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


F = TypeVar("F", bound=Callable[..., Any])

_COMMAND = re.compile(r"(?<![^\s(\"'`*_])!(?=\w)")


class CommandError(Exception):
    """An exception whose text is the reply to a command. It isn't logged as an error.

    Raise it for invalid arguments and other mistakes of the sender::

        from errklein import BotPlugin, CommandError, botcmd


        class Tickets(BotPlugin):
            @botcmd
            def close(self, msg, args):
                "Close a ticket: !close NUMBER"
                if not args.isdecimal():
                    raise CommandError("Usage: !close NUMBER")
                return f"Ticket {args} closed."

    Everyone in the room can read the text, so it should contain no internals. The text of any other exception is sent to
    administrators in private only; everyone else gets an error id, under which the exception is logged.

    :param reason: the text of the reply, in Markdown; with `template`, a dict with the template's values.
    :param template: the name of a file in the plugin's directory `templates`, without `.md`, which is rendered with
        `reason`.
    """

    def __init__(self, reason: Any, template: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.template = template

    def __str__(self) -> str:
        return str(self.reason)


@dataclass(frozen=True)
class CommandDeclaration:
    """The options of a command, as its decorator declared them.

    `name` and `aliases` contain underscores in place of spaces. `split_args_with` is "" for arguments as one string,
    else a separator, None for whitespace, a callable, or an object with `parse_args`. A command with a `pattern` runs
    for messages in which the pattern is found: after a prefix if `prefixed`, else in any message. With `matchall` its
    handler gets all matches. `re_cmd_name_help` replaces the pattern in help. See `botcmd` for the other options.
    """

    name: str
    split_args_with: Any = ""
    admin_only: bool = False
    historize: bool = True
    template: str | None = None
    syntax: str | None = None
    hidden: bool = False
    flow_only: bool = False
    aliases: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    matchall: bool = False
    prefixed: bool = True
    re_cmd_name_help: str | None = None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CommandDeclaration | None:
        """Return the declaration in the function's attributes, or None if it isn't a command.

        The attributes are those of errbot's decorators, which plugins and tests read and write.
        """
        if not getattr(function, "_err_command", False):
            return None
        attributes = ((field.name, _OPTIONS[field.name].attribute) for field in fields(cls))
        values = {name: getattr(function, attribute) for name, attribute in attributes if hasattr(function, attribute)}
        if not getattr(function, "_err_re_command", False):
            values["pattern"] = None
        name = joined(values.pop("name", None) or function.__name__)
        return cls(name, aliases=tuple(map(joined, values.pop("aliases", ()))), **values)

    @property
    def splits_synchronously(self) -> bool:
        """True if `split` never blocks; a plugin's own splitter may block."""
        splitter = self.split_args_with
        return (
            splitter is None or splitter is shlex.split or type(splitter) in (str, SeparatorArgParser, ShlexArgParser)
        )

    def split(self, args: str) -> Any:
        """Return the arguments as the handler expects them. An exception of the splitter is raised as it is."""
        splitter = self.split_args_with
        if splitter == "":
            return args
        if splitter is None or isinstance(splitter, str):
            return args.split(splitter)
        if hasattr(splitter, "parse_args"):
            return splitter.parse_args(args)
        return splitter(args)

    def match(self, text: str) -> Any:
        """Return the match, or with `matchall` the list of matches, of the pattern in the text; None without a match."""
        if self.pattern is None:
            return None
        return (list(self.pattern.finditer(text)) or None) if self.matchall else self.pattern.search(text)


def concurrent(function: F) -> F:
    """Mark an admin-only command as concurrent: it doesn't wait for other admin-only commands.

    A command that stops the bot must not wait for one that hangs.
    """
    function._errklein_concurrent = True  # type: ignore[attr-defined]
    return function


def is_concurrent(handler: Callable[..., Any]) -> bool:
    """Return whether the handler is marked with `concurrent`."""
    return bool(getattr(handler, "_errklein_concurrent", False))


def joined(name: str) -> str:
    """Return the name of a command with underscores in place of spaces."""
    return "_".join(name.split())


_TEXT = (str, type(None))
# errbot takes any value as true or false; a text or a list is a mistake.
_FLAG = (bool, int, type(None))


class _Option(NamedTuple):
    """The attribute of a function that has the option's value, the types of values, and an example."""

    attribute: str
    types: tuple[type, ...]
    example: str


_OPTIONS: Mapping[str, _Option] = {
    "name": _Option("_err_command_name", _TEXT, "'add up'"),
    "split_args_with": _Option("_err_command_split_args_with", _TEXT, "None"),
    "admin_only": _Option("_err_command_admin_only", _FLAG, "True"),
    "historize": _Option("_err_command_historize", _FLAG, "False"),
    "template": _Option("_err_command_template", _TEXT, "'status'"),
    "syntax": _Option("_err_command_syntax", _TEXT, "'[NAME]'"),
    "hidden": _Option("_err_command_hidden", _FLAG, "True"),
    "flow_only": _Option("_err_command_flow_only", _FLAG, "True"),
    "aliases": _Option("_errklein_aliases", (tuple, list, set, frozenset), "('plus', 'sum')"),
    "threaded": _Option("_errklein_threaded", _FLAG, "True"),
    "pattern": _Option("_err_command_re_pattern", (str, re.Pattern), "r'^close #(\\d+)$'"),
    "flags": _Option("", (int,), "re.IGNORECASE"),
    "matchall": _Option("_err_command_matchall", _FLAG, "True"),
    "prefixed": _Option("_err_command_prefix_required", _FLAG, "False"),
    "re_cmd_name_help": _Option("_err_command_re_name_help", _TEXT, "'close #NUMBER'"),
    "unpack_args": _Option("_errklein_unpack_args", _FLAG, "False"),
    "catch_unprocessed": _Option("catch_unprocessed", _FLAG, "True"),
}

_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("name", "template", "syntax", "hidden", "threaded")),
    "split_args_with": "",
    "admin_only": False,
    "historize": True,
    "flow_only": False,
    "aliases": (),
}
"""The options that all decorators of commands have."""


def mark(function: F, kind: str = "", **options: Any) -> F:
    """Store a declaration in the function's attributes, and return the function.

    `kind` is "re" for a command with a pattern, "arg" for one with argparse's arguments.
    """
    given = {**_DEFAULTS, **options}
    given["name"] = given["name"] or function.__name__
    if given["hidden"] is None:
        given["hidden"] = given["flow_only"]
    if given["threaded"] is None:
        del given["threaded"]
    attributes = {"_err_command": True, "_err_re_command": kind == "re", "_err_arg_command": kind == "arg"}
    attributes.update({_OPTIONS[name].attribute: value for name, value in given.items()})
    for attribute, value in attributes.items():
        setattr(function, attribute, value)
    return function


def check_options(decorator: str, options: Iterable[str], *, other_than: Collection[str] = ()) -> None:
    """Raise TypeError for an option that commands don't have, and for those in `other_than`."""
    for option in options:
        if option not in _DEFAULTS or option in other_than:
            raise TypeError(f"{decorator}() got an unexpected keyword argument {option!r}")


def documentation(handler: Callable[..., Any]) -> str:
    """Return the docstring of the command without its indentation, or ""."""
    return inspect.getdoc(handler) or ""


def with_prefix(text: str, prefix: str) -> str:
    """Return a docstring in which the "!" before commands is replaced by the bot's prefix."""
    return _COMMAND.sub(lambda _: prefix, text)


def check_values(decorator: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option with an invalid value."""
    for name, value in options.items():
        valid = isinstance(value, _OPTIONS[name].types)
        if name == "split_args_with":
            valid = valid or callable(value) or hasattr(value, "parse_args")
        elif name == "aliases":
            valid = valid and all(isinstance(alias, str) for alias in value)
        elif name == "pattern":
            valid = valid and not isinstance(getattr(value, "pattern", ""), bytes)
        if not valid:
            raise _invalid(decorator, function, f"invalid {name}: {value!r}", f"{name}={_OPTIONS[name].example}")


def applied(decorator: str, given: Sequence[Any], declare: Callable[[Any], Any], example: str = "") -> Any:
    """Return the decorated function, or without one the decorator.

    :param given: The positional arguments: none, or the function.
    :param example: Options of a valid call, for the error.
    :raises TypeError: There are other positional arguments. If none is a function, it is raised for the method.
    """
    if not given:
        return declare
    if len(given) == 1 and callable(given[0]):
        return declare(given[0])

    def refuse(function: Any) -> Any:
        others = ", ".join(repr(one) for one in given if one is not function)
        raise _invalid(decorator, function, f"unexpected argument {others}; options have names", example)

    return refuse(given[0]) if callable(given[0]) else refuse


def _invalid(decorator: str, function: Any, reason: str, example: str) -> TypeError:
    name = getattr(function, "__qualname__", repr(function))
    return TypeError(f"@{decorator} on {name}: {reason}; write @{decorator}{example and f'({example})'}")
