"""Cards."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Card, Message


class CardTests(SynchronousTestCase):
    """`Card`."""

    def test_is_a_message(self) -> None:
        """A card has a sender and a thread, and can be cloned."""
        asked = Message("?")
        card = Card("text", parent=asked, title="T", fields=(("a", "b"),))
        copy = card.clone()
        copy.body = "other"
        self.assertEqual("text", str(card))
        self.assertTrue(copy.is_threaded)
        self.assertEqual(("T", (("a", "b"),)), (copy.title, copy.fields))
