"""The events of a network, for tests with real time."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.task import deferLater

from errklein.chat import Message
from errklein.testing.backend_contract import RecordedEvents

PATIENCE = 15.0
"""The seconds after which what is waited for is taken for missing."""


class Events(RecordedEvents):
    """Records events, and lets tests wait for them."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor

    def messages_undelivered(self, backend: Any, *report: Any, waiting: bool) -> None:
        """Record it."""
        self.recorded.append(("messages_undelivered", *report, waiting))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of the calls of one method."""
        return [call[1:] for call in self.recorded if call[0] == name]

    @property
    def texts(self) -> list[str]:
        """The texts of the messages that may be commands."""
        return [message.body for message in self.messages if not message.delayed]

    @property
    def delayed(self) -> list[str]:
        """The texts of missed messages."""
        return [message.body for message in self.messages if message.delayed]

    async def until(self, check: Any, what: str) -> Any:
        """Wait until the check returns something true, and return that."""
        until = time.monotonic() + PATIENCE
        while not (found := check()):
            if time.monotonic() > until:
                raise AssertionError(f"{what} has not happened; events: {self.recorded}")
            await deferLater(self._reactor, 0.01)
        return found

    async def hear(self, text: str) -> Message:
        """Wait for a message, and return it."""
        found: list[Message] = await self.until(
            lambda: [message for message in self.messages if message.body == text], f"the message {text!r}"
        )
        return found[0]
