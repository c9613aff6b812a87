"""`@botcmd`: a plugin's method becomes a chat command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])


class CommandError(Exception):
    """Raised by a command to answer with `reason` instead of a result; it isn't logged as a fault.

    With `template`, a template's name, the reason is what the template is rendered with.
    """

    def __init__(self, reason: Any, template: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.template = template

    def __str__(self) -> str:
        return str(self.reason)


@dataclass(frozen=True)
class CommandDeclaration:
    """What `@botcmd` says about a method.

    `name` has underscores where a chat has spaces. `split_args_with` is "" for arguments as one string, else a
    separator, None for white space, a callable, or something with `parse_args`.
    """

    name: str
    split_args_with: Any = ""
    admin_only: bool = False
    historize: bool = True
    template: str | None = None
    syntax: str | None = None
    hidden: bool = False
    flow_only: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CommandDeclaration | None:
        """The declaration that `@botcmd` left on a function or bound method; None if there is none.

        The function's attributes are the source, since plugins and their tests read and write them.
        """
        if not getattr(function, "_err_command", False):
            return None
        return cls(
            name=getattr(function, "_err_command_name", None) or function.__name__,
            split_args_with=getattr(function, "_err_command_split_args_with", ""),
            admin_only=bool(getattr(function, "_err_command_admin_only", False)),
            historize=bool(getattr(function, "_err_command_historize", True)),
            template=getattr(function, "_err_command_template", None),
            syntax=getattr(function, "_err_command_syntax", None),
            hidden=bool(getattr(function, "_err_command_hidden", False)),
            flow_only=bool(getattr(function, "_err_command_flow_only", False)),
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


@overload
def botcmd(function: F, /) -> F: ...


@overload
def botcmd(
    *,
    hidden: bool | None = None,
    name: str | None = None,
    split_args_with: Any = "",
    admin_only: bool = False,
    historize: bool = True,
    template: str | None = None,
    flow_only: bool = False,
    syntax: str | None = None,
    threaded: bool | None = None,
) -> Callable[[F], F]: ...


def botcmd(
    *functions: Any,
    hidden: bool | None = None,
    name: str | None = None,
    split_args_with: Any = "",
    admin_only: bool = False,
    historize: bool = True,
    template: str | None = None,
    flow_only: bool = False,
    syntax: str | None = None,
    threaded: bool | None = None,
) -> Any:
    """Make a plugin's method, called with the message and its arguments, a chat command.

    The command is named `name`, or as the method; underscores stand for spaces. `split_args_with` splits the arguments;
    `admin_only` keeps it for BOT_ADMINS; `hidden` keeps it out of `!help`; `threaded` overrides where it runs (True: a
    pool thread, False: the reactor). What the method returns is the answer; a generator answers with each item.
    """

    def declare(function: F) -> F:
        function._err_command = True  # type: ignore[attr-defined]
        function._err_command_name = name or function.__name__  # type: ignore[attr-defined]
        function._err_command_split_args_with = split_args_with  # type: ignore[attr-defined]
        function._err_command_admin_only = admin_only  # type: ignore[attr-defined]
        function._err_command_historize = historize  # type: ignore[attr-defined]
        function._err_command_template = template  # type: ignore[attr-defined]
        function._err_command_syntax = syntax  # type: ignore[attr-defined]
        function._err_command_flow_only = flow_only  # type: ignore[attr-defined]
        function._err_command_hidden = flow_only if hidden is None else hidden  # type: ignore[attr-defined]
        if threaded is not None:
            function._errklein_threaded = threaded  # type: ignore[attr-defined]
        return function

    if functions:
        return declare(functions[0])
    return declare


def documentation(handler: Callable[..., Any]) -> str:
    """The command's docstring, without its indentation."""
    return inspect.getdoc(handler) or ""
