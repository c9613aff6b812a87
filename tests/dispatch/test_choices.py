"""Tests for questions with choices: who may choose, by which button or text, and what is noted."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from errklein import BotPlugin, botcmd
from errklein.chat import Message
from errklein.chat.features import BARE
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Press
from errklein.dispatch.conversations import MOST_QUESTIONS, MOST_WITH_BUTTONS, NOT_OPEN, NOT_PERMITTED
from errklein.networks.test import TestBackend
from errklein.webhooks.deliveries import Action
from tests.doubles import NetworksCase
from tests.processes import write_plugin
from tests.real_bot import RealBotCase

QUESTION = "Deploy to *production*?"
SHOWN = "Deploy to production?"


class Releases(BotPlugin):
    """A plugin with commands that ask for a choice."""

    def activate(self) -> None:
        super().activate()
        self.asking: Any = None

    @botcmd
    async def deploy(self, msg: Message, args: str) -> str:
        answer = await self.choose(msg, QUESTION, ["yes", "no"], who=args.split() or None, timeout=60)
        return f"{answer!r} number {answer.number} by {answer.by.person}"

    @botcmd
    async def announce(self, msg: Message, args: str) -> str:
        return "announced: " + await self.choose(self.build_identifier(args), QUESTION, ["yes", "no"], timeout=None)

    @botcmd(admin_only=True)
    async def guarded(self, msg: Message, args: str) -> str:
        return "guarded: " + await self.choose(self.build_identifier(args), QUESTION, ["yes", "no"])

    @botcmd
    @inlineCallbacks
    def deferred(self, msg: Message, args: str) -> Any:
        self.asking = self.choose(msg, QUESTION, ["yes", "no"])
        answer = yield self.asking
        return f"deferred: {answer} {answer.ref.id if answer.ref else ''} {answer.message}"

    @botcmd
    async def wrong(self, msg: Message, args: str) -> str:
        arguments: dict[str, tuple[Any, ...]] = {
            "none": (msg, QUESTION, []),
            "text": (msg, QUESTION, "yes"),
            "twice": (msg, QUESTION, ["yes", "Yes"]),
            "long": (msg, QUESTION, ["x" * 76]),
            "control": (msg, QUESTION, ["yes", "yes\x00"]),
            "surrogate": (msg, QUESTION, ["\ud800"]),
            "blank": (msg, " ", ["yes"]),
            "place": ("#ops", QUESTION, ["yes"]),
        }
        whose = {"room": self.build_identifier("#ops"), "number": 5, "nobody": [], "unset": ""}
        try:
            if args in whose:
                return str(await self.choose(msg, QUESTION, ["yes"], who=whose[args]))  # type: ignore[arg-type]
            return str(await self.choose(*arguments[args]))
        except (TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    @botcmd
    def blocking(self, msg: Message, args: str) -> str:
        return "blocking: " + self.choose(msg, QUESTION, ["yes", "no"])

    @botcmd
    async def wonder(self, msg: Message, args: str) -> str:
        return "wondered " + await self.ask(msg, "What?")


class ChoicesCase(NetworksCase):
    """A bot with that plugin, on a network with buttons and on one without."""

    plugins = (Releases,)
    networks = {
        "net": {"BOT_ADMINS": ("alice",)},
        "bare": {},
        "editable": {},
        "strict": {"ACCESS_CONTROLS": {"announce": {"allowusers": ("alice", "bob")}}},
    }

    def setUp(self) -> None:
        super().setUp()
        self.backends["bare"].features_of_test = BARE
        self.backends["editable"].features_of_test = replace(BARE, edits=True, threads=True)
        self.plugin: Any = self.bot.plugin_manager.instance("Releases")

    def say(self, text: str, frm: str = "bob", to: str | None = "#ops", network: str = "net") -> list[str]:
        """Say something, and return the texts of the bot there after all that is ready has run."""
        before = len(self.texts(network))
        self.backends[network].receive(text, frm=frm, to=to)
        self.reactor.advance(0)
        return self.texts(network)[before:]

    def press(self, label: str, by: str = "bob", network: str = "net", ref: MessageRef | None = None) -> str:
        """Press the button of the latest question, or a number of a message, and return what the person is shown."""
        backend: TestBackend = self.backends[network]
        number = 0
        if ref is None:
            ref, labels = list(backend.buttons.items())[-1]
            number = labels.index(label)
        refusal = backend.press(ref, number, by)
        self.reactor.advance(0)
        return refusal

    def seen(self, network: str = "net") -> list[str]:
        """Return what people see now."""
        return [" ".join(texts) for texts in self.backends[network].seen.values()]


class ButtonTests(ChoicesCase):
    """Questions with buttons."""

    def test_press(self) -> None:
        """The sender presses a button: the command goes on, and the question shows who has chosen what, without buttons."""
        self.assertEqual(self.say("!deploy"), [SHOWN])
        self.assertEqual(list(self.backends["net"].buttons.values()), [("yes", "no")])
        self.assertEqual(self.press("no"), "")
        self.assertEqual(self.seen(), ["!deploy", f"{SHOWN}\n no (bob)", "'no' number 1 by bob"])
        self.assertFalse(self.backends["net"].buttons)

    def test_press_is_acknowledged_first(self) -> None:
        """The network gets its reply to a press before the command goes on."""
        self.say("!deploy")
        [(ref, _)] = self.backends["net"].buttons.items()
        self.assertEqual(self.backends["net"].press(ref, 0, "bob"), "")
        self.assertNotIn("'yes' number 0 by bob", self.seen())
        self.reactor.advance(0)
        self.assertIn("'yes' number 0 by bob", self.seen())

    def test_only_the_sender(self) -> None:
        """Others who press get a reason alone, and the question stays open."""
        self.say("!deploy")
        self.assertEqual(self.press("yes", "carol"), NOT_PERMITTED)
        self.assertEqual(self.sent("net")[-1], ("carol", NOT_PERMITTED))
        self.assertEqual(self.press("yes"), "")

    def test_named_people(self) -> None:
        """`who` names others, with patterns as in access rules; then the sender may not."""
        self.say("!deploy c?rol dave")
        self.assertEqual(self.press("yes"), NOT_PERMITTED)
        self.assertEqual(self.press("yes", "carol"), "")
        self.assertIn("'yes' number 0 by carol", self.seen())

    def test_people_of_several_networks(self) -> None:
        """`who` may be BOT_ADMINS of all networks, whose names begin with the network."""
        self.say("!deploy net:alice bare:carol")
        self.assertEqual(self.press("yes", by="carol"), NOT_PERMITTED)
        self.assertEqual(self.press("yes", by="alice"), "")

    def test_text_is_no_press(self) -> None:
        """Where there are buttons, a text chooses nothing."""
        self.say("!deploy")
        self.assertEqual(self.say("yes") + self.say("1"), [])
        self.assertEqual(self.press("yes"), "")

    def test_identifiers(self) -> None:
        """`who` may be an identifier of a person, also of one in another place."""
        asked: Deferred[Any] = self.plugin.choose(
            self.bot.build_identifier("net:#ops"),
            QUESTION,
            ["yes"],
            who=[self.bot.build_identifier("net:carol"), self.bot.build_identifier("bare:bob")],
            timeout=None,
        )
        self.assertEqual(self.press("yes"), NOT_PERMITTED)
        self.assertEqual(self.press("yes", "carol"), "")
        self.assertEqual(str(self.successResultOf(asked)), "yes")

    def test_room(self) -> None:
        """A question to a room without a message may be answered by everybody there who may run the command."""
        self.assertEqual(self.say("!announce strict:#dev", network="strict"), [SHOWN])
        self.assertEqual(self.press("yes", "carol", "strict"), NOT_PERMITTED)
        self.assertEqual(self.press("yes", "alice", "strict"), "")
        self.say("!announce #dev")
        self.assertEqual(self.press("yes", "carol"), "")

    def test_room_of_an_admin_command(self) -> None:
        """Administrators may answer the question of their command in a room, in which the command itself is denied."""
        self.say("!guarded #dev", frm="alice", to=None)
        self.assertEqual(self.press("yes"), NOT_PERMITTED)
        self.assertEqual(self.press("yes", "alice"), "")

    def test_room_outside_of_commands(self) -> None:
        """Outside of commands, everybody in the room may answer."""
        asked = self.plugin.choose(self.bot.build_identifier("net:#ops"), QUESTION, ["yes"], timeout=None)
        self.assertEqual(self.press("yes", "anybody"), "")
        self.assertEqual(self.successResultOf(asked).by.person, "anybody")

    def test_person(self) -> None:
        """A question to a person is private, and theirs."""
        self.say("!announce carol")
        self.assertEqual(self.sent("net")[-1], ("carol", SHOWN))
        self.assertEqual(self.press("yes", "carol"), "")

    def test_old_buttons(self) -> None:
        """A button of an answered question, or of none, isn't open any more, and answers no other question."""
        self.say("!deploy")
        [ref] = self.backends["net"].buttons
        self.press("yes")
        self.say("!deploy")
        self.assertEqual(self.press("yes", ref=ref), NOT_OPEN)
        self.assertEqual(self.press("yes", ref=ref._replace(id="m99")), NOT_OPEN)
        self.assertEqual(self.backends["net"].press(next(iter(self.backends["net"].buttons)), 2, "bob"), NOT_OPEN)
        self.assertEqual(self.press("yes"), "")

    def test_name_and_id_of_a_room(self) -> None:
        """A press names the room by its id, also if the plugin has named it otherwise; the thread doesn't matter."""
        backend: TestBackend = self.backends["net"]
        build = backend.build_identifier
        self.patch(backend, "build_identifier", lambda text: build("#ops" if text == "C0123" else text))
        self.say("!deploy")
        [ref] = backend.buttons
        self.assertEqual(self.press("yes", ref=ref._replace(room="C0123", thread="m9")), "")

    def test_press_while_the_question_is_sent(self) -> None:
        """An old button pressed while the id of a new question isn't known doesn't answer the new one."""
        backend: TestBackend = self.backends["net"]
        backend.retry_after(5)
        self.say("!deploy")
        old = Press(MessageRef("net", "#ops", "m1"), backend.build_identifier("bob@#ops"), 0)
        self.assertIn("try again", self.bot.conversations.press(backend, old))
        self.reactor.advance(5)
        self.assertEqual(self.press("yes"), "")

    def test_several(self) -> None:
        """Several questions with buttons may be open in a room, up to a limit."""
        for _ in range(MOST_WITH_BUTTONS):
            self.say("!deploy")
        self.assertIn("already 100 open questions", self.say("!deploy")[0])
        self.assertEqual(self.press("yes"), "")
        self.assertEqual(self.say("!deploy"), [SHOWN])

    def test_threads(self) -> None:
        """The question is in the thread of the message."""
        message = self.backends["net"].receive("!deploy", frm="bob", to="#ops", thread="m7")
        self.assertEqual([ref.thread for ref in self.backends["net"].buttons], [message.thread])
        self.assertEqual(self.press("yes"), "")

    def test_deferred(self) -> None:
        """With a Deferred, the plugin has the handle of the question, and the choice has its address."""
        self.say("!deferred")
        self.assertTrue(self.plugin.asking.sent.startswith("net/"))
        self.press("yes")
        self.assertEqual(self.seen()[-1], "deferred: yes m2 None")

    def test_in_a_test(self) -> None:
        """The bot of tests presses buttons, and shows the messages that follow."""
        bot = self.test_bot
        bot.say("!deploy", frm="@bob", room="#ops")
        self.assertEqual(bot.press("yes", frm="@eve", room="#ops"), [NOT_PERMITTED])
        shown = [f"{SHOWN}\n yes (@bob)", "'yes' number 0 by @bob"]
        self.assertEqual(bot.press("yes", frm="@bob", room="#ops"), shown)
        error = self.assertRaises(AssertionError, bot.press, "yes", room="#ops")
        self.assertIn("no button 'yes' there; buttons: []", str(error))


