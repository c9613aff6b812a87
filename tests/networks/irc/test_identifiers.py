"""Identifiers on IRC."""

from __future__ import annotations

import pickle
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.stored_classes import STORED_VALUES
from errklein.networks.context import NetworkContext
from errklein.networks.irc import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.networks.irc._backend import IRCBackend
from errklein.networks.irc.identifiers import CaseMapping
from tests.networks.irc.listening import config

NICKS = st.from_regex(r"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]{0,12}", fullmatch=True)
HOSTS = st.from_regex(r"[a-z0-9][a-z0-9./:-]{0,20}", fullmatch=True)
MAPPINGS = st.sampled_from(CaseMapping)
ROOMS = st.from_regex(r"[#&][A-Za-z0-9#/.!@-]{1,20}", fullmatch=True)


class IdentifierTests(SynchronousTestCase):
    """Persons, rooms and occupants."""

    def setUp(self) -> None:
        """Create a backend that isn't connected."""
        self.backend = IRCBackend(NetworkContext(Clock(), config(network="libera", rooms=["#a/b"])))

    def test_case_is_that_of_rfc_1459(self) -> None:
        """By default nicks and rooms are compared by RFC 1459: brackets are capital braces."""
        self.assertEqual(IRCPerson("Alice[1]"), IRCPerson("alice{1}!al@host"))
        self.assertEqual(hash(IRCRoom("#A~")), hash(IRCRoom("#a^")))
        self.assertNotEqual(IRCPerson("alice", network="a"), IRCPerson("alice", network="b"))

    def test_case_is_that_of_the_server(self) -> None:
        """With another case mapping of the server, brackets and braces are different letters."""
        ascii_person = partial(IRCPerson, casemapping=CaseMapping.ASCII)
        self.assertEqual(ascii_person("Alice[1]"), ascii_person("alice[1]"))
        self.assertNotEqual(ascii_person("alice[1]"), ascii_person("alice{1}"))
        rooms = [IRCRoom(name, casemapping=CaseMapping.ASCII) for name in ("#a[1]", "#A[1]", "#a{1}")]
        self.assertEqual(rooms[0], rooms[1])
        self.assertNotEqual(rooms[0], rooms[2])
        occupants = [IRCRoomOccupant("alice", room) for room in rooms]
        self.assertEqual((occupants[0] == occupants[1], occupants[0] == occupants[2]), (True, False))

    @given(NICKS, NICKS, MAPPINGS, MAPPINGS)
    def test_identifiers_of_two_mappings(self, nick: str, other: str, one: CaseMapping, two: CaseMapping) -> None:
        """Equality across mappings is symmetric, never confuses two people, and implies equal hashes."""
        first, second = IRCPerson(nick, casemapping=one), IRCPerson(other, casemapping=two)
        equal = one.fold(nick) == one.fold(other) and two.fold(nick) == two.fold(other)
        self.assertEqual((first == second, second == first), (equal, equal))
        if equal:
            self.assertEqual(hash(first), hash(second))

    def test_stored_by_older_versions(self) -> None:
        """Persons and rooms stored without a case mapping are loaded with RFC 1459."""
        person = IRCPerson("Al[x]!u@host", network="libera")
        del vars(person)["_casemapping"]
        loaded = pickle.loads(pickle.dumps(person))
        self.assertEqual(loaded, IRCPerson("al{x}", network="libera"))
        self.assertNotEqual(loaded, IRCPerson("al{x}", network="libera", casemapping=CaseMapping.ASCII))
        # What version 0.1 has written, in protocol 0.
        room = b"cerrklein.backends.irc.identifiers\n_stored_room\n(V#A[1]\nVlibera\ntR."
        self.assertEqual(STORED_VALUES.load("Plugin", room, None), IRCRoom("#a{1}", network="libera"))

    def test_stored_with_the_mapping(self) -> None:
        """The case mapping is stored with an identifier."""
        room = IRCRoom("#a[1]", casemapping=CaseMapping.ASCII)
        for stored in (room, IRCRoomOccupant("al[x]", room), IRCPerson("al[x]", casemapping=CaseMapping.ASCII)):
            self.assertIs(pickle.loads(pickle.dumps(stored)).name_rules, CaseMapping.ASCII)

    def test_person(self) -> None:
        """A mask has nick, user and host, and access rules use all of them."""
        person = self.backend.build_identifier("alice!al@example.org")
        assert isinstance(person, IRCPerson)
        self.assertEqual((person.nick, person.person, person.client), ("alice", "alice", "al@example.org"))
        self.assertEqual(person.aclattr, "alice!al@example.org")
        self.assertEqual(person.network, "libera")

    def test_acl_pattern(self) -> None:
        """IRC_ACL_PATTERN is the format for access rules."""
        backend = IRCBackend(NetworkContext(Clock(), config(IRC_ACL_PATTERN="{user}@{host}")))
        self.assertEqual(backend.build_identifier("alice!al@example.org").aclattr, "al@example.org")

    def test_occupant(self) -> None:
        """An occupant has the room, and `as_person` is the recipient of private messages."""
        occupant = self.backend.build_identifier("#ops/alice!al@user/cloak")
        assert isinstance(occupant, IRCRoomOccupant)
        self.assertEqual(occupant.room, IRCRoom("#ops", network="libera"))
        self.assertEqual(occupant.as_person, IRCPerson("alice", network="libera"))
        self.assertNotEqual(occupant, occupant.as_person)

    def test_room_with_a_slash(self) -> None:
        """A configured room with a slash in its name is a room, not an occupant."""
        self.assertIsInstance(self.backend.build_identifier("#a/b"), IRCRoom)

    def test_nonsense(self) -> None:
        """Invalid names raise ValueError."""
        for text in (
            "",
            " ",
            "a b",
            "alice\r\nQUIT",
            "#",
            "#a b",
            "#a,b",
            "#a\nb",
            "a\0",
            "@alice",
            "irc.server",
            ":x",
        ):
            self.assertRaises(ValueError, self.backend.build_identifier, text)

    def test_rooms_can_be_stored(self) -> None:
        """A plugin can store a room."""
        room = self.backend.query_room("#ops")
        self.assertEqual(pickle.loads(pickle.dumps(room)), room)
        occupant = self.backend.build_identifier("#ops/alice")
        self.assertEqual(pickle.loads(pickle.dumps(occupant)), occupant)

    @given(NICKS, HOSTS, HOSTS.filter(lambda user: user[0] != ":"), ROOMS, st.integers(0, 3))
    def test_round_trip(self, nick: str, host: str, user: str, room: str, kind: int) -> None:
        """The text of an identifier builds an equal one."""
        mask = nick if kind == 0 else f"{nick}!{user}@{host}"
        person = IRCPerson(mask, network="libera")
        self.assertEqual(self.backend.build_identifier(str(person)), person)
        if "/" not in room:
            home = IRCRoom(room, network="libera")
            self.assertEqual(self.backend.build_identifier(room), home)
            occupant = IRCRoomOccupant(mask, home)
            self.assertEqual(self.backend.build_identifier(str(occupant)), occupant)
