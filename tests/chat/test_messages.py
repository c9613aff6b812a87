"""Messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message


class MessageTests(SynchronousTestCase):
    """`Message`."""

    def test_extras_may_be_none(self) -> None:
        """`extras=None`, which some backends pass, is an empty mapping."""
        self.assertEqual({}, Message(extras=None).extras)