class EndTests(ChoicesCase):
    """Questions that end without a choice."""

    def test_timeout(self) -> None:
        """Without an answer in time the command fails, the buttons vanish, and a press comes too late."""
        self.say("!deploy")
        [ref] = self.backends["net"].buttons
        self.reactor.advance(61)
        self.assertIn(f"{SHOWN}\n There was no answer in time.", self.seen())
        self.assertEqual(self.seen()[-1], "There was no reply within 60 s.")
        self.assertEqual(self.press("yes", ref=ref), NOT_OPEN)

    def test_edit_by_the_plugin(self) -> None:
        """An edit voids the buttons: nobody approves another text than the one that was shown."""
        self.say("!deferred")
        [ref] = self.backends["net"].buttons
        self.plugin.edit(self.plugin.asking.sent, "Delete production?")
        self.assertEqual(self.seen()[1:], ["Delete production?", "The question was changed."])
        self.assertEqual(self.press("yes", ref=ref), NOT_OPEN)

    def test_deletion_by_address(self) -> None:
        """A deletion does so, too, also if it names the message by its address."""
        self.say("!deferred")
        [ref] = self.backends["net"].buttons
        self.plugin.delete(ref)
        self.assertEqual(self.seen()[1:], ["The question was changed."])

    def test_edit_before_it_is_sent(self) -> None:
        """A question that is edited before the network has it never has buttons."""
        self.backends["net"].retry_after(5)
        self.say("!deferred")
        self.plugin.edit(self.plugin.asking.sent, "Never mind")
        self.reactor.advance(5)
        self.assertFalse(self.backends["net"].buttons)

    def test_other_edits(self) -> None:
        """Edits of other messages leave it open."""
        self.say("!deferred")
        sent = self.plugin.send(self.bot.build_identifier("net:#ops"), "something")
        self.plugin.edit(sent, "something else")
        self.plugin.react(next(iter(self.backends["net"].buttons)), "👀")
        self.assertEqual(self.press("yes"), "")

    def test_deactivation(self) -> None:
        """The questions of a plugin that is deactivated are withdrawn, and it asks no others."""
        self.say("!deploy")
        self.successResultOf(self.bot.plugin_manager.deactivate("Releases"))
        self.assertIn(f"{SHOWN}\n Withdrawn.", self.seen())
        self.assertFalse(self.backends["net"].buttons)
        asked = self.plugin.choose(self.bot.build_identifier("net:#ops"), QUESTION, ["yes"], timeout=None)
        self.assertIn("deactivated", str(self.failureResultOf(asked).value))

    def test_stop(self) -> None:
        """The buttons vanish when the bot stops."""
        self.say("!deploy")
        self.bot.conversations.stop()
        self.assertFalse(self.backends["net"].buttons)
        self.assertEqual(self.seen()[-1], "The bot is stopping.")

    def test_cancelling(self) -> None:
        """A cancelled question is withdrawn; after the press it is too late for that."""
        self.say("!deferred")
        self.plugin.asking.cancel()
        self.assertFalse(self.backends["net"].buttons)
        self.assertEqual(self.seen()[-1], "The question was withdrawn.")

    def test_not_sent(self) -> None:
        """If the network refuses the question, the command fails."""
        backend: TestBackend = self.backends["net"]
        self.patch(backend, "perform", lambda *args: 1 / 0 if args[0].choices else None)
        asked = self.plugin.choose(backend.build_identifier("#ops"), QUESTION, ["yes"], timeout=None)
        self.failureResultOf(asked, ZeroDivisionError)
        self.assertEqual(self.bot.conversations.open, [])

    def test_replaced_sending(self) -> None:
        """Questions are open although a plugin sends messages by a method of its own, which returns nothing."""
        deliver = self.bot.dispatcher.replies.deliver
        self.patch(self.bot.dispatcher.replies, "deliver", lambda *message: deliver(*message) and None)
        self.say("!wonder", network="bare")
        self.assertEqual(self.say("42", network="bare"), ["wondered 42"])
        self.say("!deploy", network="bare")
        self.assertEqual(self.say("1", network="bare"), ["'yes' number 0 by bob"])

    def test_wrong_arguments(self) -> None:
        """Wrong arguments raise ValueError before anything is sent."""
        for name in (
            "none",
            "text",
            "twice",
            "long",
            "control",
            "surrogate",
            "blank",
            "place",
            "room",
            "number",
            "nobody",
            "unset",
        ):
            [text] = self.say(f"!wrong {name}")
            self.assertIn("Error: ", text, name)


