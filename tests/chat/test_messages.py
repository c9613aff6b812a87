"""Messages as plugins see them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message


class MessageTests(SynchronousTestCase):
    """`Message`."""

    def test_extras_may_be_none(self) -> None:
        """As some backends say it."""
        self.assertEqual({}, Message(extras=None).extras)
