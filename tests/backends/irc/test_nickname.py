"""The bot's nick: registration, collisions, and regaining it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.irc._casemapping import CaseMapping, same_name
from errklein.backends.irc._nickname import REGAIN_EVERY, Nickname


class NicknameTests(SynchronousTestCase):
    """The nick of a bot whose configured nick is "errklein"."""

    def setUp(self) -> None:
        """Create it without a nick."""
        self.clock = Clock()
        self.sent: list[str] = []

        def same(one: str, other: str) -> bool:
            return same_name(one, other, CaseMapping.RFC1459)

        self.nick = Nickname(self.clock, "libera", "errklein", same, self.sent.append)

    def test_collisions(self) -> None:
        """Each rejected nick is followed by another one, until none is left; the last ones have nine characters."""
        while self.nick.try_next():
            pass
        self.assertEqual(self.sent[:3], ["NICK errklein", "NICK errklein_", "NICK errklein__"])
        self.assertEqual(len(set(self.sent)), 12)
        self.assertTrue(all(len(line) <= len("NICK ") + 9 for line in self.sent[3:]))

    def test_regained(self) -> None:
        """A bot with another nick requests its own each minute, and when it is released."""
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
        self.assertEqual(self.sent, ["NICK errklein"] * 3)

    def test_registered_as_wanted(self) -> None:
        """A bot that has its nick, in any case, sends no requests."""
        self.nick.registered("Errklein")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_identified(self) -> None:
        """NickServ is asked for the nick if the bot doesn't have it."""
        self.nick.identify("s3cret")
        self.nick.registered("errklein_")
        self.nick.identify("s3cret")
        self.assertEqual(self.sent, ["PRIVMSG NickServ :IDENTIFY s3cret", "PRIVMSG NickServ :REGAIN errklein s3cret"])
