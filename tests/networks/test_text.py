"""The Text backend through pipes, files and on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from errklein.chat import ONLINE, Message, Presence
from errklein.chat.identifiers import RoomNotJoinedError
from errklein.chat.operations import Kind, Wanted
from errklein.chat.outgoing import MessageState
from errklein.chat.streams import STREAM_WAITING_TO_START
from errklein.config import load_config
from errklein.journal import INLINE
from errklein.networks.text import TextBackend, TextOccupant, TextPerson, TextRoom
from errklein.ports.chat import BotOverview
from errklein.ports.outbox import OutboxClosed, SentLater
from errklein.running.context import assigned, handled_delivery, origin
from errklein.wiring import make_journal
from tests.networks.outbox.test_outbox import ThreadClock

REPOSITORY = Path(__file__).parents[2]


def configuration(**settings: Any) -> Any:
    """Return the configuration of a Text network."""
    defaults = {
        "network": "console",
        "BOT_IDENTITY": {},
        "BOT_ADMINS": ("@gbin",),
        "BOT_DATA_DIR": "",
        "COMPACT_OUTPUT": False,
        "OUTBOX_LIMIT": 100,
        "GRACE_PERIOD": 5.0,
        "CHATROOM_PRESENCE": (),
    }
    return SimpleNamespace(**(defaults | settings))


def facts(**given: Any) -> BotOverview:
    """Return facts about a bot, some of them as given."""
    known = ("!help", "!plugin config", "!plugin info")
    overview = BotOverview(
        "!", ("http://127.0.0.1:3141",), "data/errklein.log", False, ("webhooks",), lambda message: known
    )
    return replace(overview, **given)


class Events:
    """Records the events of a backend; `when` returns a Deferred for the next event of a kind."""

    def __init__(self) -> None:
        self.facts = facts()
        self.told: list[str] = []
        self.messages: list[Message] = []
        self.presences: list[Presence] = []
        self._waiting: list[tuple[str, Deferred[None]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)

        def tell(backend: Any, *args: Any) -> None:
            self.told.append(name)
            if name == "message_received":
                self.messages.append(args[0])
            if name == "presence_changed":
                self.presences.append(args[0])
            for what, waiting in list(self._waiting):
                if what == name:
                    self._waiting.remove((what, waiting))
                    waiting.callback(None)

        return tell

    def overview(self, backend: Any) -> BotOverview:
        """Return the facts about the bot."""
        return self.facts

    def when(self, name: str) -> Deferred[None]:
        """Return a Deferred that fires with the next event of that name."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((name, waiting))
        return waiting

    @property
    def bodies(self) -> list[str]:
        """The texts of the received messages."""
        return [message.body for message in self.messages]


@implementer(IReadDescriptor)
class Output:
    """The text that a file descriptor delivers; `until` waits for a text in it."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self.text = ""
        self._reactor = reactor
        self._descriptor = descriptor
        self._waiting: list[tuple[str, Deferred[None]]] = []
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return the name for the reactor's log."""
        return "output"

    def doRead(self) -> None:
        """Read the available data."""
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            data = b""
        if not data:
            self._reactor.removeReader(self)
        self.text += data.decode(errors="replace")
        for expected, waiting in list(self._waiting):
            if expected in self.text:
                self._waiting.remove((expected, waiting))
                waiting.callback(None)

    def connectionLost(self, reason: Any) -> None:
        """Do nothing."""

    def until(self, expected: str) -> Deferred[None]:
        """Return a Deferred that fires when `expected` has been read."""
        waiting: Deferred[None] = Deferred()
        if expected in self.text:
            waiting.callback(None)
        else:
            self._waiting.append((expected, waiting))
        return waiting

    def clear(self) -> None:
        """Drop the text so far."""
        self.text = ""

    def stop(self) -> None:
        """Stop reading."""
        self._reactor.removeReader(self)


