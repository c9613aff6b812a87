"""Tests for the dispatch of messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, inlineCallbacks

from errklein import BotPlugin, Command, Message, botcmd, botmatch, re_botcmd
from errklein.ports.outbox import OutboxClosed, OutboxFull, RoomUnavailable
from tests.doubles import NetworksCase


class Silent(Exception):
    """An exception whose `str()` fails."""

    def __str__(self) -> str:
        raise ValueError("no text")


def split_at_dashes(args: str) -> list[str]:
    """A splitter that may fail."""
    if args == "leave":
        raise SystemExit(2)
    if args == "silently":
        raise Silent
    return args.split("-")


class Talker(BotPlugin):
    """A plugin with every kind of reply."""

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
        """Raise an exception whose text can't be read."""
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


class Reader(BotPlugin):
    """A plugin that reads messages."""

    def callback_message(self, message: Message) -> None:
        """Do nothing."""


class TalkerCase(NetworksCase):
    """A bot with that plugin."""

    plugins = (Talker,)

    def setUp(self) -> None:
        """Remember the plugin's instance."""
        super().setUp()
        self.talker: Any = self.bot.plugin_manager.instance("Talker")


class AnswerTests(TalkerCase):
    """Replies for values that a command returns, yields or raises."""

    def test_async_generators(self) -> None:
        """Items of an async generator are sent as they are yielded, and stay sent if it raises later."""
        self.assertEqual(self.say("!later items"), ["one"])
        self.talker.gates[0].callback(None)
        self.assertEqual(self.texts()[1], "two")
        self.assertTrue(self.texts()[2].startswith("Computer says nooo"))
        self.flushLoggedErrors(RuntimeError)

    def test_coroutines_and_inline_callbacks(self) -> None:
        """Coroutine functions and `@inlineCallbacks` reply when they have finished."""
        self.assertEqual(self.say("!waits x") + self.say("!waits too"), [])
        for gate in self.talker.gates:
            gate.callback(None)
        self.assertEqual(self.texts(), ["waited x", "waited too"])

    def test_exception_that_cannot_say_what_it_is(self) -> None:
        """The reply to an exception whose text can't be read contains its type and no traceback."""
        (reply,) = self.say("!fails silently", frm="alice")
        self.assertRegex(
            reply, r"^Computer says nooo\. See logs for details:\nSilent\nSilent in test_dispatcher\.py, line \d+"
        )
        self.flushLoggedErrors()

    def test_logged(self) -> None:
        """The log contains senders and commands, but no arguments."""
        self.say("!hello world a secret")
        self.say("!hello", frm="carol")
        lines = [line for line in self.test_bot.log if " runs " in line]
        self.assertEqual(lines, ["bob runs hello_world"])

    def test_splitters_of_plugins(self) -> None:
        """The reply contains any exception of a plugin's own splitter, as it does those of argparse."""
        self.assertEqual(self.say("!split itself a-b"), ["['a', 'b']"])
        (reply,) = self.say("!split itself leave")
        self.assertIn("couldn't parse your arguments", reply)
        (reply,) = self.say("!split itself silently", frm="alice")
        self.assertEqual(reply, "Sorry, I couldn't parse your arguments. Silent")
        self.assertEqual(len(self.flushLoggedErrors(Silent)), 1)
        self.assertEqual(self.say("!hello world"), ["hello ''"])

    def test_replies_that_cannot_be_sent(self) -> None:
        """If the network rejects all messages, that is logged, and the bot doesn't stay busy."""
        self.successResultOf(self.backends["libera"].disconnect())
        self.assertEqual(self.say("!hello world") + self.say("!nothing"), [])
        self.assertEqual(len(self.flushLoggedErrors(OutboxClosed)), 3)
        self.successResultOf(self.bot.dispatcher.when_idle())

    def test_message_that_waits_for_its_room(self) -> None:
        """A command that doesn't catch RoomUnavailable replies why its message waits, and isn't logged as a fault."""
        self.say("!waits")
        self.talker.gates[0].errback(RoomUnavailable("the bot is not in #secret"))
        self.assertEqual(self.texts()[-1], "the bot is not in #secret")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_no_room_for_answers(self) -> None:
        """Replies for which the outbox has no room are dropped, with one log line each and no traceback."""
        with mock.patch.object(self.backends["libera"], "send_message", side_effect=OutboxFull("9 messages wait")):
            for text in ("!hello world", "!items", "!nothing", "!found"):
                self.assertEqual(self.say(text), [])
        lines = [line for line in self.test_bot.log if "dropped" in line]
        self.assertEqual(lines, ["A reply was dropped: 9 messages wait"] * 4)
        self.assertEqual(self.flushLoggedErrors(), [])


