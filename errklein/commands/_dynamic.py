"""Commands that are made while the bot runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from errklein.commands._decorators import botcmd
from errklein.commands.arg_botcmd import append_argument


class Command:
    """A command for `BotPlugin.create_dynamic_plugin`: a function, and the decorator that makes it one.

    `cmd_type` is the decorator, called with the function, `cmd_args` and `cmd_kwargs`. The function, whose first argument
    is the dynamic plugin, is given the name and the docstring. Raises ValueError for a lambda without a name.
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
                raise ValueError("a lambda has no name of its own: Command needs name=")
            name = function.__name__
        self.name = name
        function.__name__ = name
        if doc is not None:
            function.__doc__ = doc
        self.definition: Callable[..., Any] = (cmd_type or botcmd)(function, *cmd_args, **(cmd_kwargs or {}))

    def append_args(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        """Add one argument, as to `arg_botcmd`; raises ValueError if the command isn't of that type."""
        append_argument(self.definition, args, dict(kwargs))
