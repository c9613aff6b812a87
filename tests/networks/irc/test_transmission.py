"""Transmission of lines to servers that confirm, reject, delay and lose them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.irc._lines import ASK_AFTER, BEHIND_AFTER, WINDOW, LineRejected, MessageLine
from errklein.networks.outbox import NotConfirmed
from tests.networks.irc.listening import Listener
from tests.networks.irc.played import PlayedServer

LABELS = "batch labeled-response"
ECHO = "echo-message"


def line(text: str, target: str = "#ops", command: str = "PRIVMSG") -> MessageLine:
    """Return a line."""
    return MessageLine(command, target, text)


class Conversation:
    """A bot whose server has these capabilities.

    `results` has a text for each line that is settled, by the line's text; `reasons` has those of the rejections.
    """

    def __init__(self, offered: str = "", version: str = "other-1.0") -> None:
        self.server = PlayedServer()
        self.listener = Listener()
        self.backend = self.server.backend()
        self.backend.connect(self.listener)
        self.server.accept()
        self.server.say(f":irc.example CAP * LS :{offered}")
        requested = [each.removeprefix("CAP REQ :") for each in self.server.take() if each.startswith("CAP REQ")]
        self.server.say(*(f":irc.example CAP * ACK :{name}" for name in requested))
        self.server.say(":irc.example 001 errklein :Welcome", f":irc.example 004 errklein irc.example {version} o o")
        self.results: dict[str, str] = {}
        self.reasons: list[str] = []
        self._read = len(self.server.transport.value()) if self.server.transport else 0

    @property
    def transmission(self) -> Any:
        """The transmission of the current connection."""
        return self.server.protocol.transmission

    def transmit(self, *lines: MessageLine, more_follow: bool = False) -> None:
        """Transmit lines, and record what becomes of them."""
        for each, result in zip(lines, self.transmission.transmit(lines, more_follow), strict=True):
            result.addCallbacks(lambda _: "confirmed", self._failed).addCallback(self._record, each.text)

    def written(self) -> list[str]:
        """Return the lines that the bot has written since the last call."""
        assert self.server.transport is not None
        data = self.server.transport.value()[self._read :]
        self._read += len(data)
        return data.decode().split("\r\n")[:-1]

    def say(self, *lines: str) -> None:
        """Send lines to the bot."""
        self.server.say(*lines)

    def close(self) -> None:
        """Close the connection."""
        self.server.close()

    def _failed(self, failure: Failure) -> str:
        if failure.check(LineRejected):
            self.reasons.append(failure.getErrorMessage())
            return "rejected"
        return "lost" if failure.check(NotConfirmed) else "?"

    def _record(self, result: str, text: str) -> None:
        # A second result would be visible.
        self.results[text] = self.results.get(text, "") + result


class PingTests(SynchronousTestCase):
    """A server without capabilities."""

    def test_one_ping_for_several_lines(self) -> None:
        """Lines that are transmitted together have one PING, whose reply confirms them."""
        talk = Conversation()
        talk.transmit(line("one"), line("two"), line("three"))
        self.assertEqual(
            talk.written(), ["PRIVMSG #ops :one", "PRIVMSG #ops :two", "PRIVMSG #ops :three", "PING :errklein-3"]
        )
        self.assertEqual(talk.results, {})
        talk.say(":i PONG i :errklein-3")
        self.assertEqual(talk.results, dict.fromkeys(["one", "two", "three"], "confirmed"))

    def test_no_ping_while_more_lines_follow(self) -> None:
        """The PING waits for the last line, but for no more than WINDOW lines."""
        talk = Conversation(version="InspIRCd-4")
        for number in range(WINDOW - 1):
            talk.transmit(line(str(number)), more_follow=True)
        self.assertFalse([each for each in talk.written() if each.startswith("PING")])
        talk.transmit(line("x"), more_follow=True)
        self.assertEqual(talk.written(), ["PRIVMSG #ops :x", f"PING :errklein-{WINDOW}"])
        talk.say(f":i PONG i :errklein-{WINDOW}")
        talk.transmit(line("y"), more_follow=True)
        self.assertEqual(talk.written(), ["PRIVMSG #ops :y"])
        talk.transmit(line("z"))
        self.assertEqual(talk.written()[-1], f"PING :errklein-{WINDOW + 2}")

    def test_one_ping_at_a_time(self) -> None:
        """While the reply to a PING is missing, further lines have none; the reply is followed by one for all of them."""
        talk = Conversation()
        for text in ("one", "two", "three"):
            talk.transmit(line(text))
        self.assertEqual(
            talk.written(), ["PRIVMSG #ops :one", "PING :errklein-1", "PRIVMSG #ops :two", "PRIVMSG #ops :three"]
        )
        talk.say(":i PONG i :errklein-1")
        self.assertEqual(talk.written(), ["PING :errklein-3"])
        self.assertEqual(talk.results, {"one": "confirmed"})
        talk.say(":i PONG i :errklein-3")
        self.assertEqual(len(talk.results), 3)
        self.assertEqual(talk.written(), [])

    def test_last_line_while_the_reply_to_a_ping_is_missing(self) -> None:
        """The reply to an earlier PING is followed by one for the last lines, as soon as it is known that no more follow."""
        talk = Conversation()
        talk.transmit(line("one"))
        talk.transmit(line("two"), more_follow=True)
        talk.transmission.ask()
        talk.written()
        talk.say(":i PONG i :errklein-1")
        self.assertEqual(talk.written(), ["PING :errklein-2"])

    def test_rejection_without_a_target(self) -> None:
        """An error that has no target rejects the oldest line, and shows that the server isn't silent."""
        talk = Conversation()
        talk.transmit(line("a"), line("b"))
        talk.server.clock.advance(3)
        talk.say(":i 412 errklein :No text to send")
        self.assertEqual(talk.results, {"a": "rejected"})
        self.assertEqual(talk.transmission.silence, 0)

    def test_receive_queue_of_the_server(self) -> None:
        """On an unknown server, no line is sent while 512 bytes are unconfirmed."""
        talk = Conversation()
        talk.transmit(line("x" * 300), more_follow=True)
        self.assertFalse(talk.transmission.is_behind)
        talk.transmit(line("y" * 300), more_follow=True)
        self.assertTrue(talk.transmission.is_behind)
        self.assertEqual(talk.written()[-1], "PING :errklein-2")
        talk.say(":i PONG i :errklein-2")
        self.assertFalse(talk.transmission.is_behind)

    def test_server_that_delays(self) -> None:
        """A server that doesn't reply for BEHIND_AFTER seconds gets no further lines."""
        talk = Conversation()
        talk.server.clock.advance(10)
        talk.transmit(line("one"))
        self.assertFalse(talk.transmission.is_behind)
        talk.server.clock.advance(BEHIND_AFTER)
        self.assertTrue(talk.transmission.is_behind)
        talk.say(":i PONG i :errklein-1")
        self.assertFalse(talk.transmission.is_behind)

    def test_forgotten_lines(self) -> None:
        """If the lines that follow don't come, the PING is sent a few seconds later."""
        talk = Conversation()
        talk.transmit(line("one"), more_follow=True)
        self.assertEqual(talk.written(), ["PRIVMSG #ops :one"])
        talk.server.pass_time(2 * int(ASK_AFTER))
        self.assertEqual([each for each in talk.written() if each.startswith("PING")], ["PING :errklein-1"])

    def test_rejections(self) -> None:
        """A numeric reply rejects the oldest line to its target; other lines aren't affected."""
        talk = Conversation()
        talk.transmit(line("a"), line("b", "alice"), line("c", "#[x]"), line("d"), line("e"))
        talk.say(":i 404 errklein #{X} :Cannot send", ":i 401 errklein ALICE :No such nick", ":i 404 errklein #ops :No")
        self.assertEqual(talk.results, dict.fromkeys("abc", "rejected"))
        self.assertEqual(talk.reasons, ["#{X}: Cannot send", "ALICE: No such nick", "#ops: No"])
        talk.say(":i 404 errklein #other :No", ":i 482 errklein #ops :No", ":i PONG i :errklein-5")
        self.assertEqual(talk.results, {**dict.fromkeys("abc", "rejected"), **dict.fromkeys("de", "confirmed")})

    def test_other_pongs(self) -> None:
        """Replies to other PINGs, and invalid ones, confirm nothing."""
        talk = Conversation()
        talk.transmit(line("one"))
        talk.say(":i PONG i :errklein-alive", ":i PONG i :errklein-0", ":i PONG i :errklein-١", ":i PONG i", ":i PONG")
        self.assertEqual(talk.results, {})


