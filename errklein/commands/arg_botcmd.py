"""`@arg_botcmd`: a command whose arguments are declared one by one, as for argparse."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from errklein.commands._arguments import ArgumentParseError, ArgumentParser, HelpRequested
from errklein.commands._declaration import mark
from errklein.commands._decorators import CommandOptions

_OPTIONS = {*CommandOptions.__annotations__, "aliases"}


def arg_botcmd(*args: Any, unpack_args: bool = True, **kwargs: Any) -> Any:
    """Declare one argument of a command, with what `argparse.ArgumentParser.add_argument` takes; may be repeated.

    Of several decorators on a method the lowest one comes first, and only its own options of `botcmd` count. The method
    gets the message and each value by name or, with `unpack_args=False`, all in one namespace. Typographic quotes and
    dashes are taken for plain ones. Mistakes and `--help` are answered with the usage; the method isn't called.
    """
    functions = [given for given in args[:1] if callable(given)]
    names = args[len(functions) :]
    options = {option: kwargs.pop(option) for option in _OPTIONS if option in kwargs}

    def declare(function: Any) -> Any:
        if not hasattr(function, "_err_command_parser"):
            parser = ArgumentParser(prog=options.get("name") or function.__name__, description=function.__doc__)
            function = mark(
                _parsing(function, parser, unpack_args),
                others={"_err_arg_command": True, "_err_command_parser": parser},
                **options,
            )
        append_argument(function, names, kwargs)
        return function

    return declare(functions[0]) if functions else declare


def append_argument(function: Any, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    """Add an argument to a command that `arg_botcmd` has made. Raises ValueError for anything else."""
    parser = getattr(function, "_err_command_parser", None)
    if parser is None:
        raise ValueError(f"{function.__name__} takes no declared arguments; only commands made by arg_botcmd do")
    args = tuple(args)
    if args or kwargs:
        parser.add_argument(*args, **kwargs)
    function.__doc__ = parser.format_help()
    function._err_command_syntax = parser.format_usage().removeprefix(f"usage: {parser.prog} ").strip()


def _parsing(function: Any, parser: ArgumentParser, unpack_args: bool) -> Any:
    """A generator function, `async` if the function is, that parses the arguments and answers as the function does."""

    def call(plugin: Any, msg: Any, given: argparse.Namespace) -> Any:
        return function(plugin, msg, **vars(given)) if unpack_args else function(plugin, msg, given)

    wrapper: Callable[..., Any]
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        items = inspect.isasyncgenfunction(function)

        @wraps(function)
        async def wrapper(plugin: Any, msg: Any, args: str | None) -> AsyncIterator[Any]:
            given, answers = _parsed(parser, args or "")
            for answer in answers:
                yield answer
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
            given, answers = _parsed(parser, args or "")
            yield from answers
            if given is not None and generates:
                yield from call(plugin, msg, given)
            elif given is not None:
                yield call(plugin, msg, given)

    return wrapper


def _parsed(parser: ArgumentParser, text: str) -> tuple[argparse.Namespace | None, list[str]]:
    """The values of the arguments, or else None and what to answer instead."""
    try:
        return parser.parse_command(text), []
    except ArgumentParseError as error:
        return None, [f"I couldn't parse the arguments; {error}", parser.format_usage()]
    except HelpRequested as requested:
        return None, [str(requested)]
    except ValueError as error:
        return None, [f"I couldn't parse this command; {error}", parser.format_help()]
