"""The threads of a backend written for errbot: the one in which it runs, and the one that sends its messages."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.backends.outbox import NotConfirmed
from errklein.chat import Identifier, Message
from errklein.chat.outgoing import OutgoingMessage
from errklein.compat.backends._messages import is_card, restored
from errklein.compat.core import ErrBot, part_of
from errklein.running import WorkerPool, cancel_timers, on_reactor_soon
from errklein.running.context import assigned, sent_by_bot
from errklein.text import estimated_parts, split_message

T = TypeVar("T")


class NetworkThread:
    """A daemon thread that executes functions one at a time: those of `do`, then that of `begin`.

    The thread has its own asyncio event loop, like a main thread. The loop runs only if the backend runs it.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._busy = threading.Lock()
        self._interruptible = False
        self._thread.start()

    def do(self, function: Callable[[], T]) -> T:
        """Call the function in the thread and wait; return its result or raise its exception."""
        done: Future[T] = Future()

        def job() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self._jobs.put(job)
        return done.result()

    def begin(self, function: Callable[[], None], ended: Callable[[], None]) -> None:
        """Call the function in the thread, and then `ended` in the same thread.

        Returns at once; `interrupt` stops the function.
        """

        def job() -> None:
            try:
                with self._busy:
                    self._interruptible = True
                function()
            except KeyboardInterrupt:
                pass
            finally:
                with self._busy:
                    self._interruptible = False
                ended()

        self._jobs.put(job)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the function of `begin`, as Ctrl-C does in a main thread.

        It is raised when the thread next executes Python code or an iteration of its asyncio loop.
        """
        with self._busy:
            if not self._interruptible:
                return
            loop = self._running_loop()
            if loop is not None:
                # An idle loop waits for its sockets and must be woken.
                loop.call_soon_threadsafe(_ctrl_c)
            elif self._thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread.ident), ctypes.py_object(KeyboardInterrupt)
                )

    def end(self) -> None:
        """Let the thread end after the queued functions."""
        self._jobs.put(None)

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        while frame is not None:
            owner = frame.f_locals.get("self") if frame.f_code.co_name == "run_forever" else None
            if isinstance(owner, asyncio.AbstractEventLoop):
                return owner
            frame = frame.f_back
        return None

    def _work(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        while (job := self._jobs.get()) is not None:
            job()
        if not loop.is_running():
            loop.close()


def _ctrl_c() -> None:
    raise KeyboardInterrupt


Part = Callable[[], object]

RETRY_AFTER, LONGEST_RETRY = 5.0, 60.0
"""The seconds until a message is sent again after an error of the connection: at first, doubled each time, and at most."""

ATTEMPTS = 20
"""Number of errors of the connection after which a message is dropped, since it may be the cause: a quarter of an hour."""


class SendingThread:
    """Implements `backends.outbox.Transport` by calls of the backend's methods, one after the other, in a thread.

    A call that raises an error of the connection is repeated later: a backend that sends by HTTP doesn't report that it has
    lost its network. Any other error rejects the message.

    :param identify: Returns the identifier for a text. It may block.
    :param bot_identifier: Returns the identifier of the bot.
    :param dropped: Called with the number of messages that can't be sent, and the reason.
    :param try_again: Resumes the outbox if the backend is connected.
    """

    log = Logger()

    window = 1

    def __init__(
        self,
        reactor: Any,
        network: str,
        legacy: ErrBot,
        identify: Callable[[str], Identifier],
        bot_identifier: Callable[[], Identifier | None],
        dropped: Callable[[int, str], None],
        try_again: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._network = network
        self._legacy = legacy
        self._identify = identify
        self._bot_identifier = bot_identifier
        self._dropped = dropped
        self._try_again = try_again
        self._errors = 0
        self._retry: IDelayedCall | None = None
        self._pool = WorkerPool(reactor, f"{network} sending", 1)

    def when_idle(self) -> Deferred[object]:
        """Return a Deferred that fires when the thread has done what was passed to it."""
        return self._pool.run(lambda: _nothing).addErrback(lambda _: None)

    def stop(self) -> None:
        """Send nothing more."""
        cancel_timers(self._retry)
        self._pool.stop()

    def estimate(self, body: str) -> int:
        """Return about how many parts a text has."""
        return estimated_parts(body, self._legacy.message_size_limit)

    def split(self, message: OutgoingMessage, original: Message | None) -> Sequence[Part]:
        """Return calls that send the parts of a message. Of a stored one, the recipient is looked up in the thread."""
        # In the process that has accepted a message, its identifiers and extras stay the same objects.
        whole: Callable[[], Message] = cache(partial(self._restored, message)) if original is None else lambda: original
        if is_card(message):
            return [partial(self._send_card, whole)]
        texts = split_message(message.body, self._legacy.message_size_limit)
        return [partial(self._send_part, whole, text) for text in texts]

    def wait_for(self, recipient: str) -> float:
        """Return 0.0: the backend limits its own rate."""
        return 0.0

    def transmit(self, parts: Sequence[Part]) -> Sequence[Deferred[Any]]:
        """Call the parts in the thread."""
        return [self._pool.run(partial(partial, _send, part)).addCallbacks(self._sent, self._failed) for part in parts]

    def _sent(self, _: object) -> None:
        self._errors = 0

    def _failed(self, failure: Failure) -> Failure:
        error = failure.value
        # requests raises an OSError for the status of an HTTP response, too, and it has the response.
        if not isinstance(error, OSError) or getattr(error, "response", None) is not None:
            return failure
        delay = min(RETRY_AFTER * 2**self._errors, LONGEST_RETRY)
        self._errors += 1
        self.log.warn(
            "{network}: a message could not be sent ({reason}); next try in {delay:.0f} s",
            network=self._network,
            reason=f"{type(error).__name__}: {error}",
            delay=delay,
        )
        self._retry = self._reactor.callLater(delay, self._try_again)
        return Failure(NotConfirmed(str(error)))

    def _restored(self, message: OutgoingMessage) -> Message:
        """Return a message of an earlier process. Called in the thread."""
        try:
            return restored(message, self._identify, self._bot_identifier())
        except OSError:
            raise
        except Exception:
            on_reactor_soon(self._reactor, self._dropped, 1, "its recipient isn't known any more")
            raise

    def _send_card(self, card: Callable[[], Message]) -> None:
        self._legacy.send_card(card())

    def _send_part(self, whole: Callable[[], Message], text: str) -> None:
        self._legacy.send_message(part_of(whole(), text))


def _send(part: Part) -> None:
    with assigned(sent_by_bot, True):
        part()


def _nothing() -> None:
    """Do nothing, after what the thread does before."""