class LabelTests(SynchronousTestCase):
    """A server with `labeled-response`."""

    def test_labels_instead_of_pings(self) -> None:
        """Each line has a label, and is confirmed by the reply with that label: ACK, another reply or an echo."""
        talk = Conversation(LABELS)
        talk.transmit(line("one"), line("two", "alice"), line("three"))
        self.assertEqual(
            talk.written(),
            ["@label=1 PRIVMSG #ops :one", "@label=2 PRIVMSG alice :two", "@label=3 PRIVMSG #ops :three"],
        )
        talk.say("@label=1 :i ACK")
        self.assertEqual(talk.results, {"one": "confirmed"})
        talk.say("@label=2 :i 301 errklein alice :lunch")
        self.assertEqual(talk.results, {"one": "confirmed", "two": "confirmed"})
        talk.say("@label=3 :errklein!e@h PRIVMSG #ops :three")
        self.assertEqual(len(talk.results), 3)

    def test_rejections(self) -> None:
        """An error with a label rejects that line, whatever its number and target are, and confirms those before it."""
        talk = Conversation(LABELS)
        talk.transmit(*(line(text) for text in "abcde"))
        talk.say(
            "@label=2 :i 404 errklein #ops :Cannot send",
            "@label=4 :i 599 errklein #x :Never heard of it",
            "@label=5 :i FAIL PRIVMSG CODE :No",
        )
        self.assertEqual(talk.results, {**dict.fromkeys("bde", "rejected"), **dict.fromkeys("ac", "confirmed")})
        self.assertEqual(talk.reasons, ["#ops: Cannot send", "#x: Never heard of it", "CODE No"])

    def test_errors_without_a_label(self) -> None:
        """An error without a label is about another command."""
        talk = Conversation(LABELS)
        talk.transmit(line("a"))
        talk.say(":i 404 errklein #ops :You can't set the topic")
        self.assertEqual(talk.results, {})

    def test_batches(self) -> None:
        """A reply of several lines is a batch, whose end confirms the line; an error in it rejects the line."""
        talk = Conversation(LABELS)
        talk.transmit(line("a"), line("b", "alice"))
        talk.say("@label=1 :i BATCH +x labeled-response", "@label=2 :i BATCH +y labeled-response")
        talk.say(
            "@batch=x :i 404 errklein #ops :No", "@batch=y :i 301 errklein alice :lunch", "@batch=x :i NOTICE * :x"
        )
        self.assertEqual(talk.results, {"a": "rejected"})
        talk.say("BATCH -x", ":i BATCH :-y")
        self.assertEqual(talk.results, {"a": "rejected", "b": "confirmed"})

    def test_missing_reply(self) -> None:
        """A line without a reply is confirmed by a PING, a few seconds later."""
        talk = Conversation(LABELS)
        talk.transmit(line("one"))
        talk.written()
        talk.server.pass_time(2 * int(ASK_AFTER))
        self.assertEqual([each for each in talk.written() if each.startswith("PING")], ["PING :errklein-1"])
        talk.say(":i PONG i :errklein-1")
        self.assertEqual(talk.results, {"one": "confirmed"})

    def test_server_that_delays(self) -> None:
        """While more than two lines are unconfirmed and the oldest is a second old, no further line is sent."""
        talk = Conversation(LABELS)
        talk.server.clock.advance(10)
        talk.transmit(line("a"), line("b"), line("c"))
        self.assertFalse(talk.transmission.is_behind)
        talk.server.clock.advance(BEHIND_AFTER)
        self.assertTrue(talk.transmission.is_behind)
        talk.say("@label=1 :i ACK")
        self.assertFalse(talk.transmission.is_behind)

    def test_strange_labels(self) -> None:
        """Labels that the bot hasn't used, and batches that never end, do no harm."""
        talk = Conversation(LABELS)
        talk.transmit(line("a"))
        talk.say(
            "@label=x :i ACK", "@label= :i ACK", "@label :i ACK", "@label=0 :i ACK", "@label=-1 :i 404 errklein #ops :x"
        )
        talk.say(*(f"@label=0 :i BATCH +{number} labeled-response" for number in range(1000)), "@label=1 :i BATCH")
        self.assertEqual(talk.results, {"a": "confirmed"})


