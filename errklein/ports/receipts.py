"""Receipts, which `send` returns: the handle of a message, and whether its network has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from errklein.chat.handles import Handle, MessageRef


def _at_once() -> Deferred[None]:
    return succeed(None)


# Iterating over it gives the characters of the text: code that iterates expects text.
class Receipt(Handle, Deferred[Handle]):  # type: ignore[misc]
    """The handle of a message, which is text, and a Deferred that fires on the reactor with the handle when the network has it.

    `await sent` waits for the network, as `yield sent` in `inlineCallbacks` does. In a thread, `wait` does.

    :param network: The name of the network.
    :param key: The key of the message.
    :param flush: Returns a Deferred that fires when what was accepted is on disk.
    """

    def __new__(cls, network: str, key: str, flush: Callable[[], Deferred[None]] = _at_once) -> Receipt:
        """Return the text; see the class."""
        return super().__new__(cls, f"{network}/{key}")

    def __init__(self, network: str, key: str, flush: Callable[[], Deferred[None]] = _at_once) -> None:
        Deferred.__init__(self)
        self._flush = flush
        self.refs: Sequence[MessageRef] = ()
        """The addresses of the message, one for each part, once the network has it; empty on networks without ids."""

    @property
    def stored(self) -> Deferred[None]:
        """A Deferred that fires when the message is on disk. Read it on the reactor."""
        return self._flush()

    def settle(self, result: Handle | Failure) -> None:
        """Fire on the reactor. A failure that nobody handles isn't logged: the outbox has logged the message itself."""
        self.callback(result)
        # Iterating, as `await` does, marks the failure as handled and keeps it for later callbacks.
        with suppress(Exception):
            next(self.__await__(), None)

    def __reduce__(self) -> Any:
        return Handle, (str(self),)
