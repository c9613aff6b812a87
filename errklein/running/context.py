"""What is known about the work in progress, wherever it runs: a handler's context goes with it into its thread."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Generic, TypeVar

from errklein.commands import RegisteredCommand

T = TypeVar("T")

request_id: ContextVar[str] = ContextVar("errklein.request_id", default="-")
"""The id of the request or message being handled, as log lines show it; "-" outside of any."""

handled_network: ContextVar[str] = ContextVar("errklein.network", default="")
"""The name of the network whose message or other event is being handled; "" outside of any."""

running_command: ContextVar[RegisteredCommand | None] = ContextVar("errklein.command", default=None)
"""The command that is running. Its settings decide where its questions are asked."""

sent_by_bot: ContextVar[bool] = ContextVar("errklein.sent_by_bot", default=False)
"""Whether the bot sends a message, so that callback_botmessage has been called for it."""

running_change: ContextVar[object] = ContextVar("errklein.change", default=None)
"""The change to plugins that the running code is a part of; compared by identity. See `errklein.plugins.serial_changes`."""

running_activation: ContextVar[object] = ContextVar("errklein.activation", default=None)
"""The activation of a plugin that the running code is a part of. Read it by `errklein.plugins.activation.current`."""

bot_expected: ContextVar[bool] = ContextVar("errklein.bot_expected", default=False)
"""Whether a network written for errbot that is created now is going to get a bot."""


class assigned(Generic[T]):  # noqa: N801 - used as a function
    """A `with` block in which a context variable has a value, also for what is started there."""

    # Each message passes here several times; a generator would be slower.
    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        self._token = self._variable.set(self._value)

    def __exit__(self, *raised: object) -> None:
        self._variable.reset(self._token)
