"""Tests for flows: commands that advance them, and their automatic steps."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, CommandError, botcmd, botmatch, re_botcmd
from errklein.chat import Identifier
from errklein.commands.flows import FLOW_END, FlowRoot, botflow
from errklein.dispatch import flow_executor
from errklein.dispatch.flow_executor import MOST_AUTOSTEPS
from errklein.dispatch.replies import DetailedError
from errklein.networks.irc.identifiers import IRCPerson
from errklein.networks.test import TestPerson
from errklein.plugins.botplugin import BotFlow
from errklein.testing import TestBot
from errklein.testing._bot import ADMIN

ALICE = "alice"


class Steps(BotPlugin):
    """A plugin with commands that record their calls."""

    def activate(self) -> None:
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self.senders: list[str] = []
        self.waiting: Deferred[None] | None = None
        super().activate()

    def called(self, name: str, msg: Any, args: Any) -> str:
        self.calls.append((name, args, dict(msg.ctx)))
        self.senders.append(str(msg.frm))
        msg.ctx[name] = args
        return f"did {name}"

    @botcmd
    def one(self, msg: Any, args: Any) -> str:
        return self.called("one", msg, args)

    @botcmd(syntax="<what>")
    def two_two(self, msg: Any, args: Any) -> str:
        return self.called("two_two", msg, args)

    @botcmd(flow_only=True)
    def three(self, msg: Any, args: Any) -> str:
        return self.called("three", msg, args)

    @botcmd
    async def later(self, msg: Any, args: Any) -> str:
        self.waiting = Deferred()
        await self.waiting
        return self.called("later", msg, args)

    @botcmd
    def many(self, msg: Any, args: Any) -> Any:
        yield self.called("many", msg, args)

    @botcmd
    def fails(self, msg: Any, args: Any) -> str:
        raise ValueError("no luck")

    @botmatch(r"^\d+\*?$", flow_only=True)
    def number(self, msg: Any, match: Any) -> str:
        return self.called("number", msg, match.string)

    @re_botcmd(pattern=r"^number (\d)$")
    def numbered(self, msg: Any, match: Any) -> str:
        return self.called("numbered", msg, match.string)

    @botcmd
    def refuses(self, msg: Any, args: Any) -> str:
        raise CommandError("not today")

    @botcmd
    def refuses_in_detail(self, msg: Any, args: Any) -> str:
        raise DetailedError("it failed: disk full", "It failed")

    @botcmd(admin_only=True)
    def risky(self, msg: Any, args: Any) -> str:
        return self.called("risky", msg, args)


def always(_: Any) -> bool:
    """A predicate that is always true."""
    return True


class FlowsCase(SynchronousTestCase):
    """A bot with a flow that the test defines."""

    config: dict[str, Any] = {}

    def setUp(self) -> None:
        self.bot = TestBot([Steps], config=self.config)
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.steps = self.bot.plugin("Steps")
        self.executor = self.bot.bot.flow_executor

    def flow(self, name: str = "f") -> FlowRoot:
        """Register a flow without steps."""
        root = FlowRoot(name, "A flow.")
        self.executor.add_flow(root)
        return root

    def start(self, name: str = "f", who: str = ALICE, **context: Any) -> list[str]:
        """Start the flow for a person; return the bot's messages."""
        before = len(self.bot.messages)
        self.executor.start_flow(name, self.bot.bot.build_identifier(who), context)
        return [sent.text for sent in self.bot.messages[before:]]

    def say(self, text: str, who: Identifier | str = ALICE, room: str | None = None) -> list[str]:
        """Send a command; return the bot's messages, also those of later reactor turns."""
        before = len(self.bot.messages)
        self.bot.backend.receive(text, frm=who, to=room)
        for _ in range(20):
            self.bot.advance(0)
        return [sent.text for sent in self.bot.messages[before:]]

    def names(self) -> list[str]:
        """Return the commands that were called."""
        return [name for name, _, _ in self.steps.calls]


def hint(name: str, *commands: str) -> str:
    """Return the hint with the possible next steps."""
    return "\n".join([f"You are in the flow {name}, you can continue with:", *(f"• {it}" for it in commands)])


