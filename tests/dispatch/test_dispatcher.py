"""Tests for the way from a message to its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, inlineCallbacks

from errklein import BotPlugin, botcmd, re_botcmd
from errklein.backends.outbox import OutboxClosed, OutboxFull
from tests.networks import NetworksCase


class Silent(Exception):
    """Can't be made text."""

    def __str__(self) -> str:
        raise ValueError("no text")


def split_at_dashes(args: str) -> list[str]:
    """Splits, or doesn't."""
    if args == "leave":
        raise SystemExit(2)
    if args == "silently":
        raise Silent
    return args.split("-")


class Talker(BotPlugin):
    """Answers in every way."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.gates: list[Deferred[Any]] = []

    @botcmd
    def hello_world(self, msg: Any, args: str) -> str:
        return f"hello {args!r}"

    @re_botcmd(pattern=r"^found$")
    def pattern(self, msg: Any, match: Any) -> str:
        return "found it"

    @botcmd
    def items(self, msg: Any, args: str) -> Iterator[Any]:
        yield "one"
        yield ""
        yield None
        yield "two"
        if args:
            raise RuntimeError("no three")

    @botcmd
    async def later_items(self, msg: Any, args: str) -> AsyncIterator[str]:
        yield "one"
        await self._gate()
        yield "two"
        raise RuntimeError("no three")

    @botcmd
    async def waits(self, msg: Any, args: str) -> str:
        await self._gate()
        return f"waited {args}".strip()

    @botcmd
    @inlineCallbacks
    def waits_too(self, msg: Any, args: str) -> Any:
        yield self._gate()
        return "waited too"

    @botcmd
    def fails_silently(self, msg: Any, args: str) -> str:
        """Raise what can't be shown."""
        raise Silent

    @botcmd(split_args_with=split_at_dashes)
    def split_itself(self, msg: Any, args: list[str]) -> str:
        return str(args)

    @botcmd(admin_only=True)
    async def admin_waits(self, msg: Any, args: str) -> str:
        await self._gate()
        return f"done {args}".strip()

    @botcmd(admin_only=True, split_args_with=split_at_dashes)
    async def admin_splits(self, msg: Any, args: list[str]) -> str:
        return str(args)

    @botcmd(admin_only=True)
    async def admin_finds(self, msg: Any, args: str) -> str:
        await self._gate()
        return self.build_identifier(args).network

    def _gate(self) -> Deferred[Any]:
        gate: Deferred[Any] = Deferred()
        self.gates.append(gate)
        return gate


class TalkerCase(NetworksCase):
    """Has the Talker."""

    plugins = (Talker,)

    def setUp(self) -> None:
        """Have the plugin at hand."""
        super().setUp()
        self.talker: Any = self.bot.plugin_manager.instance("Talker")


class AnswerTests(TalkerCase):
    """What is sent for what a command returns, yields or raises."""

    def test_async_generators(self) -> None:
        """Items of an async generator are sent as they come, and stay sent when it raises."""
        self.assertEqual(self.say("!later items"), ["one"])
        self.talker.gates[0].callback(None)
        self.assertEqual(self.texts()[1], "two")
        self.assertTrue(self.texts()[2].startswith("Computer says nooo"))
        self.flushLoggedErrors(RuntimeError)

    def test_coroutines_and_inline_callbacks(self) -> None:
        """`async def` and @inlineCallbacks commands answer when they are done."""
        self.assertEqual(self.say("!waits x") + self.say("!waits too"), [])
        for gate in self.talker.gates:
            gate.callback(None)
        self.assertEqual(self.texts(), ["waited x", "waited too"])

    def test_exception_that_cannot_say_what_it_is(self) -> None:
        """An exception whose text can't be had is answered with its type, and never with a traceback."""
        self.assertEqual(
            self.say("!fails silently", frm="alice"), ["Computer says nooo. See logs for details:\nSilent"]
        )
        self.flushLoggedErrors()

    def test_logged(self) -> None:
        """Who gives which command is in the log, and not what it was given."""
        self.say("!hello world a secret")
        self.say("!hello", frm="carol")
        lines = [line for line in self.test_bot.log if " runs " in line]
        self.assertEqual(lines, ["bob runs hello_world"])

    def test_splitters_of_plugins(self) -> None:
        """Whatever a plugin's own splitter raises is told, as what argparse raises at arguments it doesn't know."""
        self.assertEqual(self.say("!split itself a-b"), ["['a', 'b']"])
        (reply,) = self.say("!split itself leave")
        self.assertIn("couldn't parse your arguments", reply)
        (reply,) = self.say("!split itself silently", frm="alice")
        self.assertEqual(reply, "Sorry, I couldn't parse your arguments. Silent")
        self.assertEqual(len(self.flushLoggedErrors(Silent)), 1)
        self.assertEqual(self.say("!hello world"), ["hello ''"])

    def test_replies_that_cannot_be_sent(self) -> None:
        """When the network takes nothing any more that is logged, and the bot isn't busy for ever."""
        self.successResultOf(self.backends["libera"].disconnect())
        self.assertEqual(self.say("!hello world") + self.say("!nothing"), [])
        self.assertEqual(len(self.flushLoggedErrors(OutboxClosed)), 3)
        self.successResultOf(self.bot.dispatcher.when_idle())

    def test_no_room_for_answers(self) -> None:
        """Answers for which the outbox has no room are left out, with a line in the log each and no traceback."""
        with mock.patch.object(self.backends["libera"], "send_message", side_effect=OutboxFull("9 messages wait")):
            for text in ("!hello world", "!items", "!nothing", "!found"):
                self.assertEqual(self.say(text), [])
        lines = [line for line in self.test_bot.log if "dropped" in line]
        self.assertEqual(lines, ["A reply was dropped: 9 messages wait"] * 4)
        self.assertEqual(self.flushLoggedErrors(), [])


