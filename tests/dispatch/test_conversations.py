"""Tests for questions of commands and the replies to them."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from errklein import BotPlugin, botcmd, botmatch
from errklein.chat import Message
from errklein.commands.flows import FlowRoot
from errklein.dispatch.conversations import MOST_QUESTIONS
from errklein.networks.irc.identifiers import IRCPerson
from tests.doubles import NetworksCase
from tests.real_bot import RealBotCase


class Asker(BotPlugin):
    """A plugin with commands that ask questions."""

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
    """A bot with that plugin."""

    plugins = (Asker,)
    networks = {
        "libera": {},
        "console": {},
        "loose": {"BOT_PREFIX_OPTIONAL_ON_CHAT": True},
        "bare": {"BOT_PREFIX": ""},
        "named": {"BOT_IDENTITY": {"username": "kit"}},
    }

    def setUp(self) -> None:
        """Remember the plugin's instance."""
        super().setUp()
        self.asker: Any = self.bot.plugin_manager.instance("Asker")


class AskTests(AskCase):
    """The person and place of a question, and the messages that count as its reply."""

    def test_odd_times(self) -> None:
        """An invalid timeout raises ValueError before anything is sent; a negative one has passed at once."""
        for odd, shown in (("text", "'soon'"), ("nan", "nan")):
            (answer,) = self.say(f"!until {odd}")
            self.assertEqual(answer, f"ValueError: timeout must be a number of seconds or None, not {shown}")
        self.assertEqual(self.say("!until past"), ["Well?"])
        self.reactor.advance(0)
        self.assertIn("NoAnswer", self.texts()[-1])
        self.say("hello")
        self.assertEqual(self.asker.heard[-1], "hello")

    def test_deactivated_plugins_ask_nothing(self) -> None:
        """A handler that continues after its plugin was deactivated can't ask."""
        self.say("!stubborn")
        self.successResultOf(self.bot.plugin_manager.deactivate("Asker"))
        self.assertNotIn("Second?", self.texts())
        self.assertFalse(self.bot.conversations.open)

    def test_answer(self) -> None:
        """The next message of the same person there is the reply and no command; `callback_message` gets it."""
        self.assertEqual(self.say("!branch"), ["Which branch?"])
        self.assertEqual(self.say("  main "), ["'main' of bob"])
        self.assertEqual(self.asker.heard, ["!branch", "  main "])
        self.assertEqual(self.say("main"), ["overheard"])

    def test_others_and_elsewhere(self) -> None:
        """Messages of other people, and in other places, aren't the reply."""
        self.assertEqual(self.say("!branch", to="#room"), ["Which branch?"])
        self.assertEqual(self.say("x", frm="carol", to="#room"), [])
        self.assertEqual(self.say("x") + self.say("x", to="#other") + self.say("x", to="#room", network="console"), [])
        self.assertEqual(self.say("dev", to="#room"), ["'dev' of bob@#room"])

    def test_commands_meanwhile(self) -> None:
        """A message with a prefix is a command, and the question stays open."""
        self.say("!branch")
        self.assertIn("errklein", self.say("!about")[0])
        self.assertEqual(self.say("dev"), ["'dev' of bob"])

    def test_commands_after_the_nick(self) -> None:
        """The bot's nick is a prefix, too, if a command follows."""
        self.say("!branch", to="#ops", network="named")
        self.assertIn("errklein", self.say("kit: about", to="#ops", network="named")[0])
        self.assertEqual(self.say("kit: dev", to="#ops", network="named"), ["'kit: dev' of bob@#ops"])

    def test_without_prefixes(self) -> None:
        """If the prefix is optional, a message without it is the reply; if it is empty, one that names no command."""
        self.say("!branch", network="loose")
        self.assertEqual(self.say("about", network="loose"), ["'about' of bob"])
        self.say("branch", network="bare")
        self.assertIn("errklein", self.say("about", network="bare")[0])
        self.assertEqual(self.say("dev", network="bare"), ["'dev' of bob"])

    def test_two_questions(self) -> None:
        """A second question to the same person is sent after the first reply; one to another person is sent at once."""
        self.say("!branch 1")
        self.assertEqual(self.say("!branch 2"), [])
        self.assertEqual(self.say("!branch 3", frm="carol"), ["Which branch3?"])
        self.assertEqual(self.say("a"), ["'a' of bob", "Which branch2?"])
        self.assertEqual(self.say("b"), ["'b' of bob"])

    def test_too_many(self) -> None:
        """A person with too many open questions is asked no more; other people are."""
        for number in range(MOST_QUESTIONS):
            self.say("!branch", to=f"#room{number}")
        self.assertEqual(
            self.say("!branch"), [f"You already have {MOST_QUESTIONS} open questions; reply to one first."]
        )
        self.assertEqual(self.say("!branch", frm="carol"), ["Which branch?"])

    def test_threads(self) -> None:
        """A question about a message in a thread is sent to that thread, and so is its reply."""
        backend = self.backends["libera"]

        def say(text: str, thread: str | None) -> None:
            backend.receive(text, frm="bob", to="#room", thread=thread or "")

        say("!branch", "one")
        self.assertTrue(backend.sent[0].message.is_threaded)
        say("x", None)
        say("x", "two")
        self.assertEqual(len(backend.sent), 1)
        say("dev", "one")
        self.assertEqual(self.texts()[-1], "'dev' of bob@#room")

    def test_who_takes_a_name(self) -> None:
        """A person who takes over the name, but differs in access rules, doesn't reply to the question."""
        backend = self.backends["libera"]

        def say(text: str, mask: str) -> None:
            backend.receive(text, frm=IRCPerson(mask, network="libera"))

        say("!branch", "alice!a@admin.host")
        say("x", "alice!m@evil.example")
        self.assertEqual(self.texts(), ["Which branch?"])
        say("dev", "alice!a@admin.host")
        self.assertEqual(self.texts()[1:], ["'dev' of alice!a@admin.host"])

    def test_threads_of_networks_with_extras_of_their_own(self) -> None:
        """Messages in threads are recognised even if a network's `extras` isn't a mapping."""
        backend = self.backends["libera"]
        self.say("!branch")
        begin = Message("begin", extras=("opaque",))  # type: ignore[arg-type]
        backend.receive_message(
            Message("!about", frm=backend.person_named("bob"), to=backend.bot_identifier, parent=begin)
        )
        self.assertIn("errklein", self.texts()[-1])


