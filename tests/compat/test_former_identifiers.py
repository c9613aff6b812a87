"""Stored persons and rooms of XMPP and Telegram can be read."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Identifier
from errklein.compat.stored_classes import STORED_VALUES, FormerIdentifier
from errklein.storage import SQLiteStorage, UnreadableValue
from errklein.storage.pickling import dumps

TELEGRAM = "(V_id\nI5\nV_username\nVann\n"
XMPP = "(V_node\nVann\nV_domain\nVhost\nV_resource\nVdesk\n"
CASES = {
    "errbot.backends.telegram_messenger\nTelegramPerson": (TELEGRAM, "5", "5"),
    "errklein.compat.backends.telegram\nTelegramMUCOccupant": (TELEGRAM, "5", "5"),
    "errbot.backends.xmpp\nXMPPRoom": (XMPP, "ann@host/desk", "ann@host"),
    "errklein.compat.backends.xmpp\nXMPPPerson": (XMPP, "ann@host/desk", "ann@host"),
}
"""By class: the attributes of an instance, as pickle writes them, its text and what rules compare."""


class FormerIdentifierTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Create an empty storage."""
        self.storage = SQLiteStorage(Path(self.mktemp()), STORED_VALUES)
        self.addCleanup(self.storage.close)
        self.store = self.storage.open("Greeter")

    def test_own_and_restored(self) -> None:
        """Own and restored values are read, by errbot's and errklein's names, and can be stored again."""
        for cls, (state, text, aclattr) in CASES.items():
            data = f"\x80\x02c{cls}\n)\x81}}{state}ub.".encode("latin-1")
            for trusted in (None, ()):
                self.storage.put([("Greeter", "who", data)], trusted=trusted)
                who = self.store.get("who")
                self.assertIsInstance(who, Identifier)
                self.assertEqual((str(who), who.aclattr, who.person), (text, aclattr, aclattr), cls)
                self.storage.put([("Greeter", "who", dumps({who: 1}))], trusted=trusted)
                self.assertEqual(self.store.get("who"), {who: 1})

    def test_other_names(self) -> None:
        """Other names of the former modules are refused."""
        self.storage.put([("Greeter", "who", b"cerrbot.backends.xmpp\nsplit_identifier\n(Vx\ntR.")])
        self.assertIn("may not use", str(self.assertRaises(UnreadableValue, self.store.get, "who")))
        self.assertNotEqual(FormerIdentifier(), "ann@host")
