"""Tests of what plugins do with messages: handles, edits, deletions, reactions, files and threads."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, Message, botcmd
from errklein.chat import Attachment
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import MOST_FILE, Kind, Wanted
from errklein.networks.test import SentMessage
from errklein.ports.receipts import Receipt
from errklein.testing import PluginTestCase
from tests.processes import write_plugin
from tests.real_bot import RealBotCase

REF = MessageRef("test", "#ops", "m7", "t1")


class Notes(BotPlugin):
    """A plugin that hands its methods to the tests."""

    received: list[Message]

    def activate(self) -> None:
        super().activate()
        self.received = []

    def callback_message(self, message: Message) -> None:
        self.received.append(message)


class PerformCase(PluginTestCase):
    """A bot whose network keeps what is wanted."""

    plugins = (Notes,)

    def setUp(self) -> None:
        super().setUp()
        self.plugin: Any = self.bot.plugin("Notes")
        self.room = self.plugin.build_identifier("#ops")
        self.wanted: list[tuple[str | None, str, Wanted, bytes]] = []

        def perform(message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
            self.wanted.append((None if message.to is None else str(message.to), message.body, wanted, file))
            return Receipt(f"test/k{len(self.wanted)}")

        self.patch(self.bot.backend, "perform", perform)

    def message(self, text: str = "hello", ref: MessageRef | None = REF, frm: str = "@alice") -> Message:
        """Return a message of a person in the room."""
        message = Message(text, frm=self.bot.backend.query_room("#ops").enter(frm), to=self.room)
        message.ref, message.thread = ref, "" if ref is None else ref.thread
        return message


class ChangeTests(PerformCase):
    """`edit`, `delete` and `react`."""

    def test_handle(self) -> None:
        """A handle, or its text after a restart, names the message; the room is known of the latest messages."""
        sent = self.plugin.send(self.room, "one")
        edit = self.plugin.edit(sent, "two", mentions=True)
        self.assertIsInstance(edit, Receipt)
        self.plugin.delete(json.loads(json.dumps(sent)))
        self.plugin.edit("test/of-an-earlier-run", "three")
        self.assertEqual(
            self.wanted[1:],
            [
                ("#ops", "two", Wanted(Kind.EDIT, "test/k1"), b""),
                ("#ops", "", Wanted(Kind.DELETE, "test/k1"), b""),
                (None, "three", Wanted(Kind.EDIT, "test/of-an-earlier-run"), b""),
            ],
        )
        # What is stored with the message isn't the receipt.
        self.assertIs(type(self.wanted[1][2].target), Handle)

    def test_reaction(self) -> None:
        """A reaction has the text for networks without them: the name of the person, in rooms, and the emoji."""
        self.plugin.react(self.message(), "👀")
        self.plugin.react(self.message(), "👀", remove=True)
        self.plugin.react(REF, "👀")
        self.plugin.react(self.message(ref=None), "👀")
        own = Message("own", frm=self.bot.backend.bot_identifier, to=self.room)
        self.plugin.react(own, "👀")
        direct = Message("hello", frm=self.plugin.build_identifier("bob"), to=self.bot.backend.bot_identifier)
        self.plugin.react(direct, "👀")
        self.assertEqual(
            [(to, body, wanted.kind, wanted.target) for to, body, wanted, _ in self.wanted],
            [
                ("#ops", "@alice 👀", Kind.REACT, REF),
                ("#ops", "", Kind.UNREACT, REF),
                (None, "", Kind.REACT, REF),
                ("#ops", "@alice 👀", Kind.REACT, ""),
                ("#ops", "", Kind.REACT, ""),
                ("bob", "👀", Kind.REACT, ""),
            ],
        )
        self.assertEqual({wanted.emoji for _, _, wanted, _ in self.wanted}, {"👀"})

    def test_errors(self) -> None:
        """What names no message is an error that says what does."""
        for change, reason in (
            (lambda: self.plugin.edit(None, "text"), "expected what send"),
            (lambda: self.plugin.delete("k1"), "expected what send"),
            (lambda: self.plugin.edit(self.message(ref=None), "text"), "the message has no id"),
            (lambda: self.plugin.delete("elsewhere/k1"), "unknown network 'elsewhere'; known: test"),
        ):
            self.assertIn(reason, str(self.assertRaises(ValueError, change)))
        self.assertEqual(self.wanted, [])

    def test_errbots_reactions(self) -> None:
        """`add_reaction` and `remove_reaction` work on messages with ids, and raise NotImplementedError for others."""
        self.plugin.add_reaction(self.message(), "thumbsup")
        self.plugin.remove_reaction(self.message(), "thumbsup")
        self.assertRaises(NotImplementedError, self.plugin.add_reaction, self.message(ref=None), "thumbsup")
        self.assertEqual([wanted.kind for _, _, wanted, _ in self.wanted], [Kind.REACT, Kind.UNREACT])


class FileTests(PerformCase):
    """`send_file`."""

    def test_contents(self) -> None:
        """Bytes, a path and an open file are sent, with their names and types."""
        path = Path(self.mktemp())
        path.mkdir()
        path /= "report.pdf"
        path.write_bytes(b"%PDF")
        self.plugin.send_file(self.room, b"\x89PNG", "load.png", thread="t1")
        self.plugin.send_file(self.room, path)
        with path.open("rb") as opened:
            self.plugin.send_file(self.room, opened)
        self.plugin.send_file(self.room, io.BytesIO(b"a,b"), "../../etc/table", "text/csv")
        self.plugin.send_file(self.room, bytearray(b"x"))
        self.plugin.send_file(self.room, b"x", "a" * 70_000 + ".csv")
        self.assertEqual(
            [(wanted.file, wanted.type, wanted.thread, file) for _, _, wanted, file in self.wanted],
            [
                ("load.png", "image/png", "t1", b"\x89PNG"),
                ("report.pdf", "application/pdf", "", b"%PDF"),
                ("report.pdf", "application/pdf", "", b"%PDF"),
                ("table", "text/csv", "", b"a,b"),
                ("file", "", "", b"x"),
                ("a" * 196 + ".csv", "text/csv", "", b"x"),
            ],
        )

    def test_errors(self) -> None:
        """A text, a directory and a file that is too large aren't sent; the error says what to do."""
        for file, reason in (
            ("report.pdf", "expected bytes, the Path of a file, or a binary file, not 'report.pdf'"),
            (io.StringIO("text"), 'open it with mode "rb"'),
            (Path.cwd(), "expected bytes, the Path of a file"),
            (bytes(MOST_FILE + 1), "has more than 25,000,000 bytes; send a link to it instead"),
        ):
            self.assertIn(reason, str(self.assertRaises(ValueError, self.plugin.send_file, self.room, file)))
        self.assertRaises(ValueError, self.plugin.send_file, "#ops", b"")
        self.assertEqual(self.wanted, [])


