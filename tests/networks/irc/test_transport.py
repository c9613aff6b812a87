"""From the outbox to the lines on the connection: the same lines each time, at the server's pace, and all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.chat.operations import Post
from errklein.chat.outgoing import OutgoingMessage
from errklein.networks.irc._backend import IRCBackend
from errklein.networks.irc._lines import WINDOW
from errklein.networks.outbox import OutboxLimits
from tests.networks.irc.listening import Listener
from tests.networks.irc.played import PlayedServer

LABELS = "batch labeled-response"


class Delays:
    """A played server that handles a command in each interval, after a burst. `commands` has those that it has handled."""

    def __init__(self, offered: str = "", version: str = "other-1", **settings: object) -> None:
        self.server = PlayedServer()
        self.offered = offered
        self.version = version
        self.commands: list[str] = []
        self.waiting: list[str] = []
        self.backend: IRCBackend = self.server.backend(rooms=["#ops"], **settings)
        self.backend.connect(Listener())
        self.log_in()

    def log_in(self) -> None:
        """Welcome the bot."""
        self.server.accept()
        self._read = 0
        self.server.say(f":i CAP * LS :{self.offered}", *(f":i CAP * ACK :{name}" for name in self.offered.split()))
        self.server.say(":i 001 errklein :Welcome", f":i 004 errklein i {self.version} o o")
        self.server.enter("#ops")
        self.server.clock.advance(10)

    def break_off(self) -> None:
        """Break the connection, and wait for the next one."""
        attempts = self.server.attempts
        self.server.close()
        self.waiting.clear()
        while self.server.attempts == attempts:
            self.server.clock.advance(1)
        self.log_in()

    def receive(self) -> None:
        """Receive what the bot has written."""
        assert self.server.transport is not None
        data = self.server.transport.value()[self._read :]
        self._read += len(data)
        self.waiting += [line for line in data.decode().split("\r\n") if re.search(r"PRIVMSG|PING :errklein-\d", line)]

    def handle(self) -> None:
        """Handle a command, if there is one."""
        self.receive()
        if self.waiting:
            command = self.waiting.pop(0)
            self.commands.append(command)
            if command.startswith("PING"):
                self.server.say(f":i PONG i {command[5:]}")
            elif command.startswith("@"):
                self.server.say(f"{command.partition(' ')[0]} :i ACK")

    def pass_time(self, seconds: float) -> None:
        """Let time pass while the server waits for commands."""
        for _ in range(round(seconds * 20)):
            self.server.clock.advance(0.05)
            self.receive()

    @property
    def texts(self) -> Sequence[str]:
        """The texts of the lines that the server has handled."""
        return [command.split(" :", 1)[1] for command in self.commands if "PRIVMSG" in command]

    def send(self, count: int) -> list[str]:
        """Send a message of this number of lines to the room, and return them."""
        lines = [f"line {number:03d}" for number in range(count)]
        self.backend.send_message(Message("\n".join(lines), to=self.backend.query_room("#ops")))
        return lines


class PaceTests(SynchronousTestCase):
    """Commands that the bot sends."""

    def sent(self, talk: Delays, seconds: int = 200) -> int:
        """Return how many PINGs are sent with 100 lines to a server that replies at once."""
        lines = talk.send(100)
        for _ in range(seconds * 20):
            talk.pass_time(0.05)
            while talk.waiting:
                talk.handle()
        self.assertEqual(talk.texts, lines)
        self.assertEqual(talk.backend.outbox.status.messages, 0)
        return len(talk.commands) - len(lines)

    def test_pings_of_a_long_reply(self) -> None:
        """A reply of 100 lines has a PING for 8 or 16 lines, and none with labels."""
        self.assertEqual(self.sent(Delays(version="InspIRCd-4")), 100 // 16 + 1)
        self.assertEqual(self.sent(Delays(version="ngircd-27")), 100 // 8 + 1)
        self.assertEqual(self.sent(Delays(LABELS, "ergo-2")), 0)

    def test_pings_at_a_slow_rate(self) -> None:
        """At a slow rate of the configuration, each line is confirmed before the next one."""
        talk = Delays(IRC_CHANNEL_RATE=2.0)
        self.assertEqual(self.sent(talk, 220), 100)

    def test_few_lines_wait_at_a_slow_server(self) -> None:
        """Few lines wait at a server that handles one command per second."""
        for offered in ("", LABELS):
            talk = Delays(offered)
            lines = talk.send(60)
            for _ in range(100):
                talk.pass_time(1)
                self.assertLessEqual(len(talk.waiting), 10)
                talk.handle()
            self.assertEqual(talk.texts, lines)

    def test_nothing_is_sent_again_after_a_stop(self) -> None:
        """At the end of the grace period all lines that were sent are confirmed."""
        talk = Delays(version="ngircd-27")
        talk.send(100)
        gone = talk.backend.disconnect(10)
        for _ in range(220):
            talk.pass_time(0.05)
            while talk.waiting:
                talk.handle()
            if "QUIT :good-bye" in talk.server.take():
                break
        self.assertGreater(len(talk.texts), 30)
        self.assertTrue(talk.commands[-1].startswith("PING"), talk.commands[-1])
        talk.server.close()
        self.successResultOf(gone)


class SplitTests(SynchronousTestCase):
    """Messages and their lines."""

    def lines(self, nick: str = "errklein", **fields: object) -> list[tuple[str, str, str]]:
        """Return the lines of a message that is sent by a bot with this nick."""
        server = PlayedServer()
        backend = server.backend(rooms=["#ops"])
        backend.connect(Listener())
        server.welcome(nick)
        server.enter("#ops", nick)
        server.take()
        message = OutgoingMessage(**{"id": 1, "network": "irc", "recipient": "#ops", "body": "word " * 300, **fields})  # type: ignore[arg-type]
        return [(line.command, line.target, line.text) for line in backend.parts(Post(message.body), message, None)]

    def test_same_lines_with_another_nick(self) -> None:
        """The lines of a message don't depend on the nick, which may be another one after a restart."""
        lines = self.lines()
        self.assertEqual(lines, self.lines("Guest1234567890"))
        self.assertGreater(len(lines), 3)
        self.assertEqual("".join(text for _, _, text in lines).split(), ["word"] * 300)

    def test_stored_message(self) -> None:
        """A message that an earlier process has accepted is a notice if its details say so."""
        self.assertEqual(self.lines(body="hi"), [("PRIVMSG", "#ops", "hi")])
        self.assertEqual(
            self.lines(body="hi", recipient="alice", details='{"notice": true}'), [("NOTICE", "alice", "hi")]
        )


