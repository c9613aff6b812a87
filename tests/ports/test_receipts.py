"""Tests of what `send` returns."""

import copy
import json
import pickle
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, inlineCallbacks, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.handles import Handle
from errklein.ports.receipts import Receipt


class ReceiptTests(SynchronousTestCase):
    """A handle that can be awaited."""

    def setUp(self) -> None:
        self.sent = Receipt("matrix", "5f0c-1c")

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
            self.sent = Receipt("matrix", "5f0c-1c")
            result: Deferred[Any] = waiting()
            self.assertNoResult(result)
            self.sent.settle(Handle(self.sent))
            self.assertEqual((type(self.successResultOf(result))), Handle)

    def test_failure(self) -> None:
        """A failure reaches whoever awaits the receipt, and isn't logged otherwise."""
        self.sent.settle(Failure(ValueError("no")))
        self.failureResultOf(ensureDeferred(_await(self.sent)), ValueError)
        Receipt("matrix", "2").settle(Failure(ValueError("no")))

    def test_stored(self) -> None:
        """`stored` waits for the disk, each time it is read."""
        flushes: list[Deferred[None]] = []

        def flush() -> Deferred[None]:
            flushes.append(Deferred())
            return flushes[-1]

        stored = Receipt("matrix", "1", flush).stored
        self.assertNoResult(stored)
        flushes[0].callback(None)
        self.successResultOf(stored)


async def _await(sent: Receipt) -> Any:
    return await sent