class UnknownTests(TalkerCase):
    """Replies to unknown commands."""

    networks = {"libera": {}, "quiet": {"SUPPRESS_CMD_NOT_FOUND": True}}

    def test_as_it_was_given(self) -> None:
        """The reply shows the text as typed, without interpreting Markdown in it."""
        self.assertEqual(self.say("!_a_ [b](http://evil)"), ['Command "_a_" / "_a_ [b](http://evil)" not found.'])

    def test_case(self) -> None:
        """Commands are suggested in whatever case they are given."""
        self.assertIn('Did you mean "!items" or ', self.say("!ITEMS")[0])

    def test_punctuation(self) -> None:
        """Punctuation after the prefix isn't a command, and gets no reply."""
        self.assertEqual([self.say(text) for text in ("!", "!!!", "!?", "! …")], [[]] * 4)

    def test_beginning_of_commands(self) -> None:
        """The first words of several commands get a list of those that aren't hidden."""
        (reply,) = self.say("!Plugin")
        self.assertTrue(
            reply.startswith('Commands that begin with "!Plugin": "!plugin activate", "!plugin blacklist", ')
        )
        self.assertEqual(self.say("!log"), ['Commands that begin with "!log": "!log tail".'])
        self.assertIn('"!room join"', self.say("!room")[0])
        self.assertEqual(self.say("!later"), ['Commands that begin with "!later": "!later items".'])

    def test_unknown_subcommand(self) -> None:
        """An unknown word after the beginning of several commands gets the closest command first, and then the others."""
        others = ("activate", "blacklist", "config", "deactivate", "reload", "unblacklist")
        for given, begin in (
            (
                "!plugin infos Talker",
                'Command "plugin infos" not found. Did you mean "!plugin info"? Others that begin with "!plugin": '
                + ", ".join(f'"!plugin {name}"' for name in others)
                + ".",
            ),
            (
                "!Plugin zzz",
                'Command "Plugin zzz" not found. Commands that begin with "!Plugin": "!plugin activate", ',
            ),
            ("!log tial", 'Command "log tial" not found. Did you mean "!log tail"?'),
            ("!plugin act", 'Command "plugin act" not found. Did you mean "!plugin activate"?'),
        ):
            (reply,) = self.say(given)
            self.assertEqual(" ".join(reply.split())[: len(begin)], begin)

    def test_suppressed_on_one_network(self) -> None:
        """SUPPRESS_CMD_NOT_FOUND suppresses the reply on its network."""
        self.assertEqual(self.say("!zz", network="quiet"), [])
        self.assertEqual(len(self.say("!zz")), 1)


class PrefixTests(TalkerCase):
    """Prefixes of each network."""

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
        """A prefix is valid on its network only, and suggestions contain it."""
        self.assertEqual(len(self.say("!hello world")), 1)
        self.assertEqual(self.say(".hello world"), [])
        self.assertEqual(len(self.say(".hello world", network="dotted")), 1)
        self.assertEqual(self.say("!hello world", network="dotted"), [])
        self.assertIn('".hello world"', self.say(".helo world", network="dotted")[0])


class NickPrefixTests(TalkerCase):
    """The bot's nick as a prefix."""

    networks = {"libera": {"BOT_IDENTITY": {"username": "kit"}}, "off": {"BOT_NICK_PREFIX": False}}

    def test_nick(self) -> None:
        """The nick and a colon or comma is a prefix, in rooms and in private, and BOT_PREFIX may follow."""
        for text in ("kit: hello world", "kit,hello world", "@kit: hello world", "kit:  !hello world", "kit: found"):
            self.assertEqual(len(self.say(text)) + len(self.say(text, to="#ops")), 2, text)

    def test_other_words(self) -> None:
        """What doesn't begin with the nick and a colon or comma, or has no command after it, is an ordinary message."""
        for text in (
            "kit hello world",
            "kitten: hello world",
            "kit: thank you",
            "kit: !!",
            "kit: 1",
            "kit:",
            "x kit: items",
        ):
            self.assertEqual(self.say(text), [], text)

    def test_turned_off(self) -> None:
        """With `BOT_NICK_PREFIX = False` it is none."""
        self.assertEqual(
            self.say("errbot: hello world", network="off") + self.say("err: hello world", network="off"), []
        )

    def test_patterns_without_prefix(self) -> None:
        """A pattern that needs no prefix gets the message with the nick, as without this prefix."""
        matched: list[str] = []
        command = Command(
            lambda plugin, msg, match: matched.append(match.string),
            cmd_type=botmatch,
            cmd_args=("^kit: (hi|items)",),
            name="hi",
        )
        self.talker.create_dynamic_plugin("Matching", (command,))
        self.say("kit: hi")
        self.assertEqual(self.say("kit: items"), ["one", "two"])
        self.assertEqual(matched, ["kit: hi", "kit: items"])