class UnknownTests(TalkerCase):
    """What is said about commands that there aren't."""

    networks = {"libera": {}, "quiet": {"SUPPRESS_CMD_NOT_FOUND": True}}

    def test_as_it_was_given(self) -> None:
        """What somebody has typed is shown as it was, and no Markdown."""
        self.assertEqual(self.say("!_a_ [b](http://evil)"), ['Command "_a_" / "_a_ [b](http://evil)" not found.'])

    def test_suppressed_on_one_network(self) -> None:
        """SUPPRESS_CMD_NOT_FOUND mutes it where it is set."""
        self.assertEqual(self.say("!zz", network="quiet"), [])
        self.assertEqual(len(self.say("!zz")), 1)


class PrefixTests(TalkerCase):
    """What a command begins with, on each network."""

    networks = {
        "libera": {},
        "dotted": {"BOT_PREFIX": "."},
        "loose": {
            "BOT_PREFIX_OPTIONAL_ON_CHAT": True,
            "BOT_ALT_PREFIXES": ("err", "errbot"),
            "BOT_ALT_PREFIX_SEPARATORS": (":", ","),
            "BOT_ALT_PREFIX_CASEINSENSITIVE": True,
        },
    }

    def test_each_network_has_its_own(self) -> None:
        """A prefix holds on its network only, and suggestions show it."""
        self.assertEqual(len(self.say("!hello world")), 1)
        self.assertEqual(self.say(".hello world"), [])
        self.assertEqual(len(self.say(".hello world", network="dotted")), 1)
        self.assertEqual(self.say("!hello world", network="dotted"), [])
        self.assertIn('".hello world"', self.say(".helo world", network="dotted")[0])


class AccessTests(TalkerCase):
    """Who may do what, on each network."""

    networks = {
        "libera": {
            "BOT_ADMINS": ("alice",),
            "ACCESS_CONTROLS": {"Talker:hello*": {"denyusers": ("mallory",)}, "admin waits": {"allowmuc": True}},
        },
        "console": {"BOT_ADMINS": ("root",), "HIDE_RESTRICTED_ACCESS": True},
    }

    def test_admin_only(self) -> None:
        """A command of admins is refused to others, and nobody is an admin on a network for being one elsewhere."""
        self.assertEqual(self.say("!admin waits", frm="bob"), ["This command requires bot-admin privileges"])
        self.assertEqual(self.say("!admin waits", frm="root"), ["This command requires bot-admin privileges"])
        self.assertEqual(self.say("!admin waits", frm="alice", network="console"), [])
        self.assertEqual(self.talker.gates, [])
        self.say("!admin waits", frm="alice")
        self.say("!admin waits", frm="root", network="console")
        self.talker.gates[0].callback(None)
        self.reactor.advance(0)
        self.talker.gates[1].callback(None)
        self.assertEqual((self.texts()[-1], self.texts("console")), ("done", ["done"]))

    def test_rules_hold_on_their_network(self) -> None:
        """ACCESS_CONTROLS of one network say nothing about another."""
        (refusal,) = self.say("!hello world", frm="mallory")
        self.assertTrue(refusal.startswith("You're not allowed to access this command"))
        self.assertEqual(self.say("!hello world", frm="mallory", network="console"), ["hello ''"])

    def test_broken_rules_refuse(self) -> None:
        """Rules that can't be applied let nobody in, are logged, and stop nothing else."""
        self.config.networks["libera"].ACCESS_CONTROLS = {"*": {"allowusers": 7}}
        self.assertEqual(self.say("!hello world"), [])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.successResultOf(self.bot.dispatcher.when_idle())