class EchoTests(SynchronousTestCase):
    """A server with `echo-message`, but without labels."""

    def test_echoes_confirm_lines(self) -> None:
        """The server sends each line back, which confirms it; nothing is received."""
        talk = Conversation(ECHO)
        talk.transmit(line("one"), line("two", "Alice", "NOTICE"), line("three"))
        self.assertEqual(talk.written(), ["PRIVMSG #ops :one", "NOTICE Alice :two", "PRIVMSG #ops :three"])
        talk.say(":Errklein!e@h PRIVMSG #ops :one")
        self.assertEqual(talk.results, {"one": "confirmed"})
        talk.say(":errklein!e@h NOTICE alice :two", ":errklein!e@h PRIVMSG #ops :three")
        self.assertEqual(len(talk.results), 3)
        self.assertEqual(talk.listener.messages, [])

    def test_same_text_in_another_kind_of_message(self) -> None:
        """A message confirms no notice with the same text, and a notice no message."""
        for kind, other in (("PRIVMSG", "NOTICE"), ("NOTICE", "PRIVMSG")):
            talk = Conversation(ECHO)
            talk.transmit(line("one", command=kind))
            talk.say(f":errklein!e@h {other} #ops :one")
            self.assertEqual(talk.results, {})

    def test_altered_echoes(self) -> None:
        """A server may remove formatting from a line, and truncate it."""
        talk = Conversation(ECHO)
        talk.transmit(line("\x02bold\x02 \x0304,05red\x03 \x04ff0000hex and the rest"))
        talk.say(":errklein!e@h PRIVMSG #ops :bold red hex and")
        self.assertEqual(list(talk.results.values()), ["confirmed"])
        self.assertEqual(talk.listener.messages, [])

    def test_messages_of_another_connection(self) -> None:
        """Messages that another connection of the bot's account sends confirm nothing and aren't received."""
        talk = Conversation(ECHO)
        talk.transmit(line("one"))
        talk.say(":errklein!e@h PRIVMSG #ops :two", ":errklein!e@h PRIVMSG alice :one", ":errklein!e@h PRIVMSG #ops")
        self.assertEqual((talk.results, talk.listener.messages), ({}, []))

    def test_own_messages_while_echoes_are_altered(self) -> None:
        """Messages of another connection don't keep the bot from asking for a line whose echo it doesn't recognise."""
        talk = Conversation(ECHO)
        talk.transmit(line("one"))
        talk.say(":errklein!e@h PRIVMSG #ops :censored")
        for _ in range(2 * int(ASK_AFTER)):
            talk.server.pass_time(1)
            talk.say(":errklein!e@h PRIVMSG #ops :two")
        self.assertIn("PING :errklein-1", talk.written())
        talk.say(":i PONG errklein-1 i")
        self.assertEqual(talk.results, {"one": "confirmed"})

    def test_clock_of_the_server_is_set_back(self) -> None:
        """After a reply to the bot with an earlier time, messages with that time aren't taken for old ones."""
        for offered, reply in (
            (LABELS, "@label=1;time={} :i ACK"),
            (ECHO, "@time={} :errklein!e@h PRIVMSG #ops :one"),
            ("", "@time={} :i PONG i errklein-1"),
        ):
            talk = Conversation(f"{offered} server-time")
            talk.say("@time=2026-11-28T12:00:00.000Z :errklein!e@h JOIN #ops")
            talk.transmit(line("one"))
            for text in ("old", "new"):
                talk.say(f"@time=2026-11-28T11:00:00.000Z :alice!a@h PRIVMSG #ops :{text}")
                talk.say(reply.format("2026-11-28T11:00:00.000Z"))
            self.assertEqual(talk.results, {"one": "confirmed"})
            self.assertEqual(
                [(message.body, message.delayed) for message in talk.listener.messages], [("old", True), ("new", False)]
            )

    def test_message_to_itself(self) -> None:
        """A message of the bot to itself is received once: its echo isn't counted."""
        talk = Conversation(ECHO)
        talk.transmit(line("me", "errklein"))
        talk.say(*[":errklein!e@h PRIVMSG errklein :me"] * 2)
        self.assertEqual(talk.results, {"me": "confirmed"})
        self.assertEqual([message.body for message in talk.listener.messages], ["me"])

    def test_other_peoples_messages(self) -> None:
        """Other people's messages are received, and confirm nothing."""
        talk = Conversation(ECHO)
        talk.transmit(line("hello", "errklein"))
        talk.say(":alice!a@h PRIVMSG errklein :hello")
        self.assertEqual(talk.results, {})
        self.assertEqual([message.body for message in talk.listener.messages], ["hello"])


