"""The decorator `@arg_botcmd`, for commands whose arguments argparse parses."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from errklein.commands._argument_checks import check_values
from errklein.commands._arguments import ArgumentParseError, ArgumentParser, HelpRequested
from errklein.commands._declaration import mark
from errklein.commands._decorators import CommandOptions

_OPTIONS = {*CommandOptions.__annotations__, "aliases"}


def arg_botcmd(*args: Any, unpack_args: bool = True, **kwargs: Any) -> Any:
    """Turn a method of a plugin into a command, and declare one of its arguments as argparse does.

    Stack one decorator per argument. The lowest one declares the first positional argument::

        from errklein import BotPlugin, arg_botcmd


        class Deployer(BotPlugin):
            @arg_botcmd("--dry-run", action="store_true", help="only show what would happen")
            @arg_botcmd("servers", type=int, help="number of servers")
            @arg_botcmd("branch", help="branch to deploy")
            def deploy(self, msg, branch, servers, dry_run):
                "Deploy a branch."
                return f"{branch} on {servers} servers" + (" (dry run)" if dry_run else "")

    `!deploy main 3 --dry-run` calls `deploy(msg, branch="main", servers=3, dry_run=True)`. Arguments are split as in a
    shell: quotes keep words together. Curly quotes and long dashes, which telephones insert, count as plain ones. If the
    arguments are invalid, the reply is the error and the usage, and the method isn't called. `--help` replies with the
    help of all arguments.

    :param args: the name of a positional argument, or flags such as `"-n", "--dry-run"`; see
        `argparse.ArgumentParser.add_argument`.
    :param unpack_args: whether the method gets each argument by name. With False it gets one `argparse.Namespace`.
    :param kwargs: keyword arguments of `add_argument`. The lowest decorator also takes these options of `botcmd`: `name`,
        `aliases`, `admin_only`, `hidden`, `historize`, `template`, `flow_only` and `threaded`. Those of other decorators are
        ignored, and so is their `unpack_args`.
    :returns: a generator function that parses the arguments and calls the method.
    :raises TypeError: if a keyword argument is unknown, or an option invalid.
    :raises ValueError: if argparse rejects the argument's declaration.
    """
    functions = [given for given in args[:1] if callable(given)]
    names = args[len(functions) :]
    options = {option: kwargs.pop(option) for option in _OPTIONS if option in kwargs}

    def declare(function: Any) -> Any:
        check_values("arg_botcmd", function, {"unpack_args": unpack_args, **options})
        if not hasattr(function, "_err_command_parser"):
            parser = ArgumentParser(prog=options.get("name") or function.__name__, description=function.__doc__)
            function = mark(
                _parsing(function, parser, unpack_args),
                others={
                    "_err_arg_command": True,
                    "_err_command_parser": parser,
                    "_errklein_unpack_args": unpack_args,
                },
                **options,
            )
        append_argument(function, names, kwargs)
        return function

    return declare(functions[0]) if functions else declare


def append_argument(function: Any, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    """Add an argument to a command that `arg_botcmd` created. Raises ValueError for any other command."""
    parser = getattr(function, "_err_command_parser", None)
    if parser is None:
        raise ValueError(f"{function.__name__} has no argument parser; arguments can only be added to an arg_botcmd")
    args = tuple(args)
    if args or kwargs:
        try:
            if not all(isinstance(name, str) for name in args):
                raise TypeError("the name of an argument must be a text, such as 'servers' or '--dry-run'")
            parser.add_argument(*args, **kwargs)
        except (TypeError, ValueError) as error:
            shown = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
            raise type(error)(f"@arg_botcmd({shown}) on {function.__qualname__}: {error}") from None
    function.__doc__ = parser.format_help()
    function._err_command_syntax = parser.format_usage().removeprefix(f"usage: {parser.prog} ").strip()


def _parsing(function: Any, parser: ArgumentParser, unpack_args: bool) -> Any:
    """Return a generator function, async if `function` is, that parses the arguments and yields the function's replies."""

    def call(plugin: Any, msg: Any, given: argparse.Namespace) -> Any:
        return function(plugin, msg, **vars(given)) if unpack_args else function(plugin, msg, given)

    wrapper: Callable[..., Any]
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        items = inspect.isasyncgenfunction(function)

        @wraps(function)
        async def wrapper(plugin: Any, msg: Any, args: str | None) -> AsyncIterator[Any]:
            given, replies = _parsed(parser, args or "")
            for reply in replies:
                yield reply
            if given is None:
                return
            if items:
                async for item in call(plugin, msg, given):
                    yield item
            else:
                yield await call(plugin, msg, given)

    else:
        generates = inspect.isgeneratorfunction(function)

        @wraps(function)
        def wrapper(plugin: Any, msg: Any, args: str | None) -> Iterator[Any]:
            given, replies = _parsed(parser, args or "")
            yield from replies
            if given is not None and generates:
                yield from call(plugin, msg, given)
            elif given is not None:
                yield call(plugin, msg, given)

    return wrapper


def _parsed(parser: ArgumentParser, text: str) -> tuple[argparse.Namespace | None, list[str]]:
    """Return the parsed arguments and no replies, or None and the replies to an error or to `--help`."""
    try:
        return parser.parse_command(text), []
    except ArgumentParseError as error:
        return None, [f"I couldn't parse the arguments; {error}", parser.format_usage()]
    except HelpRequested as requested:
        return None, [str(requested)]
    except ValueError as error:
        return None, [f"I couldn't parse this command; {error}", parser.format_help()]
