"""Commands created at run time, for dynamic plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from errklein.commands._decorators import botcmd
from errklein.commands.arg_botcmd import append_argument


class Command:
    """A command for a plugin created at run time, with `BotPlugin.create_dynamic_plugin`.

    For example, `!count sheep` creates the command `!sheep`::

        from errklein import BotPlugin, Command, botcmd


        class Counters(BotPlugin):
            @botcmd
            def count(self, msg, args):
                "Create a command that counts: !count NAME"
                total = 0

                def increment(plugin, msg, args):
                    nonlocal total
                    total += 1
                    return f"{args or 'total'}: {total}"

                self.create_dynamic_plugin(args, [Command(increment, name=args, doc="Count.")])
                return f"Try !{args}."

    The function's first argument is the dynamic plugin; the others are those of the command type. The function itself
    gets the name and the docstring.

    :param function: the function that handles the command.
    :param cmd_type: the decorator, such as `arg_botcmd` or `botmatch`; by default `botcmd`.
    :param cmd_args: positional arguments for the decorator, after the function.
    :param cmd_kwargs: keyword arguments for the decorator.
    :param name: the name of the command; by default that of the function. It is required for a lambda.
    :param doc: the docstring of the command.
    :raises ValueError: if the function is a lambda and `name` is missing.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        cmd_type: Callable[..., Any] | None = None,
        cmd_args: Iterable[Any] = (),
        cmd_kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        doc: str | None = None,
    ) -> None:
        if name is None:
            if function.__name__ == "<lambda>":
                raise ValueError("Command requires a name for a lambda: Command(lambda …, name='hello')")
            name = function.__name__
        self.name = name
        function.__name__ = name
        if doc is not None:
            function.__doc__ = doc
        self.definition: Callable[..., Any] = (cmd_type or botcmd)(function, *cmd_args, **(cmd_kwargs or {}))

    def append_args(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        """Declare another argument of a command with `cmd_type=arg_botcmd`.

        :param args: names or flags, as for `arg_botcmd`.
        :param kwargs: keyword arguments of `argparse.ArgumentParser.add_argument`.
        :raises ValueError: if the command is of another type.
        """
        append_argument(self.definition, args, dict(kwargs))
