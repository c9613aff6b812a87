"""Tests for questions of plugins and their answers."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from errklein import BotPlugin, botcmd, botmatch
from errklein.backends.irc.identifiers import IRCPerson
from errklein.chat import Message
from errklein.commands.flows import FlowRoot
from errklein.dispatch.conversations import MOST_QUESTIONS
from tests.networks import NetworksCase
from tests.real_bot import RealBotCase


class Asker(BotPlugin):
    """Asks."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.heard: list[str] = []

    def callback_message(self, message: Message) -> None:
        self.heard.append(message.body)

    @botcmd
    async def branch(self, msg: Message, args: str) -> str:
        reply = await self.ask(msg, f"Which branch{args}?", timeout=60)
        return f"{reply!r} of {reply.message.frm}"

    @botcmd
    async def patient(self, msg: Message, args: str) -> str:
        try:
            return str(await self.ask(msg, "Well?", timeout=5))
        except TimeoutError:
            return str(await self.ask(msg, "Take your time", timeout=None))

    @botcmd
    async def until(self, msg: Message, args: str) -> str:
        timeout = {"text": "soon", "nan": float("nan"), "past": -1}[args]
        try:
            return str(await self.ask(msg, "Well?", timeout=timeout))  # type: ignore[arg-type]
        except (TimeoutError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    @botcmd
    async def stubborn(self, msg: Message, args: str) -> str:
        try:
            return str(await self.ask(msg, "First?"))
        except Exception:
            return str(await self.ask(msg, "Second?", timeout=None))

    @botcmd
    def blocking(self, msg: Message, args: str) -> str:
        return str(self.ask(msg, "Where?"))

    @botcmd
    async def in_turn(self, msg: Message, args: str) -> AsyncIterator[str]:
        yield str(await self.ask(msg, "First?"))
        yield str(await self.ask(msg, "Second?"))

    @botcmd
    async def begins(self, msg: Message, args: str) -> None:
        self._bot.flow_executor.start_flow(args, msg.frm, {})

    @botmatch("main")
    def listens(self, msg: Message, match: Any) -> str:
        return "overheard"


class AskCase(NetworksCase):
    """Has the plugin."""

    plugins = (Asker,)
    networks = {"libera": {}, "console": {}, "loose": {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}, "bare": {"BOT_PREFIX": ""}}

    def setUp(self) -> None:
        """Have the plugin at hand."""
        super().setUp()
        self.asker: Any = self.bot.plugin_manager.instance("Asker")


class AskTests(AskCase):
    """Who is asked, and what counts as the answer."""

    def test_odd_times(self) -> None:
        """What is no time is refused and asks nothing; time that is over already is over at once."""
        for odd, shown in (("text", "'soon'"), ("nan", "nan")):
            (answer,) = self.say(f"!until {odd}")
            self.assertEqual(answer, f"ValueError: timeout must be a number of seconds or None, not {shown}")
        self.assertEqual(self.say("!until past"), ["Well?"])
        self.reactor.advance(0)
        self.assertIn("NoAnswer", self.texts()[-1])
        self.say("hello")
        self.assertEqual(self.asker.heard[-1], "hello")

    def test_deactivated_plugins_ask_nothing(self) -> None:
        """A handler that goes on after its plugin was deactivated can't ask again."""
        self.say("!stubborn")
        self.successResultOf(self.bot.plugin_manager.deactivate("Asker"))
        self.assertNotIn("Second?", self.texts())
        self.assertFalse(self.bot.conversations.waiting)

    def test_answer(self) -> None:
        """The next thing that the same person says there is the answer, and is nothing else; plugins see it."""
        self.assertEqual(self.say("!branch"), ["Which branch?"])
        self.assertEqual(self.say("  main "), ["'main' of bob"])
        self.assertEqual(self.asker.heard, ["!branch", "  main "])
        self.assertEqual(self.say("main"), ["overheard"])

    def test_others_and_elsewhere(self) -> None:
        """Nobody else answers, and nothing that is said elsewhere does."""
        self.assertEqual(self.say("!branch", to="#room"), ["Which branch?"])
        self.assertEqual(self.say("x", frm="carol", to="#room"), [])
        self.assertEqual(self.say("x") + self.say("x", to="#other") + self.say("x", to="#room", network="console"), [])
        self.assertEqual(self.say("dev", to="#room"), ["'dev' of bob@#room"])

    def test_commands_meanwhile(self) -> None:
        """What begins with a prefix is a command; the question stays open."""
        self.say("!branch")
        self.assertIn("errklein", self.say("!about")[0])
        self.assertEqual(self.say("dev"), ["'dev' of bob"])

    def test_without_prefixes(self) -> None:
        """Where no prefix is needed whatever has none is the answer; without any prefix, what names no command."""
        self.say("!branch", network="loose")
        self.assertEqual(self.say("about", network="loose"), ["'about' of bob"])
        self.say("branch", network="bare")
        self.assertIn("errklein", self.say("about", network="bare")[0])
        self.assertEqual(self.say("dev", network="bare"), ["'dev' of bob"])

    def test_two_questions(self) -> None:
        """A second question to the same person is sent after the first answer; to another person at once."""
        self.say("!branch 1")
        self.assertEqual(self.say("!branch 2"), [])
        self.assertEqual(self.say("!branch 3", frm="carol"), ["Which branch3?"])
        self.assertEqual(self.say("a"), ["'a' of bob", "Which branch2?"])
        self.assertEqual(self.say("b"), ["'b' of bob"])

    def test_too_many(self) -> None:
        """Somebody who leaves questions open, wherever, is asked no more of them; others are."""
        for number in range(MOST_QUESTIONS):
            self.say("!branch", to=f"#room{number}")
        self.assertEqual(
            self.say("!branch"), [f"You already have {MOST_QUESTIONS} open questions; reply to one first."]
        )
        self.assertEqual(self.say("!branch", frm="carol"), ["Which branch?"])

    def test_threads(self) -> None:
        """A question that was caused in a thread is asked and answered there."""
        backend = self.backends["libera"]

        def say(text: str, thread: str | None) -> None:
            parent = None if thread is None else Message("begin", extras={"id": thread})
            room = backend.query_room("#room")
            backend.receive_message(Message(text, frm=room.enter("bob"), to=room, parent=parent))

        say("!branch", "one")
        self.assertTrue(backend.sent[0].message.is_threaded)
        say("x", None)
        say("x", "two")
        self.assertEqual(len(backend.sent), 1)
        say("dev", "one")
        self.assertEqual(self.texts()[-1], "'dev' of bob@#room")

    def test_who_takes_a_name(self) -> None:
        """Who has the name of somebody that was asked, but is another one for access rules, doesn't answer."""
        backend = self.backends["libera"]

        def say(text: str, mask: str) -> None:
            backend.receive(text, frm=IRCPerson(mask, network="libera"))

        say("!branch", "alice!a@admin.host")
        say("x", "alice!m@evil.example")
        self.assertEqual(self.texts(), ["Which branch?"])
        say("dev", "alice!a@admin.host")
        self.assertEqual(self.texts()[1:], ["'dev' of alice!a@admin.host"])

    def test_threads_of_networks_with_extras_of_their_own(self) -> None:
        """Where a network keeps other things than a mapping beside a message, what is said in a thread is understood."""
        backend = self.backends["libera"]
        self.say("!branch")
        begin = Message("begin", extras=("opaque",))  # type: ignore[arg-type]
        backend.receive_message(
            Message("!about", frm=backend.person_named("bob"), to=backend.bot_identifier, parent=begin)
        )
        self.assertIn("errklein", self.texts()[-1])


class DivertedTests(AskCase):
    """Where the settings have answers go elsewhere."""

    settings = {"DIVERT_TO_PRIVATE": ("branch", "in_turn"), "DIVERT_TO_THREAD": ("patient", "begins")}

    def test_private(self) -> None:
        """The question is asked in private, as the answer is given; what is said in the room is none."""
        self.say("!branch", to="#room")
        self.assertEqual(self.sent(), [("bob", "Which branch?")])
        self.assertEqual(self.say("x", to="#room") + self.say("x", frm="carol"), [])
        self.say("dev")
        self.assertEqual(self.sent()[1:], [("bob", "'dev' of bob")])

    def test_private_from_a_generator(self) -> None:
        """All that a command asks which yields its answers."""
        self.say("!in turn", to="#room")
        self.say("a")
        self.say("b")
        self.assertEqual(self.sent(), [("bob", "First?"), ("bob", "a"), ("bob", "Second?"), ("bob", "b")])

    def test_private_after_another_command(self) -> None:
        """It is the command that asks which counts, not one that was given meanwhile."""
        self.say("!patient", to="#room")
        self.say("!branch", to="#room")
        self.assertEqual(self.sent(), [("#room", "Well?"), ("bob", "Which branch?")])
        self.reactor.advance(5)
        self.assertEqual(self.sent()[2:], [("#room", "Take your time")])

    def test_private_from_a_thread(self) -> None:
        """What was said in a room's thread is asked about in private, outside of it."""
        self.hear("!branch", "begin")
        self.assertFalse(self.backends["libera"].sent[0].message.is_threaded)
        self.assertEqual(self.say("dev"), ["'dev' of bob"])

    def test_thread(self) -> None:
        """The question begins a thread, and the answer is what is said in that one."""
        self.hear("!patient", None, id="1")
        self.assertTrue(self.backends["libera"].sent[0].message.is_threaded)
        self.hear("x", None, id="2")
        self.hear("x", "!patient", id="3")
        self.assertEqual(self.texts(), ["Well?"])
        self.hear("done", "!patient", parent="1")
        self.assertEqual(self.texts()[1:], ["done"])

    def test_thread_without_ids(self) -> None:
        """Where messages can't be told apart by ids there may be no threads: the answer is in the room as well."""
        self.hear("!patient", None)
        self.hear("x", "another")
        self.assertEqual(self.texts(), ["Well?"])
        self.hear("in the thread", "!patient")
        self.hear("!patient", None)
        self.hear("in the room", None)
        self.assertEqual(self.texts(), ["Well?", "in the thread", "Well?", "in the room"])

    def test_step_of_a_flow(self) -> None:
        """What a flow runs by itself answers no message, from which a question could be diverted."""
        root = FlowRoot("f", "A flow.")
        root.connect("branch", predicate=lambda ctx: True)
        self.bot.flow_executor.add_flow(root)
        self.say("!begins f")
        asked = self.backends["libera"].sent[-1].message
        self.assertEqual((asked.body, asked.is_threaded), ("Which branchNone?", False))
        self.say("dev")
        self.reactor.advance(0)
        self.successResultOf(self.bot.flow_executor.when_idle())

    def hear(self, text: str, thread: str | None, id: str | None = None, parent: str | None = None) -> None:
        """Bob says something in the room, perhaps in a thread."""
        backend = self.backends["libera"]
        room = backend.query_room("#room")
        begin = None if thread is None else Message(thread, extras=_ids(parent))
        backend.receive_message(Message(text, frm=room.enter("bob"), to=room, parent=begin, extras=_ids(id)))


def _ids(id: str | None) -> dict[str, Any]:
    return {} if id is None else {"id": id}


class EndTests(AskCase):
    """Questions without an answer."""

    def test_timeout(self) -> None:
        """TimeoutError comes after so many seconds; a command that doesn't catch it says so, and it is no fault."""
        self.say("!branch")
        self.reactor.advance(59)
        self.assertEqual(len(self.texts()), 1)
        self.reactor.advance(1)
        self.assertEqual(self.texts()[1:], ["There was no reply within 60 s."])
        self.assertEqual(self.say("main"), ["overheard"])

    def test_timeout_is_caught(self) -> None:
        """It is Python's own TimeoutError; without a time limit a question stays open."""
        self.say("!patient")
        self.reactor.advance(5)
        self.assertEqual(self.texts(), ["Well?", "Take your time"])
        self.reactor.advance(10_000)
        self.assertEqual(self.say("done"), ["done"])

    def test_time_begins_with_the_question(self) -> None:
        """A question that waited for another one has all of its time."""
        self.say("!branch 1")
        self.reactor.advance(50)
        self.say("!branch 2")
        self.say("a")
        self.reactor.advance(50)
        self.assertEqual(self.say("b"), ["'b' of bob"])

    def test_deactivation(self) -> None:
        """A plugin that is deactivated gets no answer any more."""
        self.say("!branch 1")
        self.say("!branch 2")
        self.successResultOf(self.bot.plugin_manager.deactivate("Asker"))
        self.assertEqual(self.texts()[1:], ["The plugin is deactivated."] * 2)
        self.successResultOf(self.bot.runner.when_idle())

    def test_stop(self) -> None:
        """A bot that stops doesn't wait for answers."""
        self.say("!branch")
        self.bot.conversations.stop()
        self.assertEqual(self.texts()[1:], ["The bot is stopping."])
        self.assertEqual(self.say("!branch"), ["The bot is stopping."])

    def test_cancelling(self) -> None:
        """Who doesn't want the answer any more cancels, and the next question is sent."""
        message = self.backends["libera"].receive("hello", frm="bob")
        first = self.asker.ask(message, "first?")
        second: Deferred[str] = self.asker.ask(message, "second?")
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual(self.texts(), ["first?", "second?"])
        self.say("yes")
        self.assertEqual(self.successResultOf(second), "yes")

    def test_question_that_cannot_be_sent(self) -> None:
        """What sending raises is what the question fails with."""
        message = self.backends["libera"].receive("hello", frm="bob")
        self.successResultOf(self.backends["libera"].disconnect())
        self.failureResultOf(self.asker.ask(message, "there?"))

    def test_blocking_handlers_in_tests(self) -> None:
        """A test whose bot has no threads is told in one line that a plain handler can't ask there."""
        question, told = self.say("!blocking", frm="@admin")
        self.assertEqual(question, "Where?")
        self.assertIn("async def", told)
        self.flushLoggedErrors(RuntimeError)

    def test_what_is_there_at_once(self) -> None:
        """What needs no waiting is had by plain handlers there as well."""
        waits: list[Any] = []

        class Plain(BotPlugin):
            @botcmd
            def now(self, msg: Any, args: str) -> str:
                waits.append(self._bot.waits.result_of(str, "at once"))
                return "said"

        plain = Plain(self.bot, "Plain")
        plain.activate()
        self.addCleanup(plain.deactivate)
        self.assertEqual((self.say("!now"), waits), (["said"], ["at once"]))


BLOCKING = textwrap.dedent(
    """
    from errklein import BotPlugin, botcmd

    class Blocking(BotPlugin):
        @botcmd
        def where(self, msg, args):
            return "to " + self.ask(msg, "Where?")

        @botcmd
        def soon(self, msg, args):
            try:
                return self.ask(msg, "Soon?", timeout=0.01)
            except TimeoutError as error:
                return "late"
    """
)


class ThreadTests(RealBotCase):
    """Questions of blocking handlers, in real threads."""

    config = {"DIVERT_TO_PRIVATE": ("where",)}

    async def setUp(self) -> None:
        """Have a plugin with blocking commands."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "blocking.plug").write_text("[Core]\nName = Blocking\nModule = blocking\n")
        (directory / "blocking.py").write_text(BLOCKING)
        await self.start_bot(directory)

    async def test_blocking(self) -> None:
        """A blocking handler waits in its thread for the answer."""
        self.assertEqual(await self.say("!where", frm="bob"), ["Where?"])
        self.assertEqual(await self.say("Rome", frm="bob"), ["to Rome"])

    async def test_diverted(self) -> None:
        """What a blocking handler asks goes where its answers go as well."""
        self.assertEqual(await self.say("!where", frm="bob", to="#ops"), ["Where?"])
        self.assertEqual(str(self.backend.sent[-1].message.to), "bob")
        self.assertEqual(await self.say("Rome", frm="bob"), ["to Rome"])

    async def test_timeout(self) -> None:
        """A blocking handler gets TimeoutError too."""
        self.assertEqual(await self.say("!soon", replies=2, frm="bob"), ["Soon?", "late"])
