"""Notices that reach no administrator in chat."""

from __future__ import annotations

import sys
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.mail.smtp import SMTP, SMTPFactory, User
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.bot import _notices
from errklein.bot._notices import FALLBACK_INTERVAL, MOST_WAITING, PATIENCE, Notice, NoticeFallback
from errklein.config import MailFallback
from errklein.testing import ADMIN, PluginTestCase
from errklein.testing._surroundings import TestReactor
from tests import needs_network
from tests.networks.irc.whole_bot import WholeBotCase


class Settings:
    """The setting."""

    BOT_ADMINS_FALLBACK: Any = ("page",)


def at_once(function: Callable[[], None], name: str) -> None:
    """Call the function instead of starting a thread."""
    function()


class BatchTests(SynchronousTestCase):
    """When the command is called, and with which notices."""

    def setUp(self) -> None:
        """Call no real command."""
        self.reactor, self.settings, self.calls = TestReactor(), Settings(), list[str]()
        self.error: Exception | None = None
        self.errors: list[str] = []
        self.fallback = NoticeFallback(self.reactor, self.settings, lambda: 1e9)  # type: ignore[arg-type]
        self.patch(_notices, "run", self.run_command)
        self.patch(self.fallback, "start_thread", at_once)
        self.patch(self.fallback, "log", Logger(observer=lambda event: self.errors.append(event["error"])))

    def run_command(self, command: object, *, seconds: float, text: str) -> None:
        """Keep the notices, or fail."""
        self.calls.append(text)
        if self.error:
            raise self.error

    def advance(self, seconds: float) -> None:
        """Let time pass, and look for notices that are due."""
        self.reactor.advance(seconds)
        self.fallback.look()

    def expect(self, text: str) -> Notice:
        """Return a notice that has just been sent."""
        notice = Notice(text, text)
        self.fallback.expect(notice)
        return notice

    def test_reached(self) -> None:
        """Notices that reach an administrator within a minute aren't passed on."""
        notice = self.expect("disk full")
        self.advance(PATIENCE - 1)
        notice.reached = True
        self.advance(2 * FALLBACK_INTERVAL)
        self.assertEqual(self.calls, [])

    def test_one_call_for_many(self) -> None:
        """Notices that have reached nobody after a minute are passed on together, and later ones after five minutes."""
        for number in range(3):
            self.expect(f"disk {number}")
        self.advance(PATIENCE)
        [text] = self.calls
        self.assertRegex(
            text, r"^These notices have .*\n\n2001-09-\d\d \d\d:46:40: disk 0\n\n.*: disk 1\n\n.*: disk 2\n$"
        )
        self.expect("disk 3")
        self.advance(FALLBACK_INTERVAL - 1)
        self.assertEqual(len(self.calls), 1)
        self.advance(1)
        self.assertIn(": disk 3", self.calls[1])
        self.assertNotIn("disk 2", self.calls[1])
        self.advance(2 * FALLBACK_INTERVAL)
        self.assertEqual(len(self.calls), 2)

    def test_text_from_outside(self) -> None:
        """A notice of several lines, as a plugin may make of a sender's text, isn't taken for several notices."""
        self.expect("failed: x\r\n\n2001-09-09 01:46:40: all is well\u2028\x1b[2Jbye")
        self.advance(PATIENCE)
        [text] = self.calls
        self.assertRegex(text, r":\n\n\S+ \S+: failed: x\n  \n  2001-09-09 01:46:40: all is well\n  bye\n$")

    def test_sent_just_now(self) -> None:
        """A notice that was sent shortly after another one has a minute of its own to reach somebody."""
        self.expect("disk full").reached = True
        self.advance(PATIENCE - 1)
        self.expect("memory full")
        self.advance(PATIENCE - 1)
        self.assertEqual(self.calls, [])
        self.advance(1)
        self.assertEqual(len(self.calls), 1)

    def test_failure(self) -> None:
        """A failure is logged, causes no notice, and is followed by another attempt after five minutes."""
        self.error = OSError("no such file")
        notice = self.expect("disk full")
        self.advance(PATIENCE)
        self.advance(FALLBACK_INTERVAL)
        self.assertEqual((len(self.calls), self.errors), (2, ["no such file"] * 2))
        notice.reached = True
        self.advance(2 * FALLBACK_INTERVAL)
        self.assertEqual(len(self.calls), 2)

    def test_flood(self) -> None:
        """Only the latest notices are kept, each shortened."""
        for number in range(MOST_WAITING + 5):
            self.expect(f"disk {number}. {'x' * 5000}")
        self.advance(PATIENCE)
        self.assertNotIn("disk 4.", self.calls[0])
        self.assertIn("disk 5.", self.calls[0])
        self.assertLess(len(self.calls[0]), MOST_WAITING * 1100)

    def test_without_the_setting(self) -> None:
        """Without the setting, nothing is passed on."""
        self.settings.BOT_ADMINS_FALLBACK = None
        self.expect("disk full")
        self.advance(PATIENCE)
        self.assertEqual(self.calls, [])