class Server:
    """A server that handles commands in order, when `handle` is called, and rejects lines to some targets.

    :param forgets: Returns whether it forgets to confirm the line.
    """

    def __init__(self, talk: Conversation, offered: str, forgets: Sequence[bool]) -> None:
        self.talk = talk
        self.offered = offered
        self.forgets = forgets
        self.waiting: list[str] = []
        self.accepted: list[str] = []
        self.handled: list[str] = []

    def receive(self) -> None:
        """Receive what the bot has written."""
        self.waiting += [each for each in self.talk.written() if "errklein-" in each or "PRIVMSG" in each]

    def handle(self) -> None:
        """Handle a command."""
        self.receive()
        if not self.waiting:
            return
        command = self.waiting.pop(0)
        if command.startswith("PING"):
            self.talk.say(f":i PONG i {command[5:]}")
            return
        match = re.fullmatch(r"(?:@label=(\d+) )?PRIVMSG (\S+) :(.*)", command)
        assert match is not None
        tag = f"@label={match[1]} " if match[1] else ""
        forgets = self.forgets[len(self.handled) % len(self.forgets)]
        self.handled.append(match[3])
        if match[2] == "#closed":
            self.talk.say(f"{tag}:i 404 errklein #closed :Cannot send")
            return
        self.accepted.append(match[3])
        if forgets:
            return
        if tag:
            self.talk.say(f"{tag}:i ACK")
        elif ECHO in self.offered:
            self.talk.say(f":errklein!e@h PRIVMSG {match[2]} :{match[3]}")