class ThreadTests(PerformCase):
    """`thread=`."""

    def test_what_names_a_thread(self) -> None:
        """Its id, a message in it, a message that begins it, or the bot's own, whose id is looked up later."""
        begins = self.message(ref=MessageRef("test", "#ops", "m8"))
        sent = self.plugin.send(self.room, "own")
        for thread in ("t1", self.message(), REF, list(REF), begins, sent, self.message(ref=None), ""):
            self.plugin.send(self.room, "x", thread=thread)
        self.plugin.send_card(to=self.room, title="card", thread=begins)
        self.assertEqual(
            [wanted.thread or wanted.target for _, _, wanted, _ in self.wanted[1:]],
            ["t1", "t1", "t1", "t1", "m8", "test/k1", "", "", "m8"],
        )

    def test_networks_without_threads(self) -> None:
        """They get the first line of the message as a quote, as plain text."""
        self.plugin.send(self.room, "x", thread=self.message("*which*\nline", ref=None))
        self.assertEqual([wanted.quote for _, _, wanted, _ in self.wanted], [r"\*which\*"])

    def test_reply(self) -> None:
        """`in_reply_to` sends to the thread of the message, but only to where the message is."""
        message = self.message()
        self.plugin.send(self.room, "x", in_reply_to=message)
        self.plugin.send(message.frm, "x", in_reply_to=message)
        self.plugin.send(self.plugin.build_identifier("#other"), "x", in_reply_to=message)
        self.assertEqual([wanted.thread for _, _, wanted, _ in self.wanted], ["t1", "", ""])

    def test_command(self) -> None:
        """The reply to a command in a thread is sent to that thread."""
        message = self.message("!status")
        self.bot.backend.receive_message(message)
        self.assertEqual({wanted.thread for _, _, wanted, _ in self.wanted}, {"t1"})


class OwnNames(BotPlugin):
    """A plugin with attributes and commands of the same names."""

    edit = "mine"

    @botcmd
    def react(self, message: Any, args: Any) -> str:
        return "my react"

    @botcmd
    def delete(self, message: Any, args: Any) -> str:
        return "my delete"

    def activate(self) -> None:
        super().activate()
        self.send_file = "mine, too"


class OwnNamesTests(PluginTestCase):
    """A plugin's own attributes and commands."""

    plugins = (OwnNames,)

    def test_they_win(self) -> None:
        """They are what they were before."""
        plugin = self.bot.plugin("OwnNames")
        self.assertEqual((plugin.edit, plugin.send_file), ("mine", "mine, too"))
        self.assertEqual((self.command("!react"), self.command("!delete")), ("my react", "my delete"))


class WaitTests(PerformCase):
    """Waiting for the network and for the disk."""

    def test_on_the_reactor(self) -> None:
        """`wait` doesn't block the reactor, but says what to use instead."""
        sent = self.plugin.send(self.room, "text")
        self.assertIn("use `await sent`", str(self.assertRaises(RuntimeError, sent.wait)))
        self.assertIs(self.successResultOf(sent.stored), None)
        sent.settle(Handle(sent))
        self.assertRaises(RuntimeError, sent.wait)

    def test_several_wait(self) -> None:
        """Each of those who await a message gets the outcome, also later; one that is cancelled doesn't disturb the others."""
        sent = self.plugin.send(self.room, "text")

        async def wait() -> Any:
            return await sent

        waiting = [Deferred.fromCoroutine(wait()) for _ in range(3)]
        waiting[0].addErrback(lambda _: None).cancel()
        sent.settle(Handle(sent))
        for one in (*waiting[1:], Deferred.fromCoroutine(wait())):
            self.assertEqual(self.successResultOf(one), "test/k1")