class CommandTests(SynchronousTestCase):
    """A real command."""

    def pass_on(self, text: str, code: str) -> list[str]:
        """Pass a notice to Python code, and return the errors."""
        clock, settings, errors = TestReactor(), Settings(), list[str]()
        settings.BOT_ADMINS_FALLBACK = (sys.executable, "-c", code)
        fallback = NoticeFallback(clock, settings, lambda: 0.0)  # type: ignore[arg-type]
        self.patch(fallback, "start_thread", at_once)
        self.patch(fallback, "log", Logger(observer=lambda event: errors.append(event["error"])))
        fallback.expect(Notice(text, text))
        clock.advance(PATIENCE)
        fallback.look()
        return errors

    def test_text_on_standard_input(self) -> None:
        """The command gets the text on standard input, without control characters; no shell reads it."""
        path = Path(self.mktemp())
        code = f"import sys; open({str(path)!r}, 'wb').write(sys.stdin.buffer.read())"
        self.assertEqual(self.pass_on("\x1b[31m$(touch x) `touch x`; ä \udcff", code), [])
        self.assertTrue(path.read_text("utf-8").endswith(": $(touch x) `touch x`; ä \ufffd\n"))

    def test_failing_command(self) -> None:
        """The last line of a failing command is logged."""
        self.assertEqual(self.pass_on("x", "raise SystemExit('no modem')"), ["no modem"])

    def test_hanging_command(self) -> None:
        """A command that hangs is killed."""
        self.patch(_notices, "TIMEOUT", 0.2)
        [error] = self.pass_on("x", "import time; time.sleep(600)")
        self.assertIn("exceeded the timeout of 0.2 s", error)


