"""Tests of what `send` returns."""

import copy
import json
import pickle
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, inlineCallbacks, succeed
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.chat import Attachment
from errklein.chat.handles import Handle
from errklein.ports.receipts import Receipt
from errklein.running import ThreadWaits


class ReceiptTests(SynchronousTestCase):
    """A handle that can be awaited."""

    def setUp(self) -> None:
        self.sent = Receipt("matrix/5f0c-1c")

    def test_is_text(self) -> None:
        """It is equal to its text, has its hash, and is written as JSON at once."""
        self.assertEqual({self.sent: 1}["matrix/5f0c-1c"], 1)
        self.assertEqual(json.dumps([self.sent]), '["matrix/5f0c-1c"]')
        self.assertEqual((self.sent.network, self.sent.key), ("matrix", "5f0c-1c"))

    def test_copies(self) -> None:
        """A stored or copied receipt is the handle alone."""
        for kept in (pickle.loads(pickle.dumps(self.sent)), copy.copy(self.sent), copy.deepcopy(self.sent)):
            self.assertEqual((type(kept), kept), (Handle, self.sent))

    def test_awaited(self) -> None:
        """`await`, `yield` and a callback that returns it wait until the network has the message, and get the handle."""

        async def awaits() -> Any:
            return await self.sent

        @inlineCallbacks
        def yields() -> Any:
            return (yield self.sent)

        for waiting in (
            lambda: ensureDeferred(awaits()),
            yields,
            lambda: succeed(None).addCallback(lambda _: self.sent),
        ):
            self.sent = Receipt("matrix/5f0c-1c")
            result: Deferred[Any] = waiting()
            self.assertNoResult(result)
            self.sent.settle(Handle(self.sent))
            self.assertEqual((type(self.successResultOf(result))), Handle)

    def test_cancelled(self) -> None:
        """Who stops waiting gets CancelledError; the message is settled nevertheless."""

        @inlineCallbacks
        def yields() -> Any:
            yield self.sent

        waiting: Deferred[Any] = yields()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.sent.settle(Handle(self.sent))
        self.assertEqual(self.successResultOf(ensureDeferred(_await(self.sent))), "matrix/5f0c-1c")

    def test_failure(self) -> None:
        """A failure reaches whoever awaits the receipt, and isn't logged otherwise."""
        self.sent.settle(Failure(ValueError("no")))
        self.failureResultOf(ensureDeferred(_await(self.sent)), ValueError)
        Receipt("matrix/2").settle(Failure(ValueError("no")))

    def test_stored(self) -> None:
        """`stored` waits for the disk, each time it is read."""
        flushes: list[Deferred[None]] = []

        def flush() -> Deferred[None]:
            flushes.append(Deferred())
            return flushes[-1]

        self.sent.flush = flush
        stored = self.sent.stored
        self.assertNoResult(stored)
        flushes[0].callback(None)
        self.successResultOf(stored)


class ThreadTests(TestCase):
    """Receipts in threads, with a real reactor."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        registerAsIOThread()
        self.flushed: Deferred[None] = Deferred()
        self.sent = Receipt("matrix/5f0c-1c")
        self.sent.flush = lambda: self.flushed
        self.sent.result_of = ThreadWaits(reactor).result_of

    async def test_wait(self) -> None:
        """`wait` returns the handle when the network has the message, and raises its error."""
        waiting = deferToThread(self.sent.wait, 60)
        self.sent.settle(Handle(self.sent))
        self.assertEqual(type(await waiting), Handle)
        self.assertEqual(await deferToThread(self.sent.wait), self.sent)

    async def test_failure(self) -> None:
        """`wait` raises the error of the message."""
        waiting = deferToThread(self.sent.wait)
        self.sent.settle(Failure(ValueError("no")))
        await self.assertFailure(waiting, ValueError)

    async def test_time_limit(self) -> None:
        """After the time that it may take, TimeoutError says that the message stays in the outbox."""
        error = await self.assertFailure(deferToThread(self.sent.wait, 0.01), TimeoutError)
        self.assertEqual(str(error), "matrix doesn't have the message within 0.01 s; it stays in the outbox")

    async def test_stored(self) -> None:
        """`stored` waits for the disk."""
        waiting = deferToThread(lambda: self.sent.stored)
        self.flushed.callback(None)
        self.assertIs(await waiting, None)

    async def test_attachment(self) -> None:
        """A thread gets the bytes of an attachment, whose network has a Deferred of them."""
        asked: list[int] = []

        def fetch(most: int) -> Deferred[bytes]:
            asked.append(most)
            return succeed(b"content")

        attachment = Attachment("a.txt", "text/plain", 7, fetch)
        self.assertEqual(await attachment.read(), b"content")
        attachment.result_of = self.sent.result_of
        self.assertEqual(await deferToThread(attachment.read, 10), b"content")
        self.assertEqual(asked, [25_000_000, 10])


async def _await(sent: Receipt) -> Any:
    return await sent
