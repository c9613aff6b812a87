"""The chat commands that come with the bot, each a plugin like any other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from errklein.plugins import BotPlugin

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from errklein.bot import Bot

__all__ = ["CorePlugin", "callable_anywhere"]

P = ParamSpec("P")
S = TypeVar("S", bound=BotPlugin)
T = TypeVar("T")


class CorePlugin(BotPlugin):
    """A plugin that comes with the bot. Its `_bot` has the type of the bot, so that type checkers check what it uses."""

    # Other plugins may use everything that the bot has for errbot's plugins, too.
    _bot: Bot  # type: ignore[assignment]


def callable_anywhere(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], T | Deferred[T]]:
    """Let code of plugins call an `async def` method without `await`.

    In a thread the call blocks until the method has returned. On the reactor the call returns a Deferred of its result.
    """

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        bot = self._bot
        return bot.waits.result_of(lambda: bot.runner.result_of(method(self, *args, **kwargs)))

    return call
