"""Methods of plugins that are `async def`, and are called as plain ones."""

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
    """Let another plugin's code call an `async def` method without `await`.

    In a thread the call returns the method's result, or raises its error. On the reactor it returns a Deferred of the
    method, which already runs.
    """

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        bot = self._bot
        return bot.waits.result_of(lambda: bot.runner.settle(method(self, *args, **kwargs)))

    return call