class DivertedTests(AskCase):
    """Questions of commands with diverted replies."""

    settings = {"DIVERT_TO_PRIVATE": ("branch", "in_turn"), "DIVERT_TO_THREAD": ("patient", "begins")}

    def test_private(self) -> None:
        """The question is sent in private, as the reply is; messages in the room aren't the reply."""
        self.say("!branch", to="#room")
        self.assertEqual(self.sent(), [("bob", "Which branch?")])
        self.assertEqual(self.say("x", to="#room") + self.say("x", frm="carol"), [])
        self.say("dev")
        self.assertEqual(self.sent()[1:], [("bob", "'dev' of bob")])

    def test_private_from_a_generator(self) -> None:
        """All questions of a command that yields its replies are diverted."""
        self.say("!in turn", to="#room")
        self.say("a")
        self.say("b")
        self.assertEqual(self.sent(), [("bob", "First?"), ("bob", "a"), ("bob", "Second?"), ("bob", "b")])

    def test_private_after_another_command(self) -> None:
        """The command that asks is diverted, and not one that was sent meanwhile."""
        self.say("!patient", to="#room")
        self.say("!branch", to="#room")
        self.assertEqual(self.sent(), [("#room", "Well?"), ("bob", "Which branch?")])
        self.reactor.advance(5)
        self.assertEqual(self.sent()[2:], [("#room", "Take your time")])

    def test_private_from_a_thread(self) -> None:
        """A question about a message in a room's thread is sent in private, outside of the thread."""
        self.hear("!branch", "begin")
        self.assertFalse(self.backends["libera"].sent[0].message.is_threaded)
        self.assertEqual(self.say("dev"), ["'dev' of bob"])

    def test_thread(self) -> None:
        """The question starts a thread, and the reply is the next message in that thread."""
        backend = self.backends["libera"]
        begin = backend.receive("!patient", frm="bob", to="#room")
        self.assertTrue(backend.sent[0].message.is_threaded)
        backend.receive("x", frm="bob", to="#room")
        backend.receive("x", frm="bob", to="#room", thread="m99")
        self.assertEqual(self.texts(), ["Well?"])
        backend.receive("done", frm="bob", to="#room", thread=begin.ref.id)
        self.assertEqual(self.texts()[1:], ["done"])

    def test_thread_without_ids(self) -> None:
        """Without message ids there may be no threads, so that the reply may be in the room as well."""
        self.hear("!patient", None)
        self.hear("x", "another")
        self.assertEqual(self.texts(), ["Well?"])
        self.hear("in the thread", "!patient")
        self.hear("!patient", None)
        self.hear("in the room", None)
        self.assertEqual(self.texts(), ["Well?", "in the thread", "Well?", "in the room"])

    def test_step_of_a_flow(self) -> None:
        """An automatic step of a flow replies to no message, so its questions aren't diverted."""
        root = FlowRoot("f", "A flow.")
        root.connect("branch", predicate=lambda ctx: True)
        self.bot.flow_executor.add_flow(root)
        self.say("!begins f")
        asked = self.backends["libera"].sent[-1].message
        self.assertEqual((asked.body, asked.is_threaded), ("Which branchNone?", False))
        self.say("dev")
        self.reactor.advance(0)
        self.successResultOf(self.bot.flow_executor.when_idle())

    def hear(self, text: str, parent: str | None) -> Message:
        """Send a message as Bob in the room, perhaps in a thread that begins with that text, on a network without ids."""
        backend = self.backends["libera"]
        room = backend.query_room("#room")
        begin = None if parent is None else Message(parent)
        message = Message(text, frm=room.enter("bob"), to=room, parent=begin)
        backend.receive_message(message)
        return message