class LivePrefixTests(TalkerCase):
    """Settings that are changed while the bot runs."""

    def test_prefix_is_changed(self) -> None:
        """What is heard as a command follows BOT_PREFIX at once."""
        self.assertEqual(self.say("!hello world"), ["hello ''"])
        self.config.BOT_PREFIX = "%"
        self.assertEqual(self.say("!hello world"), [])
        self.assertEqual(self.say("%hello world"), ["hello ''"])


class OrderTests(TalkerCase):
    """What waits for what."""

    networks = {"libera": {"BOT_ADMINS": ("alice",)}, "console": {"BOT_ADMINS": ("root",)}}

    def test_admin_commands_one_after_another(self) -> None:
        """Of admins' commands one runs at a time, in order, while everybody else is answered."""
        self.say("!admin waits 1", frm="alice")
        self.say("!admin waits 2", frm="alice")
        self.assertEqual(len(self.talker.gates), 1)
        self.assertEqual(self.say("!hello world"), ["hello ''"])
        self.talker.gates[0].callback(None)
        self.reactor.advance(0)
        self.assertEqual(len(self.talker.gates), 2)
        self.talker.gates[1].callback(None)
        self.assertEqual(self.texts(), ["hello ''", "done 1", "done 2"])

    def test_who_waits_is_told(self) -> None:
        """Whoever's turn doesn't come is told after a while which command is before, once; others' commands too."""
        self.say("!admin waits 1", frm="alice")
        self.assertEqual(self.say("!admin finds carol", frm="alice"), [])
        self.reactor.advance(11)
        self.assertEqual(
            self.texts(), ["!admin finds waits for !admin waits to end; admin-only commands run one at a time."]
        )
        self.reactor.advance(60)
        self.assertEqual(len(self.texts()), 1)

    def test_who_waits_for_a_moment_is_not_told(self) -> None:
        """Nothing is said of a turn that comes soon."""
        self.say("!admin waits 1", frm="alice")
        self.say("!admin waits 2", frm="alice")
        self.talker.gates[0].callback(None)
        self.reactor.advance(60)
        self.assertEqual(self.texts(), ["done 1"])

    def test_the_end_waits_for_nobody(self) -> None:
        """The bot can be shut down although a command of an administrator doesn't end; twice is as good as once."""
        self.say("!admin waits 1", frm="alice")
        self.assertEqual(self.say("!shutdown --confirm", frm="alice"), ["Shutting down."])
        self.say("!shutdown --confirm", frm="alice")
        self.reactor.advance(0)
        self.assertTrue(self.reactor.hasStopped)

    def test_a_failing_admin_command_lets_the_next_one_run(self) -> None:
        """The turn passes on whatever becomes of a command."""
        self.say("!admin waits 1", frm="alice")
        self.say("!admin waits 2", frm="alice")
        self.talker.gates[0].errback(RuntimeError("gone"))
        self.reactor.advance(0)
        self.talker.gates[1].callback(None)
        self.assertEqual(self.texts()[-1], "done 2")
        self.flushLoggedErrors(RuntimeError)

    def test_a_waiting_command_keeps_its_network(self) -> None:
        """A command that waited for another network's has bare names on its own network nevertheless."""
        self.say("!admin waits", frm="alice")
        self.say("!admin finds carol", frm="root", network="console")
        self.talker.gates[0].callback(None)
        self.reactor.advance(0)
        self.talker.gates[1].callback(None)
        self.assertEqual(self.texts("console"), ["console"])

    def test_splitters_keep_the_order(self) -> None:
        """Commands of administrators whose arguments a plugin splits itself wait for their turn all the same."""
        self.say("!admin waits 1", frm="alice")
        self.say("!admin splits a-b", frm="alice")
        self.say("!admin waits 2", frm="alice")
        self.assertEqual(self.texts(), [])
        self.talker.gates[0].callback(None)
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.talker.gates[1].callback(None)
        self.assertEqual(self.texts(), ["done 1", "['a', 'b']", "done 2"])

    def test_a_never_ending_command(self) -> None:
        """Others are answered while one never is; idle is the bot only after the last answer."""
        self.say("!waits")
        self.assertEqual(self.say("!hello world"), ["hello ''"])
        idle = self.bot.dispatcher.when_idle()
        self.assertNoResult(idle)
        self.talker.gates[0].callback(None)
        self.successResultOf(idle)
        self.assertEqual(self.texts()[-1], "waited")
