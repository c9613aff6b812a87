"""Receipts, which `send` returns: the handle of a message, and whether its network has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from errklein.chat.handles import Handle, MessageRef


# Iterating over it gives the characters of the text: code that iterates expects text.
class Receipt(Handle, Deferred[Handle]):  # type: ignore[misc]
    """The handle of a message, which is text, and a Deferred that fires on the reactor with the handle when the network has it.

    `await sent` waits for the network, as `yield sent` in `inlineCallbacks` does. In a thread, `wait` does. A handler may
    return or yield it: it counts as None, and the network isn't waited for.

    `refs` are the addresses of the message, one for each part, once the network has it; empty on networks without ids.
    """

    refs: Sequence[MessageRef] = ()
    flush: Callable[[], Deferred[None]] = staticmethod(lambda: succeed(None))
    """Returns a Deferred that fires when what was accepted is on disk. The outbox assigns it."""

    result_of: Callable[..., Any] = staticmethod(lambda work, *args, seconds=None: work(*args))
    """`ThreadWaits.result_of`, which lets threads wait. The bot assigns it."""

    _outcome: Handle | Failure | None = None
    _watchers: tuple[Deferred[Handle], ...] = ()

    def __init__(self, text: str) -> None:
        Deferred.__init__(self)

    @property
    def stored(self) -> Any:
        """An awaitable that completes when the message is on disk; in a thread, None once it is."""
        return self.result_of(self.flush)

    def wait(self, seconds: float | None = None) -> Handle:
        """Wait in a thread until the network has the message, and return the handle: `self.send(room, "text").wait(10)`.

        :param seconds: The longest time to wait; None to wait without a limit.
        :raises TimeoutError: The network doesn't have the message within `seconds`. It stays in the outbox.
        :raises RuntimeError: The call is on the reactor, which it would block. Use `await sent` there.
        """
        try:
            handle = self.result_of(self.watch, seconds=seconds)
        except TimeoutError:
            if self._outcome is not None:
                raise
            text = f"{self.network} doesn't have the message within {seconds:g} s; it stays in the outbox"
            raise TimeoutError(text) from None
        if isinstance(handle, Deferred):
            handle.addErrback(lambda _: None).cancel()
            raise RuntimeError("wait() would block the reactor; use `await sent`, or `yield sent` with inlineCallbacks")
        result: Handle = handle
        return result

    def watch(self) -> Deferred[Handle]:
        """Return a Deferred of its own with the result. Call it on the reactor."""
        if self._outcome is not None:
            return fail(self._outcome) if isinstance(self._outcome, Failure) else succeed(self._outcome)
        watcher: Deferred[Handle] = Deferred()
        self._watchers += (watcher,)
        return watcher

    def settle(self, result: Handle | Failure) -> None:
        """Fire on the reactor. A failure that nobody handles isn't logged: the outbox has logged the message itself."""
        self._outcome = result
        self.callback(result)
        if isinstance(result, Failure):
            # Iterating, as `await` does, marks the failure as handled and keeps it for later callbacks.
            with suppress(Exception):
                next(super().__await__(), None)
        for watcher in self._watchers:
            watcher.callback(result)
        self._watchers = ()

    def __await__(self) -> Any:
        # So several may wait, also later, and a coroutine that is cancelled doesn't fail the receipt.
        return self.watch().__await__()

    def __reduce__(self) -> Any:
        return Handle, (str(self),)
