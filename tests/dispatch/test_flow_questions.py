"""Tests for flows that ask how to go on, with buttons or numbers, also over a restart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import FLOW_END, BotPlugin, FlowRoot, botcmd, botflow
from errklein.chat import Message
from errklein.chat.features import BARE
from errklein.chat.handles import MessageRef
from errklein.dispatch import flow_executor
from errklein.dispatch.conversations import NOT_OPEN, NOT_PERMITTED
from errklein.testing import TestBot
from errklein.testing._bot import LeftOver


class Releases(BotPlugin):
    """A plugin with a flow that asks."""

    labels = ("yes", "no")

    @botcmd
    def build(self, msg: Message, args: str) -> str:
        msg.ctx["version"] = object() if args == "object" else args
        return f"built {args}"

    @botcmd
    def publish(self, msg: Message, args: str) -> str:
        return f"{msg.frm} has published {msg.ctx['version']} {msg.flow}"

    @botcmd(admin_only=True)
    def withdraw(self, msg: Message, args: str) -> str:
        return f"withdrew {msg.ctx['version']}"

    @botcmd(flow_only=True)
    def tell(self, msg: Message, args: str) -> str:
        return "told"

    @botflow
    def release(self, flow: FlowRoot) -> None:
        built = flow.connect("build", auto_trigger=True)
        yes, no = self.labels
        published, _ = built.choose(self.question, {yes: "publish", no: FLOW_END})
        published.choose("Is it good?", {"good": "tell", "bad": "withdraw"})

    @botflow
    def room(self, flow: FlowRoot) -> None:
        flow.connect("build", room_flow=True).choose("For all?", {"yes": "publish"})
        flow.choose("Shall we?", {"build": "build"})

    def question(self, ctx: Mapping[str, Any]) -> str:
        if ctx["version"] == "fail":
            raise KeyError("no version")
        return f"Publish {ctx['version'].upper()}?" if isinstance(ctx["version"], str) else "Publish?"


class FlowsCase(SynchronousTestCase):
    """A bot with that plugin, whose values are on disk."""

    bare = False
    bot: Any = None

    def setUp(self) -> None:
        self.directory = self.mktemp()
        Path(self.directory).mkdir()
        self.start()

    def start(self) -> None:
        """Start the bot."""
        self.bot = TestBot([Releases], config={"STORAGE": "Shelf", "BOT_DATA_DIR": self.directory})
        # No threads, which take real time.
        self.patch(self.bot.storage, "in_background", maybeDeferred)
        self.patch(self.bot.bot.health, "start", lambda: None)
        if self.bare:
            self.bot.backend.features_of_test = BARE
        self.addCleanup(self.stop)
        self.bot.start()
        self.bot.advance(0)

    def stop(self) -> None:
        """Stop the bot if it runs."""
        if self.bot is not None:
            self.bot.stop()
            self.bot = None

    def restart(self) -> None:
        """Stop the bot, and start another one."""
        self.stop()
        self.start()

    def say(self, text: str, frm: str = "@alice", room: str | None = None) -> list[str]:
        """Say something, and return all that the bot then says."""
        before = len(self.bot.messages)
        self.bot.say(text, frm=frm, room=room)
        self.bot.advance(0)
        return [message.text for message in self.bot.messages[before:]]

    def press_old(self, ref: MessageRef, number: int, by: str) -> str:
        """Press a button of a message that an earlier bot has sent."""
        refusal = self.bot.backend.press(ref, number, by)
        self.bot.advance(0)
        return refusal


class QuestionTests(FlowsCase):
    """Questions of flows in one process."""

    def test_choice_runs_the_step(self) -> None:
        """A press runs the command of the step as if it was typed, and the flow asks the next question."""
        self.assertEqual(self.say("!build v1"), ["built v1", "Publish V1?"])
        shown = self.bot.press("yes", frm="@alice")
        self.assertEqual(shown[0], "Publish V1?\n yes (@alice)")
        self.assertIn("@alice has published v1 release (@alice)", shown)
        self.assertEqual(shown[-1], "Is it good?")
        self.assertIn("told", self.bot.press("good", frm="@alice"))
        self.assertEqual(self.bot.bot.flow_executor.in_flight, [])

    def test_end(self) -> None:
        """A choice of FLOW_END ends the flow."""
        self.say("!build v1")
        self.assertEqual(self.bot.press("no", frm="@alice"), ["Publish V1?\n no (@alice)"])
        self.assertEqual(self.bot.bot.flow_executor.in_flight, [])

    def test_access_rules(self) -> None:
        """The access rules of the step's command apply to the person who chooses."""
        self.say("!build v1")
        self.bot.press("yes", frm="@alice")
        self.assertIn("This command requires bot-admin privileges", self.bot.press("bad", frm="@alice"))

    def test_in_a_room(self) -> None:
        """A person's flow asks where it was started, and only this person may choose."""
        self.assertEqual(self.say("!build v1", room="#ops"), ["built v1", "Publish V1?"])
        self.assertEqual(self.bot.press("yes", frm="@bob", room="#ops"), [NOT_PERMITTED])
        self.bot.press("yes", frm="@alice", room="#ops")
        self.assertIn("@alice@#ops has published v1 release (@alice@#ops)", self.bot.chat("#ops"))

    def test_flow_of_a_room(self) -> None:
        """Everybody in the room may answer a question of its flow, also one before the first step."""
        self.say("!flows start room", room="#ops")
        self.assertIn("built ", self.bot.press("build", frm="@bob", room="#ops"))
        shown = self.bot.press("yes", frm="@carol", room="#ops")
        self.assertIn("@carol@#ops has published  room (#ops)", shown)

    def test_typed_command(self) -> None:
        """A person may also type the command: the question is withdrawn then."""
        self.say("!build v1")
        [(ref, _)] = self.bot.backend.buttons.items()
        self.assertIn("Publish V1?\n Withdrawn.", self.say("!publish"))
        self.assertEqual(self.bot.backend.press(ref, 0, "@alice"), NOT_OPEN)

    def test_unsuitable_labels(self) -> None:
        """A flow with labels that can't be those of buttons isn't built."""
        for choices in ({}, {" ": "publish"}, {"x" * 76: "publish"}, {"yes": "publish", "Yes": "tell"}):
            self.assertRaises(ValueError, FlowRoot("release", None).choose, "Publish?", choices)

    def test_stopped_flow(self) -> None:
        """The question of a flow that is stopped is withdrawn."""
        self.say("!build v1")
        self.assertIn("Publish V1?\n Withdrawn.", self.say("!flows stop release"))
        self.assertEqual(self.bot.backend.buttons, {})

    def test_too_many_flows(self) -> None:
        """The question of a flow that is ended for a newer one is withdrawn, and isn't stored any longer."""
        self.patch(flow_executor, "MOST_IN_FLIGHT", 1)
        self.say("!build v1")
        [(ref, _)] = self.bot.backend.buttons.items()
        self.assertIn("Publish V1?\n Withdrawn.", self.say("!build v2", frm="@bob"))
        self.assertEqual(self.bot.backend.press(ref, 0, "@alice"), NOT_OPEN)
        self.assertEqual([whose for _, whose in self.bot.bot.flow_executor._questions], ["@bob"])

    def test_failing_question(self) -> None:
        """A question that can't be made is reported, and the command can be typed."""
        self.assertIn("KeyError", self.say("!build fail", frm="@admin")[1])
        self.flushLoggedErrors(KeyError)
        self.assertIn("@admin has published fail release (@admin)", self.say("!publish", frm="@admin"))