class EventTests(PerformCase):
    """Messages that people edit and delete."""

    def test_edited(self) -> None:
        """An edited message runs no command, answers no question, and is no new message."""
        events: list[Any] = []
        self.plugin.callback_message_edited = events.append
        message = self.message("!status")
        message.edited = True
        self.bot.backend.receive_message(message)
        asked = self.plugin.ask(self.message("begin"), "Which?")
        answer = self.message("main")
        self.bot.bot.events.message_edited(self.bot.backend, answer)
        self.bot.advance(0)
        self.assertEqual(events, [message, answer])
        self.assertEqual((self.plugin.received, [body for _, body, *_ in self.wanted]), ([], ["Which?"]))
        self.assertTrue(answer.edited)
        self.assertNoResult(asked)
        asked.addErrback(lambda _: None).cancel()

    def test_deleted(self) -> None:
        """The callback gets the address and the person."""
        events: list[Any] = []
        self.plugin.callback_message_deleted = lambda *event: events.append(event)
        self.bot.bot.events.message_deleted(self.bot.backend, REF, None)
        self.bot.advance(0)
        self.assertEqual(events, [(REF, None)])

    def test_gap(self) -> None:
        """Administrators hear of messages that were not read."""
        self.bot.bot.events.gap_found(self.bot.backend, self.room, 0.0, 600.0)
        notices = " ".join(self.bot.log)
        self.assertIn("Some messages to #ops on test between 00:00 and 00:10 UTC were not read", notices)


class OldBotTests(SynchronousTestCase):
    """Tests of plugins that replace methods of the bot."""

    def test_options_that_are_not_given(self) -> None:
        """A function with errbot's parameters may replace `send`."""

        class Bot:
            send: Callable[..., Any] = staticmethod(lambda to, text, in_reply_to, groupchat_nick_reply: f"{to}: {text}")

        plugin: Any = object.__new__(BotPlugin)
        vars(plugin)["_bot"] = Bot()
        self.assertEqual(plugin.send("#ops", "text"), "#ops: text")


EVERYWHERE = """
from pathlib import Path

from twisted.internet.defer import inlineCallbacks

from errklein import BotPlugin, botcmd


class Everywhere(BotPlugin):
    @botcmd
    def thread(self, message, args):
        sent, other = self.send(message.to, "one"), self.send(message.to, "other", thread=message)
        sent.wait(60)
        sent.stored
        self.edit(sent, "two").wait(60)
        self.delete(other)
        self.react(sent, "👍")
        self.send_file(message.to, Path(__file__), thread=sent).wait(60)
        return message.attachments[0].read(100).decode()

    @botcmd
    async def coroutine(self, message, args):
        sent, other = self.send(message.to, "one"), self.send(message.to, "other", thread=message)
        await sent
        await sent.stored
        await self.edit(sent, "two")
        self.delete(other)
        self.react(sent, "👍")
        await self.send_file(message.to, Path(__file__), thread=sent)
        return (await message.attachments[0].read(100)).decode()

    @botcmd
    @inlineCallbacks
    def deferreds(self, message, args):
        sent, other = self.send(message.to, "one"), self.send(message.to, "other", thread=message)
        yield sent
        yield sent.stored
        yield self.edit(sent, "two")
        self.delete(other)
        self.react(sent, "👍")
        yield self.send_file(message.to, Path(__file__), thread=sent)
        return (yield message.attachments[0].read(100)).decode()
"""


class EverywhereTests(RealBotCase):
    """The same in threads, in coroutines and with Deferreds, in a real bot."""

    async def setUp(self) -> None:
        directory = Path(self.mktemp())
        write_plugin(directory, "Everywhere", EVERYWHERE)
        await self.start_bot(directory)

    async def test_all(self) -> None:
        """Each kind of handler sends, waits, edits, deletes, reacts, sends a file and reads one."""
        for kind in ("thread", "coroutine", "deferreds"):
            with self.subTest(kind=kind):
                self.backend.seen.clear()
                done: Deferred[None] = Deferred()

                def heard(sent: SentMessage, done: Deferred[None] = done) -> None:
                    if sent.text == "1,2" and not done.called:
                        done.callback(None)

                self.backend.watch(heard)
                attachment = Attachment("a.csv", "text/csv", 3, lambda most: succeed(b"1,2"))
                self.backend.receive(f"!{kind}", frm="@alice", to="#ops", attachments=[attachment])
                await done
                seen = [" ".join(one) for one in self.backend.seen.values()]
                self.assertEqual(seen, [f"!{kind}", "two 👍", "[everywhere.py]", "1,2"])
                threads = [ref.thread for ref in self.backend.seen]
                self.assertEqual(threads, ["", "", list(self.backend.seen)[1].id, ""])
