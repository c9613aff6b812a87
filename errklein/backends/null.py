"""A network on which nobody is: for bots that have webhooks only."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import Deferred, succeed

from errklein.backends.base import LocalBackend
from errklein.chat import Message
from errklein.ports import OutboxClosed


class NullBackend(LocalBackend):
    """Accepts every message, and forgets it."""

    mode = "null"

    _disconnected = False

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Accept nothing any more."""
        self._disconnected = True
        return succeed(None)

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Forget the message. Raises ValueError without an addressee, OutboxClosed after `disconnect`."""
        if self._disconnected:
            raise OutboxClosed(f"{self.network} has been left, nothing more is sent there")
        self.check_addressee(message)
        return succeed(None) if self._in_reactor_thread() else None
