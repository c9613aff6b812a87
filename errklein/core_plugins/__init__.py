"""The core plugins, which provide the bot's own chat commands.

Each is a plugin with a `.plug` file, like those of operators. CORE_PLUGINS selects which of them are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from errklein.chat import Identifier, Message
from errklein.commands import CommandError
from errklein.commands.operations import Actor
from errklein.logs import escape
from errklein.plugins import BotPlugin
from errklein.text import code, plain, truncated
from errklein.text.masking import masker

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from errklein.bot import CoreHost

__all__ = ["CorePlugin", "callable_anywhere", "shown_lines"]

P = ParamSpec("P")
S = TypeVar("S", bound=BotPlugin)
T = TypeVar("T")


class CorePlugin(BotPlugin):
    """Base class of core plugins, whose commands work while plugins hold all threads."""

    @cached_property
    def host(self) -> CoreHost:
        """The operations of administrators, and what core plugins read of the bot."""
        host: CoreHost = self._bot.core_host
        return host

    def actor(self, message: Message) -> Actor:
        """Return the sender of a message, who performs an operation."""
        return self.host.actor(message)

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """Return the Markdown of a template."""
        return self.host.dispatcher.replies.process_template(template, values, self.name)

    def __init_subclass__(cls, **options: object) -> None:
        """Mark the commands of the class as the core's."""
        super().__init_subclass__(**options)
        for function in vars(cls).values():
            if getattr(function, "_err_command", False):
                function._errklein_core = True

    def identifier_of(self, name: str) -> Identifier:
        """Return the person or room of that name. Call it in a thread: networks of errbot's backends may ask a server.

        Raises CommandError if the name is invalid.
        """
        try:
            return self.build_identifier(name)
        except ValueError as error:
            raise CommandError(f"{code(name)} is not a valid name: {plain(str(error))}") from error


def callable_anywhere(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], T | Deferred[T]]:
    """Wrap an async method so that plugins can call it without `await`.

    In a thread, the call blocks until the method has returned. On the reactor, the call returns a Deferred of the result.
    """

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        bot = self._bot
        return bot.waits.result_of(lambda: bot.runner.result_of(method(self, *args, **kwargs)))

    return call


def shown_lines(lines: Sequence[str], most: int = 300) -> list[str]:
    """Return lines as Markdown, each with at most so many characters. Texts from outside are masked, shortened and escaped."""
    return [plain(truncated(escape(masker(" ".join(line.split()))), most)) for line in lines]
