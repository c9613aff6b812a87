"""Tests for aliases, the history, asynchronous results and dynamic commands, on several networks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed

from errklein import BotPlugin, Command, CommandError, arg_botcmd, botcmd
from tests.doubles import NetworksCase


class Deployer(BotPlugin):
    """A plugin with a command of each kind."""

    @botcmd(aliases=("d", "ship it"))
    def deploy(self, msg: Any, args: str) -> str:
        return f"deployed {args!r}"

    @arg_botcmd("n", type=int)
    def blocking_args(self, msg: Any, n: int) -> str:
        return f"{n + 1}"

    @arg_botcmd("n", type=int)
    async def async_args(self, msg: Any, n: int) -> AsyncIterator[str]:
        yield f"{n + 1}"
        yield f"{n + 2}"

    @arg_botcmd("n", type=int)
    def deferred_args(self, msg: Any, n: int) -> Deferred[str]:
        return succeed(f"{n + 3}")

    @botcmd
    def awaitable_items(self, msg: Any, args: str) -> Iterator[Any]:
        async def later() -> str:
            return "awaited"

        yield "plain"
        yield later()

    @botcmd
    def refuses(self, msg: Any, args: str) -> str:
        raise CommandError({"name": args}, template="no_such_template")

    @botcmd
    def dynamic(self, msg: Any, args: str) -> str:
        def shout(plugin: Any, msg: Any, args: str) -> str:
            return f"{plugin.name}: {args.upper()}"

        self.create_dynamic_plugin(args or "my own", [Command(shout)], doc="Made at run time.")
        return "made"

    @botcmd
    def no_dynamic(self, msg: Any, args: str) -> str:
        self.destroy_dynamic_plugin(args or "my own")
        return "gone"


class CommandsCase(NetworksCase):
    """A bot with that plugin."""

    plugins = (Deployer,)


class AliasTests(CommandsCase):
    """Aliases."""

    def test_aliases(self) -> None:
        """An alias runs the command, with spaces or underscores."""
        for said in ("!d x", "!ship it x", "!ship_it x", "!deploy x"):
            self.assertEqual(self.say(said), ["deployed 'x'"])
        self.assertEqual(self.bot.cmd_history["bob"][-1], ("deploy", "x"))

    def test_access_by_the_name(self) -> None:
        """Access rules for the command also apply to its aliases."""
        self.config.networks["libera"].ACCESS_CONTROLS = {"deploy": {"denyusers": ("bob",)}}
        self.assertIn("not allowed", self.say("!d x")[0])


class HistoryTests(CommandsCase):
    """Repeated commands."""

    def test_each_person_has_their_own(self) -> None:
        """Commands of other people, or of the same name on another network, can't be repeated."""
        self.say("!deploy x")
        self.assertEqual(self.say("!!", frm="carol"), [])
        self.assertEqual(self.say("!!", network="console"), [])

    def test_each_place_has_its_own(self) -> None:
        """A private command can't be repeated in a room, where others read the reply, nor the other way round."""
        self.say("!deploy private")
        self.assertEqual(self.say("!!", to="#ops") + self.say("!1", to="#ops"), [])
        self.say("!deploy public", to="#ops")
        self.assertEqual(self.say("!!"), ["deployed 'private'"])
        self.assertEqual(self.say("!!", to="#ops"), ["deployed 'public'"])
        self.assertEqual(self.say("!!", to="#dev"), [])
        self.assertEqual(self.say("!2"), [])

    def test_repetition_of_a_repetition(self) -> None:
        """A command that contains `!!` or a number isn't repeated, since another bot that replies with it would be, too."""
        for text in ("!deploy !!", "!deploy !deploy !!", "!deploy x !1"):
            self.assertEqual(len(self.say(text)), 1)
            self.assertEqual(self.say("!!"), [], text)
        self.say("!deploy wow!!")
        self.assertEqual(self.say("!!"), ["deployed 'wow!!'"])

    def test_access_is_asked_again(self) -> None:
        """Access rules are checked again when a command is repeated."""
        self.say("!deploy x")
        self.config.networks["libera"].ACCESS_CONTROLS = {"deploy": {"denyusers": ("bob",)}}
        self.assertIn("not allowed", self.say("!!")[0])

    def test_commands_that_are_gone(self) -> None:
        """A repeated command is unknown if its plugin was removed."""
        self.say("!dynamic")
        self.say("!shout x")
        self.say("!no dynamic")
        self.assertIn("not found", self.say("!2")[0])


class HistoryWithoutPrefixTests(CommandsCase):
    """`BOT_PREFIX_OPTIONAL_ON_CHAT` and the history."""

    settings = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}

    def test_numbers_alone(self) -> None:
        """A number without a prefix repeats no command."""
        self.say("deploy x")
        self.assertIn("not found", self.say("1")[0])
        self.assertEqual(self.say("!1"), ["deployed 'x'"])


class ResultTests(CommandsCase):
    """Results of commands."""

    def test_declared_arguments(self) -> None:
        """Commands with declared arguments reply, whether they are functions, coroutines or generators."""
        self.assertEqual(self.say("!blocking args 1"), ["2"])
        self.assertEqual(self.say("!async args 1"), ["2", "3"])
        self.assertEqual(self.say("!deferred args 1"), ["4"])
        self.assertIn("couldn't parse the arguments", self.say("!async args x")[0])

    def test_items_that_are_awaited(self) -> None:
        """An awaitable item is awaited, and its result is the reply."""
        self.assertEqual(self.say("!awaitable items"), ["plain", "awaited"])

    def test_missing_template_of_a_refusal(self) -> None:
        """A CommandError with a missing template is reported as an error."""
        self.assertIn("no_such_template", self.say("!refuses bob", frm="alice")[0])
        self.assertEqual(len(self.flushLoggedErrors()), 1)


class DynamicTests(CommandsCase):
    """Plugins created at run time."""

    def test_names_of_others(self) -> None:
        """Removing a dynamic plugin with the name of another plugin leaves the other's commands."""
        for name in ("Help", "Deployer"):
            self.say(f"!dynamic {name}")
            self.assertEqual(self.say("!shout hey"), [f"{name}: HEY"])
            self.assertEqual(self.say(f"!no dynamic {name}"), ["gone"])
            self.assertIn("not found", self.say("!shout hey")[0])
        self.assertNotIn("not found", self.say("!help")[0])
        self.assertEqual(self.say("!deploy x"), ["deployed 'x'"])


class MethodsOfInstancesTests(NetworksCase):
    """Methods that aren't defined in the class body."""

    def test_methods_on_the_instance(self) -> None:
        """A decorated method that is assigned to the instance is a command; properties aren't evaluated."""

        class Odd(BotPlugin):
            from_lambda = botcmd(name="from_lambda")(lambda self, msg, args: "lambda")

            @property
            def broken(self) -> str:
                raise RuntimeError("looked at")

            def activate(self) -> None:
                self.helper = botcmd(name="added")(lambda self, msg, args: "added").__get__(self)
                super().activate()

        self.bot.plugin_manager.instance("Help")
        odd = Odd(self.bot, "Odd")
        odd.activate()
        self.addCleanup(odd.deactivate)
        self.assertEqual(self.say("!from lambda") + self.say("!added"), ["lambda", "added"])