class EndTests(AskCase):
    """Questions that end without a reply."""

    def test_timeout(self) -> None:
        """TimeoutError is raised after the timeout; an uncaught one is the reply, and isn't logged as an error."""
        self.say("!branch")
        self.reactor.advance(59)
        self.assertEqual(len(self.texts()), 1)
        self.reactor.advance(1)
        self.assertEqual(self.texts()[1:], ["There was no reply within 60 s."])
        self.assertEqual(self.say("main"), ["overheard"])

    def test_timeout_is_caught(self) -> None:
        """The exception is Python's TimeoutError; without a timeout, the question stays open."""
        self.say("!patient")
        self.reactor.advance(5)
        self.assertEqual(self.texts(), ["Well?", "Take your time"])
        self.reactor.advance(10_000)
        self.assertEqual(self.say("done"), ["done"])

    def test_time_begins_with_the_question(self) -> None:
        """The timeout of a question that waited for another one begins when it is sent."""
        self.say("!branch 1")
        self.reactor.advance(50)
        self.say("!branch 2")
        self.say("a")
        self.reactor.advance(50)
        self.assertEqual(self.say("b"), ["'b' of bob"])

    def test_deactivation(self) -> None:
        """The questions of a plugin end when it is deactivated."""
        self.say("!branch 1")
        self.say("!branch 2")
        self.successResultOf(self.bot.plugin_manager.deactivate("Asker"))
        self.assertEqual(self.texts()[1:], ["The plugin is deactivated."] * 2)
        self.successResultOf(self.bot.runner.when_idle())

    def test_stop(self) -> None:
        """All questions end when the bot stops."""
        self.say("!branch")
        self.bot.conversations.stop()
        self.assertEqual(self.texts()[1:], ["The bot is stopping."])
        self.assertEqual(self.say("!branch"), ["The bot is stopping."])

    def test_cancelling(self) -> None:
        """Cancelling the Deferred withdraws the question, and the next one is sent."""
        message = self.backends["libera"].receive("hello", frm="bob")
        first = self.asker.ask(message, "first?")
        second: Deferred[str] = self.asker.ask(message, "second?")
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual(self.texts(), ["first?", "second?"])
        self.say("yes")
        self.assertEqual(self.successResultOf(second), "yes")

    def test_question_that_cannot_be_sent(self) -> None:
        """An error of sending is raised by the question."""
        message = self.backends["libera"].receive("hello", frm="bob")
        self.successResultOf(self.backends["libera"].disconnect())
        self.failureResultOf(self.asker.ask(message, "there?"))

    def test_blocking_handlers_in_tests(self) -> None:
        """In a test bot without threads, a plain handler that asks gets an error in one line."""
        question, told = self.say("!blocking", frm="@admin")
        self.assertEqual(question, "Where?")
        self.assertIn("async def", told)
        self.flushLoggedErrors(RuntimeError)

    def test_what_is_there_at_once(self) -> None:
        """In a test bot without threads, plain handlers get results that need no waiting."""
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
    """Questions of blocking handlers in real threads."""

    config = {"DIVERT_TO_PRIVATE": ("where",)}

    async def setUp(self) -> None:
        """Start a bot with blocking commands."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "blocking.plug").write_text("[Core]\nName = Blocking\nModule = blocking\n")
        (directory / "blocking.py").write_text(BLOCKING)
        await self.start_bot(directory)

    async def test_blocking(self) -> None:
        """A blocking handler waits in its thread for the reply."""
        self.assertEqual(await self.say("!where", frm="bob"), ["Where?"])
        self.assertEqual(await self.say("Rome", frm="bob"), ["to Rome"])

    async def test_diverted(self) -> None:
        """The questions of a blocking handler are diverted like its replies."""
        self.assertEqual(await self.say("!where", frm="bob", to="#ops"), ["Where?"])
        self.assertEqual(str(self.backend.sent[-1].message.to), "bob")
        self.assertEqual(await self.say("Rome", frm="bob"), ["to Rome"])

    async def test_timeout(self) -> None:
        """A blocking handler gets TimeoutError, too."""
        self.assertEqual(await self.say("!soon", replies=2, frm="bob"), ["Soon?", "late"])