class StepsTests(FlowsCase):
    """Flows that commands advance."""

    def test_patterns(self) -> None:
        """The hint for a command with a pattern shows the pattern, with the prefix if it is required."""
        first = self.flow().connect("one")
        first.connect("number")
        first.connect("numbered")
        self.start()
        self.assertEqual(self.say("!one")[1:], [hint("f", r"^\d+\*?$", r"!^number (\d)$")])
        self.assertEqual(self.say("12"), ["did number"])

    def test_nothing_but_the_end(self) -> None:
        """A flow ends after a step that only FLOW_END follows."""
        self.flow().connect("one").connect(FLOW_END)
        self.start()
        self.say("!one")
        self.assertEqual(self.executor.in_flight, [])

    def test_rooms(self) -> None:
        """Everyone in the room advances a room's flow, and its hints go to the room."""
        self.flow().connect("one", auto_trigger=True, room_flow=True).connect("three").connect("one")
        self.say("!one", who=ALICE, room="#testroom")
        self.assertEqual(self.say("!three", who="bob", room="#testroom"), ["did three", hint("f", "!one")])
        self.assertEqual(self.bot.messages[-1].to, "#testroom")
        self.assertEqual(self.say("!three", who="bob"), [])


class ByItselfTests(FlowsCase):
    """Automatic steps."""

    def test_async(self) -> None:
        """A step may be asynchronous; the next one waits for it."""
        self.flow().connect("one", auto_trigger=True).connect("later", predicate=always).connect("three", always)
        self.say("!one")
        self.assertEqual(self.names(), ["one"])
        self.assertNoResult(self.executor.when_idle())
        self.steps.waiting.callback(None)
        self.say("nothing")
        self.assertEqual(self.names(), ["one", "later", "three"])
        self.successResultOf(self.executor.when_idle())

    def test_async_predicate(self) -> None:
        """A predicate may be a coroutine function."""

        async def holds(ctx: Any) -> bool:
            return "one" in ctx

        self.flow().connect("one", auto_trigger=True).connect("three", predicate=holds)
        self.say("!one")
        self.assertEqual(self.names(), ["one", "three"])

    def test_failing_step(self) -> None:
        """A failed step is reported: with the error to administrators, with an error id to others and in the log."""
        self.flow().connect("one", auto_trigger=True).connect("fails", predicate=always).connect("three", always)
        said = self.say("!one", who=ADMIN)
        self.assertEqual(said, ["did one", f'f ({ADMIN}) errored at fails with "no luck"', hint("f", "!three")])
        self.assertEqual(self.names(), ["one"])
        _, told, _ = self.say("!one")
        self.assertRegex(told, r"^f \(alice\) errored at fails \(error [0-9a-f]{8}\)\.$")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertIn("The command fails of Steps failed as a step of the flow f", "\n".join(self.bot.log))
        self.assertIn(f"the flow f {told[-17:-1]}", self.bot.log[-1])

    def test_refusing_step(self) -> None:
        """The text of a CommandError in a step is reported, and isn't logged as an error."""
        self.flow().connect("one", auto_trigger=True).connect("refuses", predicate=always).connect("three")
        self.assertIn('errored at refuses with "not today"', self.say("!one")[1])
        self.assertEqual(self.flushLoggedErrors(CommandError), [])

    def test_step_that_repeats_an_exception(self) -> None:
        """The text of a DetailedError in a step is sent to administrators; others get the id that the log contains."""
        self.flow().connect("one", auto_trigger=True).connect("refuses_in_detail", predicate=always).connect("three")
        self.assertIn('errored at refuses_in_detail with "it failed: disk full"', self.say("!one", who=ADMIN)[1])
        told = self.say("!one")[1]
        self.assertRegex(told, r"^f \(alice\) errored at refuses_in_detail \(error [0-9a-f]{8}\)\.$")
        self.assertIn("disk full", self.bot.log[-1])
        self.assertIn(told[-17:-1], self.bot.log[-1])

    def test_step_for_administrators(self) -> None:
        """An admin-only step runs for administrators only, whatever the context is."""
        self.flow().connect("risky", predicate=lambda ctx: ctx["approved"])
        said = self.say('!flows start f {"approved": true}')
        self.assertIn('f (alice) errored at risky with "This command requires bot-admin privileges"', said)
        self.assertEqual(self.names(), [])
        self.say('!flows start f {"approved": true}', who=ADMIN)
        self.assertEqual(self.names(), ["risky"])

    def test_step_for_administrators_in_a_room(self) -> None:
        """In a room's flow, a step is denied that an administrator couldn't run in the room."""
        self.flow().connect("one", auto_trigger=True, room_flow=True).connect("risky", predicate=always)
        self.assertIn("only be issued through a direct message", "\n".join(self.say("!one", who=ADMIN, room="#ops")))
        self.assertEqual(self.names(), ["one"])

    def test_step_that_is_refused_stays_to_be_taken(self) -> None:
        """Nobody gets past an admin-only step without being an administrator; other true steps run."""
        first = self.flow().connect("one", auto_trigger=True)
        first.connect("risky", predicate=always).connect("three")
        self.assertEqual(self.say("!one")[-1], hint("f", "!risky"))
        self.assertEqual(self.say("!three"), [])
        first.connect("many", predicate=always).connect("two_two")
        self.assertEqual(self.say("!one", who="bob")[-1], hint("f", "!two two <what>"))
        self.assertEqual(self.names(), ["one", "one", "many"])

    def test_too_many(self) -> None:
        """The number of flows in progress is limited; beyond it, the oldest one is ended."""
        with mock.patch.object(flow_executor, "MOST_IN_FLIGHT", 2):
            self.flow().connect("one", auto_trigger=True).connect("three")
            for who in ("ann", "bob", "cid"):
                self.say("!one", who=who)
        self.assertEqual([str(flow.requestor) for flow in self.executor.in_flight], ["bob", "cid"])

    def test_predicate_that_raises(self) -> None:
        """A predicate that raises counts as false; the reply is one line, with the error for administrators."""
        self.flow().connect("one", auto_trigger=True).connect("three", predicate=lambda ctx: ctx["nosuch"])
        said = self.say("!one", who=ADMIN)
        self.assertEqual(said[1], "The predicate of the step three in the flow f failed with KeyError: 'nosuch'")
        self.assertEqual(said[2], hint("f", "!three"))
        self.assertRegex(
            self.say("!one")[1], r"^The predicate of the step three in the flow f failed \(error [0-9a-f]{8}\)\.$"
        )
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_unknown_command(self) -> None:
        """A step with an unknown command, such as one of an inactive plugin, is reported."""
        self.flow().connect("one", auto_trigger=True).connect("nosuch", predicate=always).connect("three")
        self.assertIn("The flow f can't continue: unknown command nosuch.", self.say("!one"))

    def test_never_ending(self) -> None:
        """Automatic steps yield to the reactor after each, and a flow with too many is ended and reported."""
        step = self.flow().connect("one", auto_trigger=True)
        step.connect(step, predicate=always)
        self.bot.say("!one", frm=ALICE)
        self.assertEqual(len(self.names()), 2)
        for _ in range(2 * MOST_AUTOSTEPS):
            self.bot.advance(0)
        self.assertEqual(len(self.names()), 1 + MOST_AUTOSTEPS)
        self.assertIn(f"was ended after {MOST_AUTOSTEPS} automatic steps", self.bot.messages[-1].text)
        self.assertEqual(self.executor.in_flight, [])

    def test_stopped_meanwhile(self) -> None:
        """A flow that is stopped during a step takes no other step."""
        self.flow().connect("one", auto_trigger=True).connect("later", predicate=always).connect("three", always)
        self.say("!one")
        self.executor.stop_flow("f", self.bot.bot.build_identifier(ALICE))
        self.steps.waiting.callback(None)
        self.say("nothing")
        self.assertEqual(self.names(), ["one", "later"])

    def test_step_of_ones_own_meanwhile(self) -> None:
        """If a person takes a step during an automatic one, the flow continues from there, with one hint."""
        first = self.flow().connect("one", auto_trigger=True)
        first.connect("later", predicate=always)
        first.connect("two_two").connect("three")
        self.say("!one")
        self.assertEqual(self.say("!two two"), ["did two_two"])
        before = len(self.bot.messages)
        self.steps.waiting.callback(None)
        self.say("nothing")
        self.assertEqual([sent.text for sent in self.bot.messages[before:]], [hint("f", "!three")])


