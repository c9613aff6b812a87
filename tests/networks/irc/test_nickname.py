"""The bot's nick: registration, collisions, and regaining it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.irc import IRCSettings
from errklein.networks.irc._protocol import REGAIN_EVERY, Nickname
from errklein.networks.irc.identifiers import CaseMapping, same_name
from tests.networks.irc.listening import logged


class NicknameTests(SynchronousTestCase):
    """The nick of a bot whose configured nick is "errklein"."""

    identifying = ("PRIVMSG NickServ :IDENTIFY errklein s3cret", "PRIVMSG NickServ :REGAIN errklein s3cret")

    def setUp(self) -> None:
        """Create it without a nick."""
        self.clock = Clock()
        self.sent: list[str] = []

        def same(one: str, other: str) -> bool:
            return same_name(one, other, CaseMapping.RFC1459)

        settings = IRCSettings("libera", "errklein", "irc.example", nickserv_password="s3cret")
        self.nick = Nickname(self.clock, settings, same, self.sent.append)

    def test_collisions(self) -> None:
        """Each rejected nick is followed by another one, until none is left; the last ones have nine characters."""
        while self.nick.try_next():
            pass
        self.assertEqual(self.sent[:3], ["NICK errklein", "NICK errklein_", "NICK errklein__"])
        self.assertEqual(len(set(self.sent)), 12)
        self.assertTrue(all(len(line) <= len("NICK ") + 9 for line in self.sent[3:]))

    def test_regained(self) -> None:
        """A bot with another nick requests its own each minute, and when it is released; then it identifies."""
        self.nick.registered("errklein_")
        self.clock.advance(REGAIN_EVERY)
        self.assertEqual(self.sent, ["NICK errklein"])
        self.nick.released("somebody")
        self.nick.released("ErrKlein")
        self.nick.changed("errklein", "guest")
        self.assertEqual(self.sent, ["NICK errklein"] * 3)
        self.nick.changed("errklein_", "errklein")
        self.assertEqual(self.nick.current, "errklein")
        self.clock.advance(REGAIN_EVERY)
        self.nick.released("errklein")
        self.assertEqual(self.sent, ["NICK errklein"] * 3 + ["PRIVMSG NickServ :IDENTIFY s3cret"])

    def test_registered_as_wanted(self) -> None:
        """A bot that has its nick, in any case, sends no requests."""
        self.nick.registered("Errklein")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_renamed(self) -> None:
        """A bot that services have renamed identifies, and requests its nick each minute, but not at once."""
        lines = logged(self, "renamed")
        self.nick.registered("errklein")
        self.nick.changed("errklein", "Guest7")
        self.assertEqual(self.sent, [*self.identifying])
        self.assertEqual(lines, ["libera: the bot was renamed from errklein to Guest7"])
        self.clock.advance(REGAIN_EVERY)
        self.assertEqual(self.sent[2:], ["NICK errklein"])

    def test_identified(self) -> None:
        """A bot without its nick names it, and requests it when NickServ has accepted the password."""
        self.nick.identify()
        self.nick.registered("errklein_")
        self.nick.identify()
        self.assertEqual(self.sent, ["PRIVMSG NickServ :IDENTIFY s3cret", *self.identifying])
        for text in ("This nickname is registered.", "Unknown command.", "You're now logged in as errklein", "Welcome"):
            self.nick.nickserv_replied(text)
        self.assertEqual(self.sent[3:], ["NICK errklein"])

    def test_rejected(self) -> None:
        """A rejected password is logged once, without the password."""
        lines = logged(self, "NickServ")
        replies = (
            "Invalid password for \x02errklein\x02 (s3cret).",
            "Password incorrect.",
            "Authentication failed: Invalid account credentials",
            "Your nick isn't registered.",
        )
        self.nick.registered("errklein")
        for reply in replies:
            self.nick.identify()
            self.nick.nickserv_replied("This nickname is registered and protected. Please identify with your password.")
            self.nick.nickserv_replied(reply)
            self.nick.nickserv_replied(reply)
        self.assertEqual(len(lines), len(replies))
        self.assertIn("BOT_IDENTITY['nickserv_password']: Invalid password for errklein (***).", lines[0])

    def test_without_password(self) -> None:
        """Without a password nothing is sent to NickServ."""
        settings = IRCSettings("libera", "errklein", "irc.example")
        nick = Nickname(self.clock, settings, lambda one, other: one == other, self.sent.append)
        nick.identify()
        self.assertEqual(self.sent, [])
