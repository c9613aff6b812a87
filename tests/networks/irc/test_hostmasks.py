"""Current holders of nicks: details of exceptions are sent only to administrators identified by their full mask."""

from __future__ import annotations

from typing import Any

from errklein.chat.identifiers import matches_any
from errklein.networks.irc._rooms import LIFETIME
from errklein.networks.irc.identifiers import ACL_PATTERN, IRCPerson
from errklein.ports.chat import KnowsHolders
from tests.networks.irc.test_backend import PlayedTests


class CertainTests(PlayedTests):
    """`is_certain` of the backend."""

    def test_masks(self) -> None:
        """An entry of BOT_ADMINS names people for certain if it has a host without a wildcard, which is theirs."""
        for admins, pattern, certain in (
            (("alice!*@home.example",), ACL_PATTERN, True),
            (("*!*@home.example",), ACL_PATTERN, True),
            (("ALICE!~al@home.example",), ACL_PATTERN, True),
            (("alice", "alice!*@home.example"), ACL_PATTERN, True),
            (("alice!*@*",), ACL_PATTERN, False),
            (("alice!*@*.example",), ACL_PATTERN, False),
            (("alice!*@home.exampl?",), ACL_PATTERN, False),
            (("alice",), ACL_PATTERN, False),
            (("alice!*", "*@home.example"), ACL_PATTERN, False),
            (("alice!*@*", "bob!*@home.example"), ACL_PATTERN, False),
            (("alice",), "{nick}", False),
            (("alice!*@home.example",), "{nick}", False),
            (("alice!*@home.example",), "{nick}!{user}@home.example", False),
        ):
            backend = self.server.backend(BOT_ADMINS=admins, IRC_ACL_PATTERN=pattern)
            self.assertIs(backend.is_certain(IRCPerson("alice!~al@home.example", network="irc")), certain, admins)
            self.assertFalse(backend.is_certain(IRCPerson("alice", network="irc")))
            self.assertFalse(backend.is_certain(backend.build_identifier("#ops")))


class CurrentHolderTests(PlayedTests):
    """`current_holder` of the backend."""

    def holder(self, backend: Any, mask: str = "alice!al@home") -> str | None:
        """Return the mask of the current holder of the nick alice."""
        holder = backend.current_holder(IRCPerson(mask, network="irc"))
        return None if holder is None else str(holder)

    def test_messages(self) -> None:
        """The sender of a private message holds the nick, with the mask of the newest message."""
        backend = self.online()
        self.assertIsNone(self.holder(backend))
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        self.assertEqual(self.holder(backend), "alice!al@home")
        self.server.say(":alice!mallory@elsewhere PRIVMSG errklein :hello")
        self.assertEqual(self.holder(backend), "alice!mallory@elsewhere")
        self.assertIsNone(backend.current_holder(backend.query_room("#ops")))

    def test_without_a_room(self) -> None:
        """Outside the bot's rooms a message identifies a nick's holder for LIFETIME: nick changes aren't reported."""
        backend = self.online()
        self.server.say(":Bob!b@home PRIVMSG errklein :hello")
        self.server.pass_time(int(LIFETIME))
        self.assertEqual(self.holder(backend, "bob"), "Bob!b@home")
        self.server.pass_time(1)
        self.assertIsNone(self.holder(backend, "bob"))

    def test_in_a_room(self) -> None:
        """An occupant of a room holds the nick as long as they stay, with the mask seen last."""
        backend = self.online()
        for mask in ("alice!al@home", "alice!al@cloak"):
            self.server.say(f":{mask} PRIVMSG errklein :hello")
            self.server.pass_time(int(LIFETIME) + 1)
            self.assertEqual(self.holder(backend), mask)

    def test_case_mapping(self) -> None:
        """Nicks that the server's case mapping distinguishes have different holders."""
        backend = self.online()
        self.server.say(":bob[]!b@home PRIVMSG errklein :hello")
        self.assertEqual(self.holder(backend, "BOB{}"), "bob[]!b@home")
        self.server.say(":irc.example 005 errklein CASEMAPPING=ascii :are supported")
        self.assertIsNone(self.holder(backend, "bob[]"))
        self.server.say(":bob[]!b@home PRIVMSG errklein :hello")
        self.assertEqual(self.holder(backend, "BOB[]"), "bob[]!b@home")
        self.assertIsNone(self.holder(backend, "bob{}"))

    def test_replayed_message(self) -> None:
        """The sender of a replayed message is not taken as the holder of the nick."""
        backend = self.online()
        self.server.say(":irc.example BATCH +1 chathistory alice", "@batch=1 :alice!al@home PRIVMSG errklein :!fails")
        self.assertIsNone(self.holder(backend))

    def test_changed_hands(self) -> None:
        """After a quit or a nick change the nick has no holder until another person takes it."""
        backend = self.online()
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        self.server.say(":alice!al@home NICK al")
        self.assertIsNone(self.holder(backend))
        self.server.say(":mallory!m@elsewhere JOIN #ops", ":mallory!m@elsewhere NICK alice")
        self.assertEqual(self.holder(backend), "alice!m@elsewhere")
        self.server.say(":alice!m@elsewhere QUIT :bye")
        self.assertIsNone(self.holder(backend))

    def test_lost_connection(self) -> None:
        """After a reconnection a holder is unknown until they send a message or are seen in a room."""
        backend = self.online()
        self.assertIsInstance(backend, KnowsHolders)
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        self.server.close()
        self.assertIsNone(self.holder(backend))

    def test_acl_pattern(self) -> None:
        """The holder has the full mask, even if IRC_ACL_PATTERN leaves out user and host."""
        backend = self.online(IRC_ACL_PATTERN="{nick}")
        self.server.say(":alice!al@home PRIVMSG errklein :!fails")
        holder = backend.current_holder(IRCPerson("alice"))
        assert holder is not None
        self.assertEqual(holder.aclattr, "alice!al@home")

    def test_server_case_mapping(self) -> None:
        """Holders are compared with BOT_ADMINS by the server's case mapping: in ASCII bob[1] isn't bob{1}."""
        backend = self.online()
        self.server.say(
            ":irc.example 005 errklein CASEMAPPING=ascii :are supported", ":bob{1}!b@home PRIVMSG errklein :!fails"
        )
        holder = backend.current_holder(IRCPerson("bob{1}"))
        assert holder is not None
        self.assertTrue(matches_any(holder.name_rules, holder.aclattr, "BOB{1}!*@*"))
        self.assertFalse(matches_any(holder.name_rules, holder.aclattr, "bob[1]!*@*"))

    def test_message_from_outside(self) -> None:
        """A sender outside the room is not taken as an occupant, since their nick changes aren't reported."""
        backend = self.online()
        self.server.say(":alice!al@home PART #ops", ":alice!al@home PRIVMSG #ops :hello")
        self.assertIsNone(self.holder(backend))
        self.server.say(":alice!al@home JOIN #ops")
        self.assertEqual(self.holder(backend), "alice!al@home")
