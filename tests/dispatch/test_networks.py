"""Tests for the selection of a network."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.config import load_config
from errklein.dispatch import Networks
from errklein.networks.test import TestBackend
from errklein.running.context import assigned, handled_network
from errklein.testing import TestReactor


class NetworksTests(SynchronousTestCase):
    """Two networks; the default is libera."""

    def setUp(self) -> None:
        """Create backends without a bot."""
        settings = {"NETWORKS": {name: {"BACKEND": "Test"} for name in ("libera", "local")}, "BOT_ADMINS": ("alice",)}
        configs = load_config(None, settings).networks
        self.local = TestBackend(TestReactor(), configs["local"])
        self.libera = TestBackend(TestReactor(), configs["libera"])
        self.networks = Networks({"libera": self.libera, "local": self.local}, configs)

    def test_current_network_is_that_of_the_handled_message(self) -> None:
        """Outside of events, the current network is the default."""
        self.assertIs(self.networks.current, self.libera)
        with assigned(handled_network, "local"):
            self.assertIs(self.networks.current, self.local)
            self.assertEqual(self.networks.build_identifier("bob").network, "local")
        self.assertIs(self.networks.current, self.libera)

    def test_name_of_a_network_before_a_name_chooses_it(self) -> None:
        """Only the first colon separates a network from a name."""
        self.assertEqual(self.networks.build_identifier("local:bob").network, "local")
        self.assertEqual(self.networks.query_room("local:#ops").network, "local")
        self.assertEqual(str(self.networks.build_identifier("elsewhere:bob")), "elsewhere:bob")

    def test_room_with_password_is_named_by_its_name(self) -> None:
        """A pair of a name and a password, as in CHATROOM_PRESENCE, names the room."""
        self.assertEqual(str(self.networks.build_identifier(("local:#ops", "secret"))), "#ops")

    def test_unknown_network_raises(self) -> None:
        """The error lists the networks; an identifier without a network belongs to the current one."""
        message = Message("hello", frm=self.local.person_named("bob"))
        self.assertIs(self.networks.of(message), self.local)
        self.assertIs(self.networks.of(Message("hello")), self.libera)
        message.frm.network = "gone"  # type: ignore[union-attr]
        error = self.assertRaises(ValueError, self.networks.of, message)
        self.assertEqual(str(error), "unknown network 'gone'; known networks: libera, local")