class IdentifierTests(SynchronousTestCase):
    """Identifiers of the Text network."""

    def setUp(self) -> None:
        self.backend = TextBackend(Clock(), configuration(BOT_ADMINS=("gbin", "@bob", "x@y")))

    def test_person_room_occupant(self) -> None:
        """Each kind of identifier is built from its text, and from the text of an equal one."""
        for text, kind in (("@ann", TextPerson), ("#ops", TextRoom), ("#ops/ann", TextOccupant)):
            identifier = self.backend.build_identifier(text)
            self.assertIs(kind, type(identifier))
            self.assertEqual(text, str(identifier))
            self.assertEqual("console", identifier.network)
            self.assertEqual(identifier, self.backend.build_identifier(str(identifier)))
            self.assertEqual(hash(identifier), hash(self.backend.build_identifier(text)))

    def test_as_on_errbot(self) -> None:
        """Persons have the attributes that errbot gives them: a name without @, no nick and no full name."""
        person = self.backend.build_identifier("@ann")
        assert isinstance(person, TextPerson)
        self.assertEqual(
            ("@ann", "ann", "@ann", None, None, None, ""),
            (str(person), person.person, person.aclattr, person.client, person.nick, person.fullname, person.email),
        )
        for same in (TextPerson("ann"), TextPerson("@ann")):
            self.assertEqual((person, hash(person)), (same, hash(same)))
        given = TextPerson("ann", "phone", "annie", "Ann B.")
        self.assertEqual(("phone", "annie", "Ann B."), (given.client, given.nick, given.fullname))

    def test_room_as_on_errbot(self) -> None:
        """A room's name lacks the #, and its topic is a string from the start; `query_room` accepts both spellings."""
        room = self.backend.query_room("ops")
        self.assertIs(room, self.backend.query_room("#ops"))
        self.assertEqual(("ops", "#ops", "#ops"), (room.name, str(room), room.aclattr))
        with self.assertRaisesRegex(RoomNotJoinedError, "not in #ops"):
            self.assertTrue(room.topic)
        room.join()
        self.assertEqual("", room.topic)

    def test_invited(self) -> None:
        """A person who is invited twice is in the room once."""
        room = self.backend.query_room("#ops")
        room.join()
        room.invite("ann", "@ann", self.backend.build_identifier("@ann"))
        self.assertEqual(["#ops/ann"], [str(occupant) for occupant in room.occupants])

    def test_occupant(self) -> None:
        """An occupant has the name of the person; building the identifier doesn't add it to the room."""
        for written in ("#ops/bob", "#ops/@bob"):
            self.assertEqual("#ops/bob", str(self.backend.build_identifier(written)))
        occupant = self.backend.build_identifier("#ops/bob")
        assert isinstance(occupant, TextOccupant)
        self.assertEqual(
            ("bob", "@bob", None, None), (occupant.person, occupant.aclattr, occupant.nick, occupant.fullname)
        )
        self.assertEqual(self.backend.query_room("#ops"), occupant.room)
        self.assertNotEqual(self.backend.build_identifier("@bob"), occupant)
        self.backend.query_room("#ops").join()
        self.assertEqual([], self.backend.query_room("#ops").occupants)

    def test_nonsense(self) -> None:
        """Invalid identifiers raise an error that contains them."""
        for text in ("", "ann", "@", "#", "#ops/", "@a b", "http://x", "@@a", "#a/b/c", "bob"):
            with self.assertRaisesRegex(ValueError, re.escape(repr(text))):
                self.backend.build_identifier(text)

    def test_admins_without_at(self) -> None:
        """An administrator without @ in BOT_ADMINS is recognised: access rules match the name with and without it."""
        for written, person in (("gbin", "gbin"), ("@bob", "bob"), ("x@y", "x@y")):
            identifier = self.backend.build_identifier(written)
            assert isinstance(identifier, TextPerson)
            self.assertEqual(person, identifier.person)
            self.assertIn(written, identifier.access_names("admin"))
        for same in ("@gbin", "#ops/gbin", "#ops/@gbin"):
            self.assertIn("gbin", self.backend.build_identifier(same).access_names("admin"))
        self.assertEqual(("gbin", "@gbin"), (self.backend.user.person, self.backend.user.aclattr))
        told = TextBackend(Clock(), configuration(BOT_ADMINS=("@gbin",), BOT_ADMINS_NOTIFICATIONS=("gbin",)))
        self.assertEqual(told.administrator, told.build_identifier("gbin"))

    def test_bot(self) -> None:
        """The bot is @errbot, or the username of BOT_IDENTITY, and recognises its own messages."""
        self.assertEqual("@errbot", str(self.backend.bot_identifier))
        named = TextBackend(Clock(), configuration(BOT_IDENTITY={"username": "@marvin"}))
        self.assertEqual("@marvin", str(named.bot_identifier))
        self.assertTrue(named.is_from_self(Message("x", frm=named.build_identifier("@marvin"))))
        self.assertFalse(named.is_from_self(Message("x", frm=named.user)))

    def test_replies(self) -> None:
        """A reply goes to the person, or to the room unless it is private; a prefix names the person."""
        direct = Message("hi", frm=self.backend.user, to=self.backend.bot_identifier)
        reply = self.backend.build_reply(direct, "yes", threaded=True)
        self.assertEqual((self.backend.bot_identifier, self.backend.user, direct), (reply.frm, reply.to, reply.parent))
        room = self.backend.build_identifier("#ops")
        spoken = Message("hi", frm=self.backend.build_identifier("#ops/bob"), to=room)
        self.assertEqual(room, self.backend.build_reply(spoken, "yes").to)
        self.assertEqual("@bob", str(self.backend.build_reply(spoken, "yes", private=True).to))
        assert spoken.frm is not None
        self.backend.prefix_groupchat_reply(reply, spoken.frm)
        self.assertEqual("@bob yes", reply.body)


