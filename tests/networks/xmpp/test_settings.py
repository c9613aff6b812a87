"""The settings and identifiers of XMPP."""

from __future__ import annotations

import pickle
from importlib import import_module
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError, load_config
from errklein.config.review import configuration_warnings
from errklein.networks.xmpp import SETTINGS, rooms_of
from errklein.networks.xmpp.identifiers import XMPPPerson, XMPPRoom, XMPPRoomOccupant, split_identifier

ERRBOT = {
    "BACKEND": "XMPP",
    "BOT_IDENTITY": {"username": "err@localhost", "password": "s3cret"},
    "BOT_ADMINS": ("gbin@localhost",),
    "CHATROOM_PRESENCE": ("Err@conference.server.tld", ("secret@conference.server.tld", "pass")),
    "CHATROOM_FN": "Errbot",
    "XMPP_KEEPALIVE_INTERVAL": 300,
    "XMPP_USE_IPV6": False,
}


def loaded(**settings: Any) -> Any:
    """Return the configuration of the network."""
    [view] = load_config(None, {**ERRBOT, **settings}).networks.values()
    return view


class XMPPSettingsTests(SynchronousTestCase):
    """The settings."""

    def test_of_errbot(self) -> None:
        """A configuration of errbot's is valid, without warnings."""
        view = loaded()
        SETTINGS.check(view)
        self.assertEqual(rooms_of(view), {"err@conference.server.tld": "", "secret@conference.server.tld": "pass"})
        self.assertEqual([*configuration_warnings(load_config(None, ERRBOT)), *SETTINGS.all_warnings(loaded())], [])

    def test_invalid(self) -> None:
        """Errors name the key and what is expected."""
        identity = ERRBOT["BOT_IDENTITY"]
        for settings, error in (
            ({"BOT_IDENTITY": {"username": "err", "password": "x"}}, "'username' is 'err'; it must be a JID"),
            ({"BOT_IDENTITY": {"username": "err@localhost"}}, "'password' is missing"),
            ({"BOT_IDENTITY": {**identity, "server": "localhost"}}, "expected a host and a port"),  # type: ignore[dict-item]
            ({"CHATROOM_PRESENCE": ("#ops",)}, "'#ops' is not a room; expected 'ops@conference.example.org'"),
            ({"XMPP_CA_CERT_FILE": "/nowhere/ca.pem"}, "XMPP_CA_CERT_FILE: there is no file '/nowhere/ca.pem'"),
        ):
            with self.assertRaises(ConfigError) as raised:
                view = loaded(**settings)
                SETTINGS.read_identity(view.BOT_IDENTITY)
                SETTINGS.check(view)
            self.assertIn(error, str(raised.exception))

    def test_administrators(self) -> None:
        """A pattern, and what no JID can be, is a warning."""
        for admin, warning in (
            ("*@localhost", "everybody whose JID matches '*@localhost' is an administrator"),
            ("Alice@localhost", "'Alice@localhost' matches nobody on XMPP"),
            ("alice@localhost/phone", "'alice@localhost/phone' matches nobody on XMPP"),
        ):
            found = SETTINGS.all_warnings(loaded(BOT_ADMINS=(admin,)))
            self.assertTrue(any(warning in one for one in found), admin)


class XMPPIdentifiersTests(SynchronousTestCase):
    """The identifiers."""

    def test_attributes(self) -> None:
        """They have the attributes that plugins know from errbot."""
        person = XMPPPerson("alice", "example.org", "phone", "xmpp")
        found = (person.person, person.aclattr, person.nick, person.node, person.domain, person.resource, person.client)
        self.assertEqual(
            found, ("alice@example.org", "alice@example.org", "alice", "alice", "example.org", "phone", "phone")
        )
        self.assertEqual((str(person), person), ("alice@example.org/phone", XMPPPerson("alice", "example.org")))
        room = XMPPRoom("ops@conference.example.org", "xmpp", "ops@conference.example.org")
        hidden = XMPPRoomOccupant("ops", "conference.example.org", "Al Ice", room, "xmpp")
        self.assertEqual(
            (str(hidden), hidden.person, hidden.nick), ("ops@conference.example.org/Al Ice",) * 2 + ("Al Ice",)
        )
        self.assertEqual((hidden.real_jid, hidden.room, hidden.access_names("allow")), (None, room, ()))
        known = XMPPRoomOccupant("ops", "conference.example.org", "Al Ice", room, "xmpp", "alice@example.org")
        self.assertEqual((known.person, known.aclattr, known), ("alice@example.org", "alice@example.org", hidden))
        self.assertEqual(known.access_names("admin"), ("alice@example.org",))
        self.assertEqual(known.access_names("deny"), ("alice@example.org", "ops@conference.example.org/Al Ice"))
        for one in (person, room, hidden, known):
            self.assertEqual(pickle.loads(pickle.dumps(one)), one)

    def test_errbots_names(self) -> None:
        """Plugins find the classes where errbot has them."""
        import_module("errklein.compat")
        xmpp = import_module("errklein.compat.errbot.backends.xmpp")
        self.assertIs(xmpp.XMPPPerson, XMPPPerson)
        self.assertEqual(xmpp.split_identifier("Alice@Example.org/Phone"), ("alice", "example.org", "Phone"))

    def test_invalid(self) -> None:
        """What isn't a JID with a node is refused."""
        for text in ("", "alice", "@x", "a@", "a b@x", "a@b@c", "a@b/", "a@b/\n", "a/b@c", "<a>@b", "a" * 1024 + "@b"):
            self.assertRaises(ValueError, split_identifier, text)