class WhoMovesTests(FlowsCase):
    """The person on whose behalf automatic steps run."""

    config = {"BOT_ADMINS": ("*!a@admin.host", ADMIN), "ACCESS_CONTROLS": {"risky": {"allowmuc": True}}}

    def masked(self, mask: str) -> IRCPerson:
        """Return a person who is identified by more than a name."""
        return IRCPerson(mask, network="test")

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.mallory = self.masked("alice!a@admin.host"), self.masked("alice!m@evil.example")
        self.first = self.flow().connect("one")
        self.second = self.first.connect("two_two")
        self.second.connect("risky", predicate=always).connect("three")

    def test_name_is_taken_over(self) -> None:
        """A person who takes over the name of somebody in a flow neither advances nor stops it."""
        self.say("!flows start f", who=self.alice)
        self.say("!one", who=self.alice)
        self.assertEqual(self.say("!two two", who=self.mallory), ["did two_two"])
        self.assertEqual(self.say("!flows stop f", who=self.mallory), ["Flow not found."])
        (flow,) = self.executor.in_flight
        self.assertIs(flow.current_step, self.first)
        self.assertEqual(self.say("!two two", who=self.alice)[-1], hint("f", "!three"))
        self.assertEqual(self.names(), ["one", "two_two", "two_two", "risky"])
        self.assertEqual(self.steps.senders[-1], "alice!a@admin.host")

    def test_taken_over_while_a_command_runs(self) -> None:
        """A command that the new holder of a name sent before doesn't count as the requestor's either."""
        self.first.connect("later")
        self.say("!later", who=self.mallory)
        self.say("!flows start f", who=self.alice)
        self.say("!one", who=self.alice)
        self.steps.waiting.callback(None)
        self.assertIs(self.executor.in_flight[0].current_step, self.first)

    def test_killed_by_name(self) -> None:
        """An administrator stops a person's flow by the visible name."""
        self.say("!flows start f", who=self.alice)
        self.assertIsNotNone(self.executor.stop_flow("f", self.masked("alice")))

    def test_begun_for_a_name(self) -> None:
        """A flow that a plugin starts for a name belongs to its holder, and runs with the holder's permissions."""
        self.executor.start_flow("f", self.masked("alice"), {})
        self.say("!one", who=self.alice)
        said = self.say("!two two", who=self.mallory)
        self.assertIn("requires bot-admin privileges", said[1])
        self.assertEqual(self.say("!risky", who=self.alice), ["did risky", hint("f", "!three")])
        self.assertEqual(self.steps.senders, ["alice!a@admin.host", "alice!m@evil.example", "alice!a@admin.host"])

    def test_rooms(self) -> None:
        """In a room, the person who advanced the flow must be an administrator; the step's messages go to the room."""
        first = self.flow("room").connect("many", auto_trigger=True, room_flow=True)
        first.connect("two_two").connect("risky", predicate=always).connect("three")
        self.say("!many", who=ADMIN, room="#ops")
        said = self.say("!two two", who="bob", room="#ops")
        self.assertIn('room (#ops) errored at risky with "This command requires bot-admin privileges"', said)
        self.say("!flows stop room", who="bob", room="#ops")
        self.say("!many", who="bob", room="#ops")
        self.assertEqual(self.say("!two two", who=ADMIN, room="#ops")[-1], hint("room", "!three"))
        self.assertEqual(self.names(), ["many", "two_two", "many", "two_two", "risky"])
        self.assertEqual(self.steps.senders[-1], "#ops")

    def test_rooms_from_the_beginning(self) -> None:
        """The person who starts a room's flow is its first mover."""
        self.flow("room").connect("risky", predicate=always, room_flow=True).connect("one")
        self.assertIn("requires bot-admin privileges", "\n".join(self.say("!flows start room", who="bob", room="#ops")))
        self.say("!flows stop", who="bob", room="#ops")
        self.say("!flows start room", who=ADMIN, room="#ops")
        self.assertEqual(self.names(), ["risky"])

    def test_moved_on_meanwhile(self) -> None:
        """Steps that one person caused don't run for another who advances the flow meanwhile."""
        answer: Deferred[bool] = Deferred()

        async def at_last(_: Any) -> bool:
            return await answer

        first = self.flow("room").connect("many", auto_trigger=True, room_flow=True)
        first.connect("risky", predicate=at_last)
        first.connect("two_two").connect("three")
        self.say("!many", who="bob", room="#ops")
        self.say("!two two", who=ADMIN, room="#ops")
        answer.callback(True)
        self.say("nothing")
        self.assertEqual(self.names(), ["many", "two_two"])