class PipeTests(TestCase):
    """Without a terminal each line of input is a message."""

    timeout = 120

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.events = Events()
        self.ends: set[int] = set()

    def pipe(self) -> tuple[int, int]:
        """Return both ends of a pipe, which are closed after the test."""
        ends = os.pipe()
        for end in ends:
            self.ends.add(end)
            self.addCleanup(self.close, end)
        return ends

    def close(self, end: int) -> None:
        """Close an end of a pipe, once."""
        if end in self.ends:
            self.ends.remove(end)
            os.close(end)

    def backend(self, source: int, target: int, **settings: Any) -> TextBackend:
        """Return a backend that reads from one descriptor and writes to another."""
        stdin = os.fdopen(source, encoding="utf-8", closefd=False)
        stdout = os.fdopen(target, "w", encoding="utf-8", closefd=False)
        self.addCleanup(stdin.close)
        self.addCleanup(stdout.close)
        backend = TextBackend(self.reactor, configuration(**settings), stdin=stdin, stdout=stdout)
        self.addCleanup(backend.disconnect)
        return backend

    def shown(self, **settings: Any) -> tuple[TextBackend, Output]:
        """Return a backend whose input is silent, and what it shows."""
        source, _ = self.pipe()
        shown, target = self.pipe()
        output = Output(self.reactor, shown)
        self.addCleanup(output.stop)
        return self.backend(source, target, **settings), output

    async def test_given_by_another_process(self) -> None:
        """The process that isn't connected sends nothing: the connected one shows its messages, which are sent only then."""
        config = load_config(None, {"BOT_DATA_DIR": self.mktemp(), "STORAGE": "Memory", "BACKEND": "Null"})
        journal: Any = make_journal(ThreadClock(), config, time.time, runs=INLINE)
        self.addCleanup(journal.close)
        (worker, hidden), (owner, output) = self.shown(), self.shown()
        for backend in (worker, owner):
            backend.outbox.use_store(journal.outbox, lambda: None)
        with assigned(origin, "route:CI:build"), assigned(handled_delivery, ("route:CI:build", 7)):
            worker.send_message(Message("build 7 is *done*", to=worker.build_identifier("#ops")))
            sent = worker.send_message(Message("to a person", to=worker.build_identifier("@ann")))
        states = [one.state for one in self.successResultOf(journal.outbox.find(delivery=7))]
        self.assertEqual(states, [MessageState.WAITING, MessageState.WAITING])
        owner.connect(self.events)
        journal.outbox.flush()
        owner.outbox.take(self.successResultOf(journal.outbox.lease(())))
        await output.until("build 7 is done\nto a person\n")
        states = [one.state for one in self.successResultOf(journal.outbox.find(delivery=7))]
        self.assertEqual((states, hidden.text), ([MessageState.SENT, MessageState.SENT], ""))
        self.failureResultOf(sent.watch(), SentLater)

    async def hear(self, data: bytes) -> list[str]:
        """Return the messages that the bot receives for this input."""
        source, typed = self.pipe()
        _, target = self.pipe()
        ended = self.events.when("backend_ended")
        self.backend(source, target).connect(self.events)
        await deferToThread(_write, typed, data)
        self.close(typed)
        await ended
        return self.events.bodies

    async def test_lines(self) -> None:
        """Each non-empty line is a message of the first administrator, in order, and then the conversation ends."""
        self.assertEqual(["!a", "  !b c ", "d"], await self.hear(b"!a\n\n  !b c \r\n   \nd"))
        self.assertEqual("backend_connected", self.events.told[0])
        self.assertEqual("backend_ended", self.events.told[-1])
        message = self.events.messages[0]
        self.assertEqual(("@gbin", "@errbot"), (str(message.frm), str(message.to)))
        self.assertTrue(message.is_direct)

    async def test_any_encoding(self) -> None:
        """Bytes that aren't UTF-8 are replaced; the rest of the line is kept."""
        self.assertEqual(["é\ufffdx", "y"], await self.hear("é".encode() + b"\xffx\ny\n"))

    async def test_long_line(self) -> None:
        """A line may be longer than any buffer."""
        self.assertEqual(["x" * 1_000_000, "y"], await self.hear(b"x" * 1_000_000 + b"\ny\n"))

    async def test_mentions(self) -> None:
        """`@name` in a message is a mention."""
        await self.hear(b"ask @bob, or mail a@b.c\n")
        self.assertIn("mention_received", self.events.told)
        self.assertEqual(1, self.events.told.count("mention_received"))

    async def test_presence(self) -> None:
        """The administrator is present from the start, and plugins receive that after the connection."""
        await self.hear(b"")
        self.assertEqual(["backend_connected", "presence_changed", "backend_ended"], self.events.told)
        presence = self.events.presences[0]
        self.assertEqual(("@gbin", ONLINE, None), (str(presence.identifier), presence.status, presence.message))

    async def test_file(self) -> None:
        """Standard input may be a regular file, or empty."""
        for data, expected in ((b"one\ntwo\n", ["one", "two"]), (b"", [])):
            with tempfile.TemporaryFile() as file:
                file.write(data)
                file.seek(0)
                self.events = Events()
                ended = self.events.when("backend_ended")
                _, target = self.pipe()
                self.backend(file.fileno(), target).connect(self.events)
                await ended
                self.assertEqual(expected, self.events.bodies)

    async def test_replies(self) -> None:
        """Messages are written as plain text lines, at once and in order."""
        backend, output = self.shown()
        early = backend.send_message(Message("**early**", to=backend.user))
        backend.connect(self.events)
        await early  # type: ignore[misc]
        await backend.send_message(Message("# now\n\x1b[2J", to=backend.user))  # type: ignore[misc]
        await deferToThread(backend.send_message, Message("from a thread", to=backend.user))
        await output.until("thread\n")
        self.assertEqual("early\nNOW\nfrom a thread\n", output.text)

    async def test_fallbacks(self) -> None:
        """What a terminal lacks is shown as text: an edit, a reaction, the thread that is meant, and a small file."""
        backend, output = self.shown()
        backend.connect(self.events)
        sent = backend.send_message(Message("red", to=backend.user))
        for text, wanted, file in (
            ("green", Wanted(Kind.EDIT, str(sent)), b""),
            ("@bob: 👍", Wanted(Kind.REACT, emoji="👍"), b""),
            ("yes", Wanted(quote="Ready?"), b""),
            ("", Wanted(Kind.FILE, file="a.txt", type="text/plain"), b"x = 1"),
        ):
            await backend.perform(Message(text, to=backend.user), wanted, file)  # type: ignore[misc]
        await output.until("x = 1\n")
        for line in ("red", "(corrected) green", "@bob: 👍", "Ready?", "yes", "a.txt:", "x = 1"):
            self.assertIn(line, [each.strip() for each in output.text.splitlines()])

    async def test_in_all_ways(self) -> None:
        """With TEXT_DEMO_MODE = False a message is shown in the rendering of each kind of network."""
        backend, output = self.shown(TEXT_DEMO_MODE=False)
        backend.connect(self.events)
        await backend.send_message(Message("**now** {: color='red'}\x1b[2J", to=backend.user))  # type: ignore[misc]
        await output.until("*now*")
        await output.until("\n--- IM text ---\n")
        for part in ("--- Markdown ---\n**now**", "<strong>now</strong>", "--- text ---\nnow"):
            self.assertIn(part, output.text)
        self.assertNotIn("\x1b", output.text)

    async def test_in_parts(self) -> None:
        """A message longer than MESSAGE_SIZE_LIMIT, by default 10000, is shown in parts."""
        for settings, limit in (({}, 10_000), ({"MESSAGE_SIZE_LIMIT": None}, 10_000), ({"MESSAGE_SIZE_LIMIT": 80}, 80)):
            backend, output = self.shown(**settings)
            backend.connect(self.events)
            await backend.send_message(Message("x" * limit, to=backend.user))  # type: ignore[misc]
            await backend.send_message(Message("y" * (2 * limit + 1), to=backend.user))  # type: ignore[misc]
            await output.until("y\ny\n")
            self.assertEqual(["x" * limit, "y" * limit, "y" * limit, "y"], output.text.splitlines())

    async def test_stream(self) -> None:
        """A file is shown as a line with its name and size; the stream stays pending and unread."""
        backend, output = self.shown()
        backend.connect(self.events)
        file = io.BytesIO(b"bytes")
        stream = backend.send_stream_request(backend.user, file, "a_b*.txt", 5, "text/plain")
        self.assertEqual(
            (backend.user, "a_b*.txt", 5, "text/plain", STREAM_WAITING_TO_START, 0),
            (stream.identifier, stream.name, stream.size, stream.stream_type, stream.status, file.tell()),
        )
        backend.send_stream_request(backend.user, io.BytesIO())
        await output.until("a file\n")
        self.assertEqual("stream a_b*.txt, 5 bytes\nstream a file\n", output.text)

    async def test_slow_reader(self) -> None:
        """A slow reader of standard output blocks neither the reactor nor other messages, and gets all of them."""
        source, _ = self.pipe()
        shown, target = self.pipe()
        backend = self.backend(source, target)
        backend.connect(self.events)
        # More than a pipe holds, of a size that it takes at once, and then larger ones.
        texts = [f"{number} {'x' * (3_000 if number < 40 else 9_000)}" for number in range(50)]
        for text in texts:
            backend.send_message(Message(text, to=backend.user))
        left = backend.disconnect(10)
        output = Output(self.reactor, shown)
        self.addCleanup(output.stop)
        await left
        await output.until(f"{texts[-1]}\n")
        self.assertEqual(texts, output.text.splitlines())

    async def test_nobody_reads(self) -> None:
        """If the reader of standard output is gone, the conversation ends without an error."""
        source, _ = self.pipe()
        shown, target = self.pipe()
        backend = self.backend(source, target)
        backend.connect(self.events)
        self.close(shown)
        ended = self.events.when("backend_ended")
        backend.send_message(Message("x", to=backend.user))
        backend.send_message(Message("y" * 10_000, to=backend.user))
        await ended
        self.assertEqual(1, self.events.told.count("backend_ended"))

    async def test_to_nobody(self) -> None:
        """A message without a recipient raises ValueError."""
        source, _ = self.pipe()
        _, target = self.pipe()
        self.assertRaises(ValueError, self.backend(source, target).send_message, Message("x"))

    async def test_after_disconnect(self) -> None:
        """After `disconnect` no message is received, and sending raises OutboxClosed."""
        source, typed = self.pipe()
        _, target = self.pipe()
        backend = self.backend(source, target)
        backend.connect(self.events)
        await backend.disconnect()
        os.write(typed, b"!too late\n")
        self.assertRaises(OutboxClosed, backend.send_message, Message("x", to=backend.user))
        await backend.disconnect()
        self.assertEqual(["backend_connected", "presence_changed"], self.events.told)


