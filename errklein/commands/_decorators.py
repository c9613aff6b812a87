"""`@botcmd`, `@re_botcmd`, `@botmatch` and `@cmdfilter`: a plugin's method becomes a command, or sees all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack, overload

from errklein.commands._declaration import check_options, mark

F = TypeVar("F", bound=Callable[..., Any])


class CommandOptions(TypedDict, total=False):
    """The options of `botcmd` that commands found by a pattern have, too."""

    hidden: bool | None
    name: str | None
    admin_only: bool
    historize: bool
    template: str | None
    flow_only: bool
    threaded: bool | None


_PATTERN_OPTIONS = frozenset(("flags", "matchall", "re_cmd_name_help"))
"""Options of `botmatch` that `botcmd` doesn't have."""


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
    aliases: Iterable[str] = (),
    threaded: bool | None = None,
) -> Callable[[F], F]: ...


def botcmd(*functions: Any, **options: Any) -> Any:
    """Make a plugin's method, called with the message and its arguments, a chat command.

    The command is named `name`, or as the method; underscores stand for spaces. `aliases` are other names for it.
    `split_args_with` splits the arguments; `admin_only` keeps it for BOT_ADMINS; `hidden` keeps it out of `!help`;
    `historize=False` keeps it out of the history; `flow_only` keeps it for flows; `syntax` is shown in them.
    `threaded` overrides where it runs (True: a pool thread, False: the reactor). What the method returns is the answer;
    a generator answers with each item. With `template` the answer is that template, rendered with the dict returned.
    Raises TypeError for an unknown option.
    """
    check_options("botcmd", options)
    declare: Any = partial(mark, **options)
    return declare(functions[0]) if functions else declare


def re_botcmd(
    *functions: Any,
    pattern: str | re.Pattern[str] | None = None,
    flags: int = 0,
    matchall: bool = False,
    prefixed: bool = True,
    re_cmd_name_help: str | None = None,
    **options: Unpack[CommandOptions],
) -> Any:
    """Make a plugin's method a command that is given by any text in which the regular expression `pattern` is found.

    The method gets the message and the match, with `matchall` a list of all matches. The text has to follow a prefix
    unless `prefixed` is False. Every such command that is found runs, if the text isn't a command with a name.
    `re_cmd_name_help` is shown in help in place of the pattern. Raises ValueError without a pattern, re.error for a
    bad one. The rest is as for `botcmd`.
    """
    check_options("re_botcmd", options, other_than=("syntax",))
    if pattern is None:
        raise ValueError("a command that is found by a pattern needs one: pattern=r'…'")
    compiled = re.compile(pattern, flags)
    own = {
        "_err_re_command": True,
        "_err_command_re_pattern": compiled,
        "_err_command_matchall": matchall,
        "_err_command_prefix_required": prefixed,
        "_err_command_re_name_help": re_cmd_name_help,
    }
    declare = partial(mark, others=own, syntax=compiled.pattern, **options)
    return declare(functions[0]) if functions else declare


def botmatch(*args: Any, **options: Any) -> Any:
    """As `re_botcmd` for text without any prefix: `@botmatch(r"pattern")`, with the same options.

    `botmatch(function, r"pattern")` decorates the function at once. Raises ValueError without a pattern.
    """
    functions = [given for given in args[:1] if callable(given)]
    patterns = [*args[len(functions) :], *([options.pop("pattern")] if "pattern" in options else [])]
    if len(patterns) != 1:
        raise ValueError("botmatch needs one pattern: @botmatch(r'…')")
    check_options("botmatch", options.keys() - _PATTERN_OPTIONS, other_than=("syntax",))
    return re_botcmd(*functions, pattern=patterns[0], prefixed=False, **options)


def cmdfilter(*functions: Any, catch_unprocessed: bool = False, threaded: bool | None = None) -> Any:
    """Make a plugin's method see each command before it runs, and decide about it.

    It is called with the message, the command's name, its arguments as one string, and `dry_run`, which is True if the
    question is only whether the command would be let through; then the arguments are None. It returns these three,
    changed or not, as `(msg, cmd, args)`; a message of None, or any exception, stops the command without an answer.
    With `catch_unprocessed` it is also called, with `emptycmd=True`, for what begins with a prefix and is no command:
    what it returns then is the answer.
    """

    def declare(function: Any) -> Any:
        function._err_command_filter = True
        function.catch_unprocessed = catch_unprocessed
        if threaded is not None:
            function._errklein_threaded = threaded
        return function

    return declare(functions[0]) if functions else declare
