"""What the decorators say about a plugin's method, and how that is read from it."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from errklein.commands._arguments import SeparatorArgParser, ShlexArgParser

F = TypeVar("F", bound=Callable[..., Any])

_COMMAND = re.compile(r"(?<![^\s(\"'`*_])!(?=\w)")


class CommandError(Exception):
    """Raised by a command to answer with `reason`, by way of `template` if given; it isn't logged as a fault."""

    def __init__(self, reason: Any, template: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.template = template

    def __str__(self) -> str:
        return str(self.reason)


@dataclass(frozen=True)
class CommandDeclaration:
    """What a decorator says about a method.

    `name` and `aliases`, other names of the same command, have underscores where a chat has spaces. `split_args_with`
    is "" for arguments as one string, else a separator, None for white space, a callable, or something with
    `parse_args`. A command with a `pattern` is given by whatever the pattern is found in: after a prefix, or anywhere
    unless `prefixed`; with `matchall` it gets all matches. `shown` stands for the pattern in help.
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
    shown: str | None = None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CommandDeclaration | None:
        """The declaration in the attributes of a function, which plugins read and write; None if it has none."""
        if not getattr(function, "_err_command", False):
            return None
        regex = bool(getattr(function, "_err_re_command", False))
        return cls(
            name=joined(getattr(function, "_err_command_name", None) or function.__name__),
            split_args_with=getattr(function, "_err_command_split_args_with", ""),
            admin_only=bool(getattr(function, "_err_command_admin_only", False)),
            historize=bool(getattr(function, "_err_command_historize", True)),
            template=getattr(function, "_err_command_template", None),
            syntax=getattr(function, "_err_command_syntax", None),
            hidden=bool(getattr(function, "_err_command_hidden", False)),
            flow_only=bool(getattr(function, "_err_command_flow_only", False)),
            aliases=tuple(joined(alias) for alias in getattr(function, "_errklein_aliases", ())),
            pattern=getattr(function, "_err_command_re_pattern", None) if regex else None,
            matchall=bool(getattr(function, "_err_command_matchall", False)),
            prefixed=bool(getattr(function, "_err_command_prefix_required", True)),
            shown=getattr(function, "_err_command_re_name_help", None),
        )

    @property
    def splits_synchronously(self) -> bool:
        """Whether `split` is known to wait for nothing, as a plugin's own splitter may."""
        splitter = self.split_args_with
        return (
            splitter is None or splitter is shlex.split or type(splitter) in (str, SeparatorArgParser, ShlexArgParser)
        )

    def split(self, args: str) -> Any:
        """The arguments as the handler wants them; raises whatever the splitter raises."""
        splitter = self.split_args_with
        if splitter == "":
            return args
        if splitter is None or isinstance(splitter, str):
            return args.split(splitter)
        if hasattr(splitter, "parse_args"):
            return splitter.parse_args(args)
        return splitter(args)

    def match(self, text: str) -> Any:
        """What the pattern finds in the text, as the handler wants it; None if that is nothing."""
        if self.pattern is None:
            return None
        return (list(self.pattern.finditer(text)) or None) if self.matchall else self.pattern.search(text)


def concurrent(function: F) -> F:
    """Let a command for administrators run beside others of its kind: what ends the bot mustn't wait for what hangs."""
    function._errklein_concurrent = True  # type: ignore[attr-defined]
    return function


def is_concurrent(handler: Callable[..., Any]) -> bool:
    """Whether `concurrent` marks the handler."""
    return bool(getattr(handler, "_errklein_concurrent", False))


def joined(name: str) -> str:
    """A command's name with underscores, as it is known by, where it may have been written with spaces."""
    return "_".join(name.split())


def mark(
    function: F,
    *,
    others: Mapping[str, Any] = MappingProxyType({}),
    name: str | None = None,
    hidden: bool | None = None,
    admin_only: bool = False,
    historize: bool = True,
    template: str | None = None,
    flow_only: bool = False,
    syntax: str | None = None,
    split_args_with: Any = "",
    aliases: Iterable[str] = (),
    threaded: bool | None = None,
) -> F:
    """Write on the function what its decorator was told; `others` are attributes of that kind of command alone."""
    if isinstance(aliases, str):
        raise TypeError(f"{function.__name__}: aliases is a tuple of names, such as ({aliases!r},)")
    attributes = {
        "_err_command": True,
        "_err_re_command": False,
        "_err_arg_command": False,
        "_err_command_name": name or function.__name__,
        "_err_command_split_args_with": split_args_with,
        "_err_command_admin_only": admin_only,
        "_err_command_historize": historize,
        "_err_command_template": template,
        "_err_command_syntax": syntax,
        "_err_command_flow_only": flow_only,
        "_err_command_hidden": flow_only if hidden is None else hidden,
        **others,
    }
    if aliases:
        attributes["_errklein_aliases"] = tuple(aliases)
    if threaded is not None:
        attributes["_errklein_threaded"] = threaded
    for attribute, value in attributes.items():
        setattr(function, attribute, value)
    return function


_OPTIONS = frozenset(inspect.signature(mark).parameters) - {"function", "others"}


def check_options(decorator: str, options: Iterable[str], *, other_than: Collection[str] = ()) -> None:
    """Raise TypeError for options that the decorator doesn't have: any that `mark` doesn't take, and `other_than`."""
    for option in options:
        if option not in _OPTIONS or option in other_than:
            raise TypeError(f"{decorator}() got an unexpected keyword argument {option!r}")


def documentation(handler: Callable[..., Any]) -> str:
    """The command's docstring, without its indentation."""
    return inspect.getdoc(handler) or ""


def with_prefix(text: str, prefix: str) -> str:
    """The text of a docstring, in which commands are written with "!", with what commands here begin with."""
    return _COMMAND.sub(lambda _: prefix, text)