class TextTests(ChoicesCase):
    """Questions without buttons."""

    QUESTION = f"{SHOWN}\n Answer 1 (yes) or 2 (no)."

    def test_answers(self) -> None:
        """The number or the label is the answer, and no command; there is no edit where none is possible."""
        for answer in ("2", "NO", " no "):
            self.assertEqual(self.say("!deploy", network="bare"), [self.QUESTION])
            self.assertEqual(self.say(answer, network="bare"), ["'no' number 1 by bob"])

    def test_other_texts(self) -> None:
        """Other texts, and texts in other places and of other people, leave it open. Others get the reason once, in private."""
        self.say("!deploy", network="bare")
        self.assertEqual(self.say("well", network="bare"), [])
        self.assertEqual(self.say("1", network="bare", to="#dev") + self.say("1", network="bare", to=None), [])
        self.assertEqual(self.say("1", network="bare", frm="carol"), [NOT_PERMITTED])
        self.assertEqual(self.sent("bare")[-1][0], "carol")
        self.assertEqual(self.say("yes", network="bare", frm="carol"), [])
        self.assertEqual(self.say("1", network="bare"), ["'yes' number 0 by bob"])

    def test_one_after_the_other(self) -> None:
        """A second question in the same place is sent after the first: one text never answers both."""
        self.say("!deploy", network="bare")
        self.assertEqual(self.say("!deploy carol", network="bare", frm="carol"), [])
        self.assertEqual(self.say("!deploy", network="bare", to="#dev"), [self.QUESTION])
        self.assertEqual(self.say("1", network="bare", frm="carol"), [NOT_PERMITTED])
        self.assertEqual(self.say("1", network="bare"), [self.QUESTION, "'yes' number 0 by bob"])
        self.assertEqual(self.say("2", network="bare", frm="carol"), ["'no' number 1 by carol"])

    def test_time_begins_with_the_question(self) -> None:
        """The time of a question that waits for another begins when it is sent."""
        self.say("!deploy", network="bare")
        self.reactor.advance(50)
        self.say("!deploy", network="bare")
        self.reactor.advance(11)
        self.assertEqual(self.texts("bare").count(self.QUESTION), 2)
        self.reactor.advance(55)
        self.assertEqual(self.say("1", network="bare"), ["'yes' number 0 by bob"])

    def test_limit(self) -> None:
        """Few questions wait for each other."""
        for _ in range(MOST_QUESTIONS):
            self.say("!deploy", network="bare")
        self.assertIn("already 5 open questions", self.say("!deploy", network="bare")[0])

    def test_private(self) -> None:
        """A private question is answered in private."""
        self.say("!deploy", network="bare", to=None)
        self.assertEqual(self.say("1", network="bare", to=None), ["'yes' number 0 by bob"])

    def test_beside_ask(self) -> None:
        """A choice isn't taken for the reply to another question, and other texts are."""
        self.say("!wonder", network="bare")
        self.say("!deploy", network="bare")
        self.assertEqual(self.say("1", network="bare"), ["'yes' number 0 by bob"])
        self.assertEqual(self.say("1", network="bare"), ["wondered 1"])

    def test_edits_and_threads(self) -> None:
        """Where messages can be edited, the question shows the choice. One in a thread is answered there."""
        backend: TestBackend = self.backends["editable"]
        backend.receive("!deploy", frm="bob", to="#ops", thread="m7")
        self.assertEqual(self.say("!deploy", network="editable"), [self.QUESTION])
        self.assertEqual(self.say("1", network="editable")[-1], "'yes' number 0 by bob")
        self.assertEqual(self.seen("editable")[1], self.QUESTION)
        self.assertEqual(self.seen("editable")[3], f"{SHOWN}\n yes (bob)")
        backend.receive("2", frm="bob", to="#ops", thread="m7")
        self.reactor.advance(0)
        self.assertEqual(self.seen("editable")[1], f"{SHOWN}\n no (bob)")

    def test_thread_of_the_question(self) -> None:
        """The answer may begin a thread at the question."""
        self.say("!deploy", network="editable")
        question = list(self.backends["editable"].seen)[1].id
        self.backends["editable"].receive("2", frm="bob", to="#ops", thread=question)
        self.reactor.advance(0)
        self.assertIn("'no' number 1 by bob", self.seen("editable"))