class RestartTests(FlowsCase):
    """Questions that are open when the bot stops."""

    def test_press(self) -> None:
        """The buttons stay. A press after the restart goes on with the flow at this step, for the same person."""
        self.say("!build v1")
        [(ref, labels)] = self.bot.backend.buttons.items()
        bot = self.bot
        self.restart()
        self.assertEqual((bot.backend.buttons, self.bot.messages), ({ref: labels}, []))
        self.assertEqual(self.press_old(ref, 0, "@bob"), NOT_PERMITTED)
        self.assertEqual(self.press_old(ref, 0, "@alice"), "")
        self.assertIn("@alice has published v1 release (@alice)", self.bot.sent_to("@alice"))
        self.assertIn("Publish V1?\n yes (@alice)", self.bot.sent_to("@alice"))
        self.assertEqual(self.press_old(ref, 0, "@alice"), NOT_OPEN)

    def test_answered_question(self) -> None:
        """A question that was answered before isn't open after the restart."""
        self.say("!build v1")
        [(ref, _)] = self.bot.backend.buttons.items()
        self.bot.press("no", frm="@alice")
        self.restart()
        self.assertEqual(self.press_old(ref, 0, "@alice"), NOT_OPEN)

    def test_several_restarts(self) -> None:
        """It stays open over further restarts, and a flow of a room, too."""
        self.say("!flows start room", room="#ops")
        [(ref, _)] = self.bot.backend.buttons.items()
        self.restart()
        self.restart()
        self.assertEqual(self.press_old(ref, 0, "@bob"), "")
        self.assertIn("For all?", self.bot.sent_to("#ops"))

    def test_changed_flow(self) -> None:
        """If the plugin's flow has changed meanwhile, the question isn't open any more."""
        self.say("!build v1")
        [(ref, _)] = self.bot.backend.buttons.items()
        self.patch(Releases, "labels", ("no", "yes"))
        self.restart()
        self.assertEqual(self.press_old(ref, 0, "@alice"), NOT_OPEN)
        self.assertIn("the flow has changed", "\n".join(self.bot.log))

    def test_unsent_question(self) -> None:
        """A question that the network has not got is asked by the next process."""
        self.say("!hello")
        self.bot.backend.retry_after(5)
        self.say("!build v1")
        self.bot.advance(1)
        bot = self.bot
        self.assertRaises(LeftOver, self.stop)
        self.bot = None
        self.assertEqual(bot.backend.buttons, {})
        self.start()
        self.assertEqual(self.bot.sent_to("@alice"), ["Publish V1?"])
        self.assertIn("@alice has published v1 release (@alice)", self.bot.press("yes", frm="@alice"))

    def test_reloaded_plugin(self) -> None:
        """The questions of a plugin that is reloaded end with its flows."""
        self.say("!build v1")
        [(ref, _)] = self.bot.backend.buttons.items()
        self.say("!plugin deactivate Releases", frm="@admin")
        self.assertEqual(self.bot.backend.buttons, {})
        self.restart()
        self.assertEqual(self.press_old(ref, 0, "@alice"), NOT_OPEN)

    def test_context_that_is_no_json(self) -> None:
        """With other values in the context, the question works until the bot stops."""
        self.say("!build object")
        [(ref, _)] = self.bot.backend.buttons.items()
        self.restart()
        self.assertEqual(self.press_old(ref, 0, "@alice"), NOT_OPEN)


class TextTests(FlowsCase):
    """The same without buttons."""

    bare = True

    def test_number_after_a_restart(self) -> None:
        """A number goes on with the flow after a restart."""
        self.assertEqual(self.say("!build v1")[-1], "Publish V1?\n Answer 1 (yes) or 2 (no).")
        self.restart()
        self.assertIn("@alice has published v1 release (@alice)", self.say("1"))
