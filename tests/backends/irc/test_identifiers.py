"""Who is who."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.irc import IRCBackend, IRCPerson, IRCRoom, IRCRoomOccupant
from tests.backends.irc.listening import config

NICKS = st.from_regex(r"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]{0,12}", fullmatch=True)
HOSTS = st.from_regex(r"[a-z0-9][a-z0-9./:-]{0,20}", fullmatch=True)
ROOMS = st.from_regex(r"[#&][A-Za-z0-9#/.!@-]{1,20}", fullmatch=True)


class IdentifierTests(SynchronousTestCase):
    """Persons, rooms, occupants."""

    def setUp(self) -> None:
        """A backend that is nowhere."""
        self.backend = IRCBackend(Clock(), config(network="libera", rooms=["#a/b"]))

    def test_case_is_that_of_rfc_1459(self) -> None:
        """Nicks and rooms are the same in any case, brackets being capital braces."""
        self.assertEqual(IRCPerson("Alice[1]"), IRCPerson("alice{1}!al@host"))
        self.assertEqual(hash(IRCRoom("#A~")), hash(IRCRoom("#a^")))
        self.assertNotEqual(IRCPerson("alice", network="a"), IRCPerson("alice", network="b"))

    def test_person(self) -> None:
        """A mask tells nick, user and host; access rules see them all."""
        person = self.backend.build_identifier("alice!al@example.org")
        assert isinstance(person, IRCPerson)
        self.assertEqual((person.nick, person.person, person.client), ("alice", "alice", "al@example.org"))
        self.assertEqual(person.aclattr, "alice!al@example.org")
        self.assertEqual(person.network, "libera")

    def test_acl_pattern(self) -> None:
        """IRC_ACL_PATTERN says what access rules see."""
        backend = IRCBackend(Clock(), config(IRC_ACL_PATTERN="{user}@{host}"))
        self.assertEqual(backend.build_identifier("alice!al@example.org").aclattr, "al@example.org")

    def test_occupant(self) -> None:
        """Somebody in a room is known with the room, and can be spoken to alone."""
        occupant = self.backend.build_identifier("#ops/alice!al@user/cloak")
        assert isinstance(occupant, IRCRoomOccupant)
        self.assertEqual(occupant.room, IRCRoom("#ops", network="libera"))
        self.assertEqual(occupant.as_person, IRCPerson("alice", network="libera"))
        self.assertNotEqual(occupant, occupant.as_person)

    def test_room_with_a_slash(self) -> None:
        """A room that the bot wants to be in is a room, even if it looks like somebody in another one."""
        self.assertIsInstance(self.backend.build_identifier("#a/b"), IRCRoom)

    def test_nonsense(self) -> None:
        """What could break a line, or names nothing, is refused."""
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
        """A plugin may keep a room in its storage."""
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