class NetworksTests(SynchronousTestCase):
    """The same name on several networks."""

    def setUp(self) -> None:
        self.bot = TestBot([Steps], networks={"libera": {"BOT_ADMINS": (ALICE,)}, "console": {}})
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.executor = self.bot.bot.flow_executor
        root = FlowRoot("f", "A flow.")
        root.connect("one").connect("risky", predicate=always).connect("three")
        self.executor.add_flow(root)

    def names(self) -> list[str]:
        """Return the commands that were called."""
        return [name for name, _, _ in self.bot.plugin("Steps").calls]

    def test_other_network(self) -> None:
        """A flow advances only on the network where it was started."""
        self.bot.say("!flows start f", frm=ALICE, network="libera")
        self.assertEqual(self.bot.say("!one", frm=ALICE, network="console"), ["did one"])
        self.bot.say("!one", frm=ALICE, network="libera")
        self.bot.advance(0)
        self.assertEqual(self.names(), ["one", "one", "risky"])

    def test_name_without_network(self) -> None:
        """For a requestor without a network, permissions are those of the network where the flow is advanced."""
        self.executor.start_flow("f", TestPerson(ALICE), {})
        self.executor.trigger("one", self.bot.backends["console"].person_named(ALICE))
        refusal, continuing = self.bot.messages[1:]
        self.assertIn("requires bot-admin privileges", refusal.text)
        self.assertEqual((refusal.network, continuing.network), ("console", "console"))
        self.assertEqual(self.names(), [])