class Mailbox:
    """An SMTP server's factory and delivery, which keeps mail."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.recipients: list[str] = []
        self.closed: Deferred[None] = Deferred()

    def buildProtocol(self, address: object) -> SMTP:
        """Return the protocol of a connection."""
        mailbox = self

        class Protocol(SMTP):
            timeout = None
            factory = SMTPFactory()

            def connectionLost(self, reason: object) -> None:
                mailbox.closed.callback(None)

        return Protocol(self)

    def doStart(self) -> None:
        """Do nothing."""

    doStop = connectionLost = doStart

    def receivedHeader(self, helo: object, origin: object, recipients: object) -> bytes:
        """Return the header that the server adds."""
        return b"Received: here"

    def validateFrom(self, helo: object, origin: object) -> object:
        """Accept each sender."""
        return origin

    def validateTo(self, user: User) -> Callable[[], Mailbox]:
        """Accept each recipient."""
        self.recipients.append(str(user.dest))
        return lambda: self

    def lineReceived(self, line: bytes) -> None:
        """Keep a line of the mail."""
        self.lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        """Accept the mail."""
        return succeed(None)


class MailTests(TestCase):
    """Mail through an SMTP server."""

    async def test_mail(self) -> None:
        """The mail's text has the notices, whatever they contain, and only the address of the setting gets it."""
        needs_network()
        mailbox = Mailbox()
        port = reactor.listenTCP(0, mailbox, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        clock, settings, threads = TestReactor(), Settings(), list[Deferred[None]]()
        settings.BOT_ADMINS_FALLBACK = MailFallback("ops@example.org", port=port.getHost().port)
        fallback = NoticeFallback(clock, settings, lambda: 0.0)  # type: ignore[arg-type]
        self.patch(fallback, "start_thread", lambda function, name: threads.append(deferToThread(function)))
        notice = Notice("one\r\n.\r\nRCPT TO:<eve@example.org>\r\nBcc: eve@example.org \udcff", "")
        fallback.expect(notice)
        clock.advance(PATIENCE)
        fallback.look()
        await threads[0]
        await mailbox.closed
        self.assertTrue(notice.reached)
        self.assertEqual(mailbox.recipients, ["ops@example.org"])
        mail = message_from_bytes(b"\n".join(mailbox.lines), policy=policy.default)
        self.assertEqual(mail["To"], "ops@example.org")
        self.assertRegex(str(mail["Subject"]), "^errklein on .*: 1 notice$")
        self.assertIsNone(mail["Bcc"])
        self.assertIn(": one\n  .\n  RCPT TO:<eve@example.org>\n  Bcc: eve@example.org \ufffd", mail.get_content())


class ChatCase(PluginTestCase):
    """A bot with the setting, whose command isn't called."""

    config = {"BOT_ADMINS_FALLBACK": ["page", "ops"], "BOT_ADMINS_NOTIFICATIONS": (ADMIN, "#ops")}

    def passed_on(self) -> list[str]:
        """Return what is passed on when the administrators are notified."""
        calls: list[str] = []
        self.patch(_notices, "run", lambda command, seconds, text: calls.append(text))
        self.patch(self.bot.bot.notices._fallback, "start_thread", at_once)
        self.bot.bot.tell_admins("A plugin failed: KeyError: 'x1' at https://me:pw@host", "A plugin failed")
        self.bot.advance(PATIENCE)
        return calls


class ChatTests(ChatCase):
    """A network that works, or doesn't."""

    def test_chat_works(self) -> None:
        """Nothing is passed on while the network takes messages."""
        self.assertEqual(self.passed_on(), [])

    def test_nothing_is_taken(self) -> None:
        """If the network takes no message, the text that administrators get in private is passed on, with masked secrets."""

        def refuse(message: Any) -> None:
            raise OSError("no connection")

        self.patch(self.bot.backend, "send_message", refuse)
        [text] = self.passed_on()
        self.assertRegex(text, r"A plugin failed: KeyError: 'x1' at https://•••@host \(error \w{8}\)")

    def test_no_answer(self) -> None:
        """A message that waits in the network's outbox has reached nobody."""
        self.patch(self.bot.backend, "send_message", lambda message: Deferred())
        self.assertEqual(len(self.passed_on()), 1)

    def test_room(self) -> None:
        """A room is enough."""
        self.bot.bot.bot_config.BOT_ADMINS_NOTIFICATIONS = ("#ops",)
        self.assertEqual(self.passed_on(), [])

    def test_nobody(self) -> None:
        """Without recipients in chat, all notices are passed on."""
        self.bot.bot.bot_config.BOT_ADMINS_NOTIFICATIONS = ()
        self.assertEqual(len(self.passed_on()), 1)

    def test_null(self) -> None:
        """The network Null has nobody who could be reached."""
        self.patch(self.bot.bot.bot_config.networks["test"], "BACKEND", "Null")
        self.assertEqual(len(self.passed_on()), 1)


class IRCTests(WholeBotCase):
    """IRC, where a notice to an unknown nick may reach a stranger."""

    settings = {
        "BOT_ADMINS": ("boss!*@trusted",),
        "BOT_ADMINS_NOTIFICATIONS": ("boss",),
        "BOT_ADMINS_FALLBACK": "ops@example.org",
        "CORE_PLUGINS": (),
    }

    def passed_on(self) -> list[str]:
        """Return the mails after a notice."""
        mails: list[str] = []
        self.patch(_notices, "_send_mail", lambda mail, text, count: mails.append(text))
        self.patch(self.bot.notices._fallback, "start_thread", at_once)
        self.bot.warn_admins("careful")
        for _ in range(70):
            self.test_bot.reactor.advance(1)
            self.server.answer()
        return mails

    def test_present(self) -> None:
        """Nothing is passed on if the administrator is in a room of the bot."""
        self.server.say(":boss!b@trusted JOIN #ops")
        self.assertEqual(self.passed_on(), [])

    def test_unknown_holder(self) -> None:
        """If the bot doesn't know who has the nick, the notice is passed on."""
        self.assertIn(": careful\n", self.passed_on()[0])
