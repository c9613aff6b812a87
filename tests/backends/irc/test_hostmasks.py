"""Tests for who has a nick, as exceptions are told only to administrators who are known by their full mask."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.irc._casemapping import CaseMapping
from errklein.backends.irc._hostmasks import LIFETIME, HostmaskCache
from errklein.backends.irc._rooms import RoomState
from errklein.backends.irc.identifiers import IRCPerson
from errklein.chat.names import matches_any
from errklein.ports import KnowsHolders
from tests.backends.irc.test_backend import PlayedTests


class HoldersTests(SynchronousTestCase):
    """What is known of nicks."""

    def setUp(self) -> None:
        """Nobody was seen yet."""
        self.clock = Clock()
        self.hostmasks = HostmaskCache(self.clock.seconds)
        self.room = RoomState("#ops", CaseMapping.RFC1459)

    def test_without_a_room(self) -> None:
        """Who is in no room with the bot counts for a while after a message: the server doesn't tell of a new nick."""
        self.assertIsNone(self.hostmasks.mask_of("bob", []))
        self.hostmasks.add("Bob!b@home", [])
        self.assertEqual(self.hostmasks.mask_of("bob", []), "Bob!b@home")
        self.clock.advance(LIFETIME + 1)
        self.assertIsNone(self.hostmasks.mask_of("bob", []))

    def test_in_a_room(self) -> None:
        """Who is in a room counts for as long as they stay there, with the mask that was seen last."""
        self.room.add("bob")
        self.assertIsNone(self.hostmasks.mask_of("bob", [self.room]))
        self.hostmasks.add("bob!b@home", [self.room])
        self.clock.advance(LIFETIME + 1)
        self.assertEqual(self.hostmasks.mask_of("bob", [self.room]), "bob!b@home")
        self.hostmasks.add("bob!b@cloak", [self.room])
        self.assertEqual(self.hostmasks.mask_of("bob", [self.room]), "bob!b@cloak")

    def test_gone(self) -> None:
        """A nick that was given up, and every nick after the connection is lost, is nobody's."""
        for forget in (lambda: self.hostmasks.forget("BOB"), self.hostmasks.clear):
            self.hostmasks.add("bob!b@home", [])
            forget()
            self.assertIsNone(self.hostmasks.mask_of("bob", []))

    def test_case_mapping(self) -> None:
        """Nicks that the server's case mapping distinguishes have different holders."""
        self.hostmasks.add("bob[]!b@home", [])
        self.assertEqual(self.hostmasks.mask_of("BOB{}", []), "bob[]!b@home")
        self.hostmasks.set_casemapping(CaseMapping.ASCII)
        self.hostmasks.add("bob[]!b@home", [])
        self.assertEqual(self.hostmasks.mask_of("BOB[]", []), "bob[]!b@home")
        self.assertIsNone(self.hostmasks.mask_of("bob{}", []))


class CurrentHolderTests(PlayedTests):
    """What the backend answers."""

    def holder(self, backend: Any, mask: str = "alice!al@home") -> str | None:
        """The mask of whoever has alice's nick now."""
        holder = backend.current_holder(IRCPerson(mask, network="irc"))
        return None if holder is None else str(holder)

    def test_messages(self) -> None:
        """The sender of a private message has the nick, with the mask of that message, not of an older one."""
        backend = self.online()
        self.assertIsNone(self.holder(backend))
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        self.assertEqual(self.holder(backend), "alice!al@home")
        self.server.say(":alice!mallory@elsewhere PRIVMSG errklein :hello")
        self.assertEqual(self.holder(backend), "alice!mallory@elsewhere")
        self.assertIsNone(backend.current_holder(backend.query_room("#ops")))

    def test_replayed_message(self) -> None:
        """The sender of a replayed message may have lost the nick since then."""
        backend = self.online()
        self.server.say(":irc.example BATCH +1 chathistory alice", "@batch=1 :alice!al@home PRIVMSG errklein :!fails")
        self.assertIsNone(self.holder(backend))

    def test_changed_hands(self) -> None:
        """After a quit or a new nick nobody has the nick; then whoever takes it."""
        backend = self.online()
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        self.server.say(":alice!al@home NICK al")
        self.assertIsNone(self.holder(backend))
        self.server.say(":mallory!m@elsewhere JOIN #ops", ":mallory!m@elsewhere NICK alice")
        self.assertEqual(self.holder(backend), "alice!m@elsewhere")
        self.server.say(":alice!m@elsewhere QUIT :bye")
        self.assertIsNone(self.holder(backend))

    def test_lost_connection(self) -> None:
        """After a reconnection nobody is known until they say something or are seen in a room."""
        backend = self.online()
        self.assertIsInstance(backend, KnowsHolders)
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        self.server.close()
        self.assertIsNone(self.holder(backend))

    def test_acl_pattern(self) -> None:
        """The holder is known by the full mask, although IRC_ACL_PATTERN may leave user and host out."""
        backend = self.online(IRC_ACL_PATTERN="{nick}")
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        holder = backend.current_holder(IRCPerson("alice"))
        assert holder is not None
        self.assertEqual(holder.aclattr, "alice!al@home")

    def test_server_case_mapping(self) -> None:
        """The holder is compared with BOT_ADMINS by the server's case mapping: in ASCII bob[1] isn't bob{1}."""
        backend = self.online()
        self.server.say(
            ":irc.example 005 errklein CASEMAPPING=ascii :are supported", ":bob{1}!b@home PRIVMSG errklein :!fails"
        )
        holder = backend.current_holder(IRCPerson("bob{1}"))
        assert holder is not None
        self.assertTrue(matches_any(holder.name_rules, holder.aclattr, "BOB{1}!*@*"))
        self.assertFalse(matches_any(holder.name_rules, holder.aclattr, "bob[1]!*@*"))

    def test_message_from_outside(self) -> None:
        """Who speaks in a room from outside isn't taken for an occupant: the server doesn't tell when they give up the nick."""
        backend = self.online()
        self.server.say(":alice!al@home PART #ops", ":alice!al@home PRIVMSG #ops :hello")
        self.assertIsNone(self.holder(backend))
        self.server.say(":alice!al@home JOIN #ops")
        self.assertEqual(self.holder(backend), "alice!al@home")