class ReconnectionTests(SynchronousTestCase):
    """Connections that break at any time."""

    @given(
        st.sampled_from(["", LABELS]),
        st.lists(
            st.one_of(
                st.tuples(st.just("send"), st.integers(1, 12)),
                st.tuples(st.just("handle"), st.integers(1, 20)),
                st.tuples(st.just("pass"), st.integers(1, 3)),
                st.just(("break", 0)),
            ),
            max_size=15,
        ),
    )
    def test_lines_survive_broken_connections(self, offered: str, steps: Sequence[tuple[str, int]]) -> None:
        """All lines arrive in order. After each broken connection, at most WINDOW lines arrive twice."""
        # Otherwise a line that was sent alone when two connections broke would be overtaken.
        with mock.patch("errklein.networks.irc._backend.outbox_limits", lambda *_: OutboxLimits(isolates=False)):
            talk = Delays(offered, IRC_CHANNEL_RATE=0.1)
        sent: list[str] = []
        breaks: list[int] = []
        for step, number in steps:
            if step == "send":
                lines = [f"line {len(sent) + index}" for index in range(number)]
                sent += lines
                talk.backend.send_message(Message("\n".join(lines), to=talk.backend.query_room("#ops")))
            elif step == "pass":
                talk.pass_time(number)
            elif step == "handle" or len(breaks) == 4:
                # After five broken connections, the line that was sent alone each time would be dropped.
                for _ in range(number):
                    talk.handle()
            else:
                breaks.append(len(talk.texts))
                talk.break_off()
        for _ in range(600):
            talk.pass_time(0.1)
            while talk.waiting:
                talk.handle()
            if not talk.backend.outbox.status.messages:
                break
        for begin, end in zip([0, *breaks], [*breaks, len(talk.texts)], strict=True):
            texts = talk.texts[begin:end]
            expected = sent[sent.index(texts[0]) :][: len(texts)] if texts else []
            self.assertEqual(texts, expected)
            if texts and begin:
                self.assertLessEqual(talk.texts[:begin].count(texts[0]), 1 + len(breaks))
                again = len(set(talk.texts[:begin]) & set(texts))
                self.assertLessEqual(again, WINDOW)
        self.assertEqual(list(dict.fromkeys(talk.texts)), sent)