class AnyOrderTests(SynchronousTestCase):
    """Lines, replies and the end of the connection, in any order."""

    @given(
        st.sampled_from(["", LABELS, ECHO, f"{LABELS} {ECHO}"]),
        st.lists(
            st.one_of(
                st.tuples(
                    st.lists(st.sampled_from(["#ops", "#closed", "alice"]), min_size=1, max_size=5), st.booleans()
                ),
                st.integers(1, 8),
            ),
            max_size=20,
        ),
        st.lists(st.booleans(), min_size=1, max_size=4),
        st.booleans(),
    )
    def test_each_line_is_settled_once(self, offered: str, steps: list[Any], forgets: list[bool], breaks: bool) -> None:
        """Lines are written in order, and each is confirmed, rejected or reported as unconfirmed, once and rightly."""
        talk = Conversation(offered)
        server = Server(talk, offered, forgets)
        texts: list[str] = []
        targets: dict[str, str] = {}
        for step in steps:
            if isinstance(step, int):
                for _ in range(step):
                    server.handle()
                continue
            lines = []
            for target in step[0]:
                texts.append(f"line {len(texts):04d}")
                targets[texts[-1]] = target
                lines.append(line(texts[-1], target))
            talk.transmit(*lines, more_follow=step[1])
        if not breaks:
            for _ in range(3):
                while server.waiting or server.receive() or server.waiting:
                    server.handle()
                talk.server.pass_time(2 * int(ASK_AFTER))
            self.assertEqual(
                talk.results, {text: "rejected" if targets[text] == "#closed" else "confirmed" for text in texts}
            )
        talk.close()
        self.assertEqual(server.handled, texts[: len(server.handled)])
        self.assertEqual(set(talk.results), set(texts))
        for text, result in talk.results.items():
            if text not in server.handled:
                self.assertEqual(result, "lost")
            else:
                self.assertIn(result, ("lost", "confirmed" if text in server.accepted else "rejected"))


class ReentrantTests(SynchronousTestCase):
    """Lines that are transmitted by a callback of another line."""

    def test_next_line_in_a_callback(self) -> None:
        """The callback of a confirmed line may transmit the next one, which is confirmed by its own PING."""
        talk = Conversation()
        results: list[Deferred[None]] = talk.transmission.transmit([line("one"), line("two")], False)
        results[0].addCallback(lambda _: talk.transmit(line("three")))
        talk.say(":i PONG i :errklein-2")
        self.successResultOf(results[1])
        self.assertEqual(talk.written()[-2:], ["PRIVMSG #ops :three", "PING :errklein-3"])
        talk.say(":i PONG i :errklein-3")
        self.assertEqual(talk.results, {"three": "confirmed"})