class ProcessTests(SynchronousTestCase):
    """A process with redirected standard input."""

    SCRIPT = """
import sys
from types import SimpleNamespace
from twisted.internet import reactor
from twisted.python import log
from errklein.networks.text import TextBackend

sys.path.insert(0, {repository!r})
from tests.networks.test_text import configuration, facts

class Echo:
    def overview(self, backend):
        return facts()
    def backend_connected(self, backend):
        print("this is the log's")
    def presence_changed(self, backend, presence):
        pass
    def message_received(self, backend, message):
        backend.send_message(backend.build_reply(message, "**" + message.body + "**"))
    def backend_ended(self, backend):
        backend.disconnect().addCallback(lambda _: reactor.stop())

log.startLogging(sys.stderr)
reactor.callWhenRunning(TextBackend(reactor, configuration()).connect, Echo())
reactor.run()
"""

    def run_echo(self, **arguments: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a process that echoes messages in bold, with sys.stdout as its log."""
        return subprocess.run(
            [sys.executable, "-c", self.SCRIPT.format(repository=str(REPOSITORY))],
            capture_output=True,
            check=False,
            cwd=REPOSITORY,
            timeout=30,
            **arguments,
        )

    def test_replies_alone(self) -> None:
        """Standard output has the replies and nothing else; the process ends after them."""
        ended = self.run_echo(input="hello\nwörld\n".encode())
        self.assertEqual((0, "hello\nwörld\n".encode()), (ended.returncode, ended.stdout), ended.stderr.decode())
        self.assertIn(b"this is the log's", ended.stderr)

    def test_nothing_to_read(self) -> None:
        """With /dev/null as input the process ends without output."""
        ended = self.run_echo(stdin=subprocess.DEVNULL)
        self.assertEqual((0, b""), (ended.returncode, ended.stdout), ended.stderr.decode())


class TerminalCase(TestCase):
    """A backend on a pseudo-terminal."""

    timeout = 120

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.events = Events()
        self.data_dir = Path(self.mktemp())
        self.data_dir.mkdir()
        self.patch(os, "environ", os.environ | {"TERM": "xterm"})

    def open(self) -> tuple[TextBackend, Output, Callable[[str], None]]:
        """Return a backend on a new terminal, its screen, and a function that types."""
        master, slave = pty.openpty()
        stdin = os.fdopen(slave, encoding="utf-8", closefd=False)
        stdout = os.fdopen(slave, "w", encoding="utf-8", closefd=False)
        backend = TextBackend(self.reactor, configuration(BOT_DATA_DIR=str(self.data_dir)), stdin=stdin, stdout=stdout)
        screen = Output(self.reactor, master)

        async def close() -> None:
            await backend.disconnect()
            screen.stop()
            stdin.close()
            stdout.close()
            os.close(slave)
            os.close(master)

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))

        def type_(text: str) -> None:
            os.write(master, text.encode())

        return backend, screen, type_


class TerminalTests(TerminalCase):
    """A conversation on a pseudo-terminal."""

    async def test_conversation(self) -> None:
        """A typed line is received, the reply is shown in colours, and the prompt appears again."""
        backend, screen, type_ = self.open()
        backend.connect(self.events)
        await screen.until(" >")
        self.assertIn("@gbin", screen.text)
        heard = self.events.when("message_received")
        type_("!status\r")
        await heard
        self.assertEqual(["!status"], self.events.bodies)
        await backend.send_message(backend.build_reply(self.events.messages[0], "**fine**"))  # type: ignore[misc]
        await screen.until("\x1b[1mfine\x1b[22m")

    async def test_message_while_typing(self) -> None:
        """A message of the bot appears above the line that is being typed, which is kept."""
        backend, screen, type_ = self.open()
        backend.connect(self.events)
        await screen.until(" >")
        type_("!ha")
        await screen.until("!ha")
        screen.clear()
        backend.send_message(Message("news", to=backend.build_identifier("#ops")))
        await screen.until("!ha")
        self.assertRegex(screen.text, r"(?s)#ops:.*news\r?\n.*!ha")
        heard = self.events.when("message_received")
        type_("lf\r")
        await heard
        self.assertEqual(["!half"], self.events.bodies)

    async def test_who_and_where(self) -> None:
        """The prompt shows the sender and the room; the text being typed is kept."""
        backend, screen, type_ = self.open()
        backend.connect(self.events)
        await screen.until("@gbin")
        type_("!ha")
        await screen.until("!ha")
        # Only what differs from what was there is written.
        for change, drawn in (
            (lambda: backend.set_user(backend.person_named("dave")), "dave"),
            (lambda: backend.set_room(backend.query_room("#ops")), "#ops/dave"),
            (lambda: backend.set_user(backend.administrator), "gbin"),
        ):
            screen.clear()
            change()
            await screen.until(drawn)
        heard = self.events.when("message_received")
        screen.clear()
        type_("lf\r")
        await heard
        await screen.until("!half")
        self.assertRegex(screen.text, r"#ops/gbin\x1b\[22m > !half")
        self.assertEqual(["#ops/gbin"], [str(message.frm) for message in self.events.messages])

    async def test_addressee(self) -> None:
        """A reply names its recipient only if that is neither the current sender nor that of the last message."""
        backend, screen, type_ = self.open()
        backend.connect(self.events)
        await screen.until(" >")
        heard = self.events.when("message_received")
        type_("!asuser bob\r")
        await heard
        backend.set_user(backend.person_named("bob"))
        answer = backend.build_reply(self.events.messages[0], "You are bob")
        await backend.send_message(answer)  # type: ignore[misc]
        await screen.until("You are bob")
        self.assertNotIn("@gbin:", screen.text)
        heard = self.events.when("message_received")
        type_("!x\r")
        await heard
        await backend.send_message(answer)  # type: ignore[misc]
        await screen.until("@gbin:\x1b[22m You are bob")
        backend.set_room(backend.query_room("#ops"))
        await backend.send_message(Message("to all", to=backend.room))  # type: ignore[misc]
        await screen.until("to all")
        self.assertNotIn("#ops:", screen.text)

    async def test_history(self) -> None:
        """The arrow key recalls lines of the last conversation; only the owner may read their file."""
        backend, screen, type_ = self.open()
        backend.connect(self.events)
        await screen.until(" >")
        heard = self.events.when("message_received")
        type_("!first time\r")
        await heard
        await backend.disconnect()
        again, screen, type_ = self.open()
        again.connect(self.events)
        await screen.until(" >")
        heard = self.events.when("message_received")
        type_("\x1b[A\r")
        await heard
        self.assertEqual(["!first time", "!first time"], self.events.bodies)
        self.assertEqual([0o600], [file.stat().st_mode & 0o777 for file in self.data_dir.iterdir()])

    async def test_end(self) -> None:
        """Ctrl-D ends the conversation; later messages are shown, and the terminal is restored."""
        import termios

        backend, screen, type_ = self.open()
        assert backend is not None
        before = termios.tcgetattr(screen.fileno())
        backend.connect(self.events)
        await screen.until(" >")
        ended = self.events.when("backend_ended")
        type_("\x04")
        await ended
        await backend.send_message(Message("last", to=backend.user))  # type: ignore[misc]
        await screen.until("last")
        self.assertEqual(before, termios.tcgetattr(screen.fileno()))

    async def test_interrupt(self) -> None:
        """Ctrl-C sends SIGINT, and the terminal shows that the bot stops."""
        interrupted: Deferred[None] = Deferred()
        previous = signal.signal(signal.SIGINT, lambda *_: self.reactor.callFromThread(interrupted.callback, None))
        self.addCleanup(signal.signal, signal.SIGINT, previous)
        backend, screen, type_ = self.open()
        backend.connect(self.events)
        await screen.until(" >")
        type_("\x03")
        await interrupted
        await screen.until("Ctrl-C: the bot stops.")

    async def test_typed_escapes_do_not_reach_terminal(self) -> None:
        """Terminal sequences in a message don't reach the terminal."""
        backend, screen, _ = self.open()
        backend.connect(self.events)
        await screen.until(" >")
        screen.clear()
        await backend.send_message(Message("a\x1b[2J\x1b]0;title\x07b", to=backend.user))  # type: ignore[misc]
        await screen.until("ab")
        self.assertNotIn("\x1b[2J", screen.text)
        self.assertNotIn("title", screen.text)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
