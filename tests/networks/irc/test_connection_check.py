"""The check of a network registers with the server, and reports the nick or the reason for a failure."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import CHECK_TIMEOUT, ConnectionCheck
from tests.networks.irc.listening import config, logged
from tests.networks.irc.played import PlayedServer


class ConnectionCheckTests(SynchronousTestCase):
    """A check of a server that the test plays."""

    def setUp(self) -> None:
        """Create the server."""
        self.server = PlayedServer()

    def check(self, **identity: Any) -> Deferred[str]:
        """Begin a check of a bot with rooms, and a password for NickServ."""
        given = {"nickname": "errklein", "server": "irc.example", "nickserv_password": "s3cret", **identity}
        checked = ConnectionCheck(
            NetworkContext(self.server.clock, config(BOT_IDENTITY=given, CHATROOM_PRESENCE=("#ops",))), self.server
        )
        return Deferred.fromCoroutine(checked.nick())

    def reason(self, result: Deferred[str]) -> str:
        """Return the reason for which the check has failed, and fail if it connects again or leaves a timer."""
        self.assertEqual((self.server.attempts, self.server.clock.getDelayedCalls()), (1, []))
        return str(self.failureResultOf(result, ConnectionError).value)

    def test_success(self) -> None:
        """The bot registers and quits. It joins no rooms, and sends no message, also not to NickServ."""
        result = self.check(password="letmein")
        self.server.accept()
        self.server.say(":irc.example 001 errklein :Welcome", ":irc.example 005 errklein CHANTYPES=# :are supported")
        self.server.transport.loseConnection()  # type: ignore[union-attr]
        self.assertEqual(self.successResultOf(result), "errklein")
        begin, *lines, end = self.server.read()
        self.assertEqual((begin, end), ("CAP LS 302", "QUIT :good-bye"))
        self.assertEqual([line.split()[0] for line in lines], ["PASS", "NICK", "USER"])
        self.server.clock.advance(60)
        self.assertEqual((self.server.attempts, self.server.clock.getDelayedCalls()), (1, []))

    def test_nick_in_use(self) -> None:
        """The holder of the nick, who may be the running bot, keeps it; the check gets another one, and doesn't regain its own."""
        logged(self, "is in use")
        result = self.check()
        self.server.accept()
        self.server.say(":irc.example 433 * errklein :Nickname is in use", ":irc.example 001 errklein_ :Welcome")
        self.server.clock.advance(1)
        self.assertEqual(self.successResultOf(result), "errklein_")
        self.assertEqual(self.server.read()[-2:], ["NICK errklein_", "QUIT :good-bye"])

    def test_unreachable(self) -> None:
        """A refused connection has the reason."""
        result = self.check()
        self.server.refuse()
        self.assertIn("Connection was refused", self.reason(result))

    def test_refused(self) -> None:
        """The reason is the server's if it refuses the password or the account, or has banned the bot."""
        for line, reason in (
            (
                ":irc.example 464 * :Password incorrect",
                "the server rejects BOT_IDENTITY['password'] (Password incorrect)",
            ),
            ("ERROR :Closing Link: you are banned", "Closing Link: you are banned"),
        ):
            self.server = PlayedServer()
            result = self.check(password="wrong")
            self.server.accept()
            self.server.say(line)
            self.server.protocol.transport.loseConnection()
            self.assertEqual(self.reason(result), reason)

    def test_without_tls(self) -> None:
        """A server that closes a connection to port 6697 probably expects TLS."""
        result = self.check(port=6697)
        self.server.accept()
        self.server.protocol.transport.loseConnection()
        self.assertIn("port 6697 is usually one with TLS: set BOT_IDENTITY['ssl']", self.reason(result))

    def test_with_tls(self) -> None:
        """A connection that breaks with TLS is perhaps one to a port without."""
        result = self.check(ssl=True)
        self.server.accept()
        self.server.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertIn("the port may be one without TLS: correct BOT_IDENTITY['port']", self.reason(result))

    def test_silence(self) -> None:
        """The server has a limited time, before and after it accepts the connection."""
        for accepts in (False, True):
            self.server = PlayedServer()
            result = self.check()
            if accepts:
                self.server.accept()
            self.server.clock.advance(CHECK_TIMEOUT)
            self.server.clock.advance(1)
            self.assertIn("the server didn't respond, or complete the registration, within 30 s", self.reason(result))
