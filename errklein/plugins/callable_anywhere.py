"""A decorator for `async def` methods that other plugins call as plain methods."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from errklein.plugins.botplugin import BotPlugin

P = ParamSpec("P")
S = TypeVar("S", bound="BotPlugin")
T = TypeVar("T")


def callable_anywhere(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], T | Deferred[T]]:
    """Let code of plugins call an `async def` method without `await`.

    In a thread the call blocks, and returns the method's result or raises its exception. On the reactor the method starts at
    once, and the call returns a Deferred of its result.
    """

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        bot = self._bot
        return bot.waits.result_of(lambda: bot.runner.settle(method(self, *args, **kwargs)))

    return call