class WordPrefixTests(TalkerCase):
    """A prefix that consists of letters."""

    networks = {"libera": {"BOT_PREFIX": "kc"}}

    def test_part_of_a_word(self) -> None:
        """Such a prefix needs no space after it; but a longer word is none, unless a command follows."""
        for text in ("kc hello world", "kchello world"):
            self.assertEqual(self.say(text), ["hello ''"])
        self.assertEqual(self.say("kcfound"), ["found it"])
        self.assertEqual(self.say("kcx probe"), [])
        self.assertIn("not found", self.say("kc x probe")[0])


class HintTests(TalkerCase):
    """The explanation of commands."""

    networks = {"libera": {}, "loose": {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}}

    def test_once(self) -> None:
        """Each person who sends a greeting in private learns once how to give commands."""
        self.assertEqual(self.say("hello", to="#ops"), [])
        self.assertEqual(self.say("Hello!"), ["Commands begin with !; !help lists them."])
        self.assertEqual(self.say("help"), [])
        self.assertEqual(len(self.say("help", frm="carol")), 1)
        self.assertIn("All commands", self.say("help", network="loose")[0])

    def test_bots(self) -> None:
        """Another bot gets none, since the two could reply to each other."""
        backend = self.backends["libera"]
        backend.receive_message(
            Message("hello", frm=backend.person_named("bob"), to=backend.bot_identifier, extras={"bot": True})
        )
        self.assertEqual(self.texts(), [])


class ReadingTests(NetworksCase):
    """A plugin that reads messages."""

    plugins = (Reader,)

    def test_no_hint(self) -> None:
        """Its people get no explanation of commands, since the plugin may reply itself."""
        self.assertEqual(self.say("hello"), [])


class RateTests(TalkerCase):
    """COMMAND_RATE."""

    networks = {"libera": {"BOT_ADMINS": ("alice",), "COMMAND_RATE": "3/min"}, "free": {"COMMAND_RATE": None}}

    def test_limit(self) -> None:
        """A person's further commands, unknown ones included, are ignored, with one reply a minute; others' aren't."""
        texts = [self.say(text) for text in ("!hello world", "!nothing", "!found", "!hello world", "!nothing")]
        self.assertEqual([len(replies) for replies in texts], [1, 1, 1, 1, 0])
        self.assertEqual(texts[3], ["You have given too many commands; the next may follow in 20 s."])
        self.assertTrue(self.backends["libera"].sent[-1].message.extras["notice"])
        self.assertEqual(self.say("!hello world", frm="carol"), ["hello ''"])
        self.reactor.advance(20)
        self.assertEqual(self.say("!hello world"), ["hello ''"])
        self.assertEqual(self.say("!hello world"), [])

    def test_others(self) -> None:
        """Administrators have no limit, nor do messages without a prefix, and `None` means no limit."""
        for network, frm in (("libera", "alice"), ("free", "bob")):
            for _ in range(10):
                self.assertEqual(self.say("!hello world", frm=frm, network=network), ["hello ''"])
        for _ in range(10):
            self.say("just chatting")
        self.assertEqual(self.say("!hello world"), ["hello ''"])

    def test_bots(self) -> None:
        """Messages that the network marks as a bot's, and notices, run no command."""
        for extras in ({"bot": True}, {"notice": True}):
            backend = self.backends["libera"]
            backend.receive_message(
                Message("!hello world", frm=backend.person_named("bob"), to=backend.bot_identifier, extras=extras)
            )
        self.assertEqual(self.texts(), [])