class RecordTests(ChoicesCase):
    """What is noted."""

    def test_record(self) -> None:
        """The journal has who has chosen what, where, and a hash of what was shown, before the command goes on."""
        self.say("!deploy")
        [(ref, _)] = self.backends["net"].buttons.items()
        self.backends["net"].press(ref, 0, "carol")
        self.backends["net"].press(ref, 0, "bob")
        actions: list[Action] = []
        self.bot.journal.actions(None, 10).addCallback(actions.extend)
        [noted] = actions
        digest = sha256(f"{QUESTION}\nyes\nno".encode()).hexdigest()
        self.assertEqual((noted.who, noted.way, noted.operation), ("bob", "chat", "choose"))
        self.assertEqual(noted.arguments, f'"yes" to "{QUESTION}" in #ops on net, sha256 {digest}')
        self.reactor.advance(0)


BLOCKING = """\
from errklein import BotPlugin, botcmd

class Blocking(BotPlugin):
    @botcmd
    def where(self, msg, args):
        answer = self.choose(msg, "Where?", ["here", "there"])
        return f"{answer} by {answer.by.person}"
"""


class ThreadTests(RealBotCase):
    """Questions of blocking handlers in real threads."""

    async def setUp(self) -> None:
        """Start a bot with a blocking command."""
        directory = Path(self.mktemp())
        write_plugin(directory, "Blocking", BLOCKING)
        await self.start_bot(directory)

    async def test_blocking(self) -> None:
        """A blocking handler waits in its thread for the press."""
        self.assertEqual(await self.say("!where", frm="bob", to="#ops"), ["Where?"])
        done: Deferred[None] = Deferred()
        self.backend.watch(lambda sent: done.callback(None) if sent.text == "there by bob" else None)
        await deferLater(self.bot.reactor, 0)
        [ref] = self.backend.buttons
        self.assertEqual(self.backend.press(ref, 1, "bob"), "")
        await done