class Deploying(BotFlow):
    """A collection of two flows."""

    @botflow
    def deploy(self, flow: FlowRoot) -> None:
        """Deploys.

        With care.
        """
        flow.connect("one").connect("two_two")

    @botflow
    def rollback(self, flow: FlowRoot) -> None:
        flow.connect("three")

    def helper(self) -> None:
        """Not a flow."""


class BotFlowTests(FlowsCase):
    """Collections of flows."""

    def test_twice(self) -> None:
        """The graphs are built again at each activation."""
        flows = Deploying(self.bot.bot, "Deploying")
        flows.activate()
        before = self.executor.flow_roots["deploy"]
        flows.activate()
        self.assertIsNot(self.executor.flow_roots["deploy"], before)

    def test_name_that_is_taken(self) -> None:
        """Of two flows with the same name the first one stays, and the second collection registers none."""

        class Others(BotFlow):
            @botflow
            def a_first_one(self, flow: FlowRoot) -> None:
                flow.connect("one")

            @botflow
            def deploy(self, flow: FlowRoot) -> None:
                flow.connect("one")

        Deploying(self.bot.bot, "Deploying").activate()
        with self.assertRaisesRegex(ValueError, "Others: there is already a flow named deploy"):
            Others(self.bot.bot, "Others").activate()
        self.assertEqual(sorted(self.executor.flow_roots), ["deploy", "rollback"])

    def test_broken_builder(self) -> None:
        """The error names the method that raises an exception."""

        class Broken(BotFlow):
            @botflow
            def bad(self, flow: FlowRoot) -> None:
                flow.connect(None)  # type: ignore[arg-type]

        with self.assertRaisesRegex(ValueError, "Broken.bad can't be built: ValueError: a step must be"):
            Broken(self.bot.bot).activate()

    def test_commands_by_name(self) -> None:
        """`get_command` returns the method of a command."""
        flows = Deploying(self.bot.bot)
        self.assertEqual(flows.get_command("two two"), self.steps.two_two)
        self.assertIsNone(flows.get_command("nosuch"))