class AccessTests(TalkerCase):
    """Access rules of each network."""

    networks = {
        "libera": {
            "BOT_ADMINS": ("alice",),
            "ACCESS_CONTROLS": {"Talker:hello*": {"denyusers": ("mallory",)}, "admin waits": {"allowmuc": True}},
        },
        "console": {"BOT_ADMINS": ("root",), "HIDE_RESTRICTED_ACCESS": True},
    }

    def test_admin_only(self) -> None:
        """An admin-only command is denied to others, and administrators of one network aren't those of another."""
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
        """ACCESS_CONTROLS of one network don't apply to another."""
        (refusal,) = self.say("!hello world", frm="mallory")
        self.assertTrue(refusal.startswith("You're not allowed to access this command"))
        self.assertEqual(self.say("!hello world", frm="mallory", network="console"), ["hello ''"])

    def test_broken_rules_refuse(self) -> None:
        """Invalid access rules deny everything, are logged, and stop nothing else."""
        self.config.networks["libera"].ACCESS_CONTROLS = {"*": {"allowusers": 7}}
        self.assertEqual(self.say("!hello world"), [])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.successResultOf(self.bot.dispatcher.when_idle())


class LivePrefixTests(TalkerCase):
    """Settings that are changed while the bot runs."""

    def test_prefix_is_changed(self) -> None:
        """A new BOT_PREFIX applies at once."""
        self.assertEqual(self.say("!hello world"), ["hello ''"])
        self.config.BOT_PREFIX = "%"
        self.assertEqual(self.say("!hello world"), [])
        self.assertEqual(self.say("%hello world"), ["hello ''"])


class OrderTests(TalkerCase):
    """Concurrency of commands."""

    networks = {"libera": {"BOT_ADMINS": ("alice",)}, "console": {"BOT_ADMINS": ("root",)}}

    def test_admin_commands_one_after_another(self) -> None:
        """Admin-only commands run one at a time, in order, while other people get replies."""
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
        """A command that waits long gets one reply with the command before it; so do other people's commands."""
        self.say("!admin waits 1", frm="alice")
        self.assertEqual(self.say("!admin finds carol", frm="alice"), [])
        self.reactor.advance(11)
        self.assertEqual(
            self.texts(), ["!admin finds waits for !admin waits to end; admin-only commands run one at a time."]
        )
        self.reactor.advance(40)
        self.assertEqual(len(self.texts()), 1)

    def test_a_command_that_hangs(self) -> None:
        """An admin-only command that hangs holds up others of plugins for a minute, and those of the core not at all."""
        self.say("!admin waits 1", frm="alice")
        self.say("!admin waits 2", frm="alice")
        self.assertEqual(self.say("!plugin deactivate Talker", frm="alice"), ["Plugin Talker deactivated."])
        self.reactor.advance(59.9)
        self.assertEqual(len(self.talker.gates), 1)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.talker.gates), 2)

    def test_who_waits_for_a_moment_is_not_told(self) -> None:
        """A command that waits briefly gets no such reply."""
        self.say("!admin waits 1", frm="alice")
        self.say("!admin waits 2", frm="alice")
        self.talker.gates[0].callback(None)
        self.reactor.advance(60)
        self.assertEqual(self.texts(), ["done 1"])

    def test_the_end_waits_for_nobody(self) -> None:
        """`!shutdown` works while an administrator's command hangs, and may be repeated."""
        self.say("!admin waits 1", frm="alice")
        self.assertEqual(self.say("!shutdown --confirm", frm="alice"), ["Shutting down."])
        self.say("!shutdown --confirm", frm="alice")
        self.reactor.advance(0)
        self.assertTrue(self.reactor.hasStopped)

    def test_a_failing_admin_command_lets_the_next_one_run(self) -> None:
        """The next admin-only command runs whether the previous one succeeds or fails."""
        self.say("!admin waits 1", frm="alice")
        self.say("!admin waits 2", frm="alice")
        self.talker.gates[0].errback(RuntimeError("gone"))
        self.reactor.advance(0)
        self.talker.gates[1].callback(None)
        self.assertEqual(self.texts()[-1], "done 2")
        self.flushLoggedErrors(RuntimeError)

    def test_a_waiting_command_keeps_its_network(self) -> None:
        """After waiting for another network's command, bare names still belong to the command's own network."""
        self.say("!admin waits", frm="alice")
        self.say("!admin finds carol", frm="root", network="console")
        self.talker.gates[0].callback(None)
        self.reactor.advance(0)
        self.talker.gates[1].callback(None)
        self.assertEqual(self.texts("console"), ["console"])

    def test_splitters_keep_the_order(self) -> None:
        """Admin-only commands whose arguments a plugin splits wait for each other, too."""
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
        """Other commands reply while one never does; the bot is idle only after the last reply."""
        self.say("!waits")
        self.assertEqual(self.say("!hello world"), ["hello ''"])
        idle = self.bot.dispatcher.when_idle()
        self.assertNoResult(idle)
        self.talker.gates[0].callback(None)
        self.successResultOf(idle)
        self.assertEqual(self.texts()[-1], "waited")
