"""Tests for commands by pattern, the history, other return values, and commands made at run time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed

from errklein import BotPlugin, Command, CommandError, arg_botcmd, botcmd, botmatch, re_botcmd
from tests.networks import NetworksCase


class Ways(BotPlugin):
    """Has a command of each kind."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.seen: list[str] = []

    def callback_message(self, message: Any) -> None:
        self.seen.append(message.body)

    @botcmd(aliases=("d", "ship it"))
    def deploy(self, msg: Any, args: str) -> str:
        return f"deployed {args!r}"

    @botcmd(historize=False)
    def quietly(self, msg: Any, args: str) -> str:
        return "quietly"

    @botcmd(flow_only=True)
    def in_flow(self, msg: Any, args: str) -> str:
        return "in a flow"

    @re_botcmd(pattern=r"^say (?P<what>\w+)")
    def say(self, msg: Any, match: Any) -> str:
        return f"said {match['what']}"

    @re_botcmd(pattern=r"say \w+ twice$")
    async def say_twice(self, msg: Any, match: Any) -> str:
        return f"twice {match.string!r}"

    @botmatch(r"\bduck\w*", matchall=True)
    def ducks(self, msg: Any, matches: Any) -> Iterator[str]:
        for match in matches:
            yield match.group()

    @re_botcmd(pattern="^hidden door$", admin_only=True)
    def door(self, msg: Any, match: Any) -> str:
        return "it opens"

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

    @botcmd(template="no_such_template")
    def templated(self, msg: Any, args: str) -> Any:
        return {"name": args} if args else "as it is"

    @botcmd
    def refuses(self, msg: Any, args: str) -> str:
        raise CommandError({"name": args}, template="no_such_template")

    @botcmd
    def dynamic(self, msg: Any, args: str) -> str:
        def shout(plugin: Any, msg: Any, args: str) -> str:
            return f"{plugin.name}: {args.upper()}"

        pattern = {"pattern": r"^zork"}
        self.create_dynamic_plugin(
            args or "my own",
            [Command(shout), Command(lambda plugin, msg, match: "zorked", re_botcmd, cmd_kwargs=pattern, name="zork")],
            doc="Made at run time.",
        )
        return "made"

    @botcmd
    def no_dynamic(self, msg: Any, args: str) -> str:
        self.destroy_dynamic_plugin(args or "my own")
        return "gone"


class WaysCase(NetworksCase):
    """Has the plugin."""

    plugins = (Ways,)

    def setUp(self) -> None:
        """Have the plugin at hand."""
        super().setUp()
        self.plugin: Any = self.bot.plugin_manager.instance("Ways")


class PatternTests(WaysCase):
    """Commands that are found by a pattern."""

    def test_every_match_runs(self) -> None:
        """Each command whose pattern is found in what follows the prefix runs."""
        self.assertEqual(self.say("!say hello"), ["said hello"])
        self.assertEqual(self.say("!say hello twice"), ["said hello", "twice 'say hello twice'"])

    def test_prefix(self) -> None:
        """Without a prefix only those run that need none; with a prefix those too."""
        self.assertEqual(self.say("say hello"), [])
        self.assertEqual(self.say("two ducks and a duckling", to="#room"), ["ducks", "duckling"])
        self.assertEqual(self.say("!x duck"), ["duck"])

    def test_names_go_first(self) -> None:
        """A command with a name is run alone, whatever patterns are found in its arguments."""
        self.assertEqual(self.say("!deploy duck"), ["deployed 'duck'"])

    def test_access(self) -> None:
        """Rules hold for these commands too; what one may not do is not unknown."""
        self.assertEqual(self.say("!hidden door"), ["This command requires bot-admin privileges"])
        self.assertEqual(self.say("!hidden door", frm="alice"), ["it opens"])
        self.config.networks["libera"].ACCESS_CONTROLS = {"Ways:say": {"denyargs": ("*hello*",)}}
        self.assertIn("provided arguments", self.say("!say hello")[0])
        self.assertEqual(self.say("!say bye"), ["said bye"])

    def test_unknown(self) -> None:
        """What neither names a command nor is found by a pattern is unknown."""
        self.assertIn("not found", self.say("!nothing")[0])


class AliasTests(WaysCase):
    """Other names."""

    def test_aliases(self) -> None:
        """Other names run the command, with spaces or without."""
        for said in ("!d x", "!ship it x", "!ship_it x", "!deploy x"):
            self.assertEqual(self.say(said), ["deployed 'x'"])
        self.assertEqual(self.bot.cmd_history["bob"][-1], ("deploy", "x"))

    def test_access_by_the_name(self) -> None:
        """Rules that name the command hold for its other names."""
        self.config.networks["libera"].ACCESS_CONTROLS = {"deploy": {"denyusers": ("bob",)}}
        self.assertIn("not allowed", self.say("!d x")[0])


class HistoryTests(WaysCase):
    """Commands that are given again."""

    def test_again(self) -> None:
        """Twice the prefix gives the last command again, a number one before it."""
        self.say("!deploy a  b")
        self.say("!say hello")
        self.assertEqual(self.say("!!"), ["said hello"])
        self.assertEqual(self.say("!2"), ["deployed 'a  b'"])
        self.assertEqual(self.say("!!"), ["deployed 'a  b'"])
        self.say("!quietly")
        self.assertEqual(self.say("!1"), ["deployed 'a  b'"])

    def test_each_person_has_their_own(self) -> None:
        """What somebody else has commanded can't be given again, nor what the same name has on another network."""
        self.say("!deploy x")
        self.assertEqual(self.say("!!", frm="carol"), [])
        self.assertEqual(self.say("!!", network="console"), [])

    def test_each_place_has_its_own(self) -> None:
        """What was given in private can't be given again in a room, where others read the answer; nor vice versa."""
        self.say("!deploy private")
        self.assertEqual(self.say("!!", to="#ops") + self.say("!1", to="#ops"), [])
        self.say("!deploy public", to="#ops")
        self.assertEqual(self.say("!!"), ["deployed 'private'"])
        self.assertEqual(self.say("!!", to="#ops"), ["deployed 'public'"])
        self.assertEqual(self.say("!!", to="#dev"), [])
        self.assertEqual(self.say("!2"), [])

    def test_nothing_there(self) -> None:
        """What isn't there is passed over in silence, and plugins aren't shown it."""
        self.assertEqual(self.say("!!") + self.say("!7") + self.say("!0"), [])
        self.assertEqual(self.plugin.seen, [])
        self.say("!deploy x")
        self.assertEqual(self.plugin.seen, ["!deploy x"])

    def test_access_is_asked_again(self) -> None:
        """A rule that came meanwhile holds."""
        self.say("!deploy x")
        self.config.networks["libera"].ACCESS_CONTROLS = {"deploy": {"denyusers": ("bob",)}}
        self.assertIn("not allowed", self.say("!!")[0])

    def test_commands_that_are_gone(self) -> None:
        """A command whose plugin is gone is unknown."""
        self.say("!dynamic")
        self.say("!shout x")
        self.say("!no dynamic")
        self.assertIn("not found", self.say("!2")[0])


class HistoryWithoutPrefixTests(WaysCase):
    """Where direct messages need no prefix."""

    settings = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}

    def test_numbers_alone(self) -> None:
        """A number without a prefix isn't taken for a place in the history."""
        self.say("deploy x")
        self.assertIn("not found", self.say("1")[0])
        self.assertEqual(self.say("!1"), ["deployed 'x'"])


class ResultTests(WaysCase):
    """What is answered."""

    def test_declared_arguments(self) -> None:
        """Commands with declared arguments answer, whatever kind of function they are."""
        self.assertEqual(self.say("!blocking args 1"), ["2"])
        self.assertEqual(self.say("!async args 1"), ["2", "3"])
        self.assertEqual(self.say("!deferred args 1"), ["4"])
        self.assertIn("couldn't parse the arguments", self.say("!async args x")[0])

    def test_items_that_are_awaited(self) -> None:
        """An item that can be awaited is answered with what it comes to."""
        self.assertEqual(self.say("!awaitable items"), ["plain", "awaited"])

    def test_missing_templates(self) -> None:
        """A template that isn't there is an error like any other; what isn't a dict needs none."""
        self.assertEqual(self.say("!templated"), ["as it is"])
        for said in ("!templated bob", "!refuses bob"):
            self.assertIn("no_such_template", self.say(said, frm="alice")[0])
        self.assertEqual(len(self.flushLoggedErrors()), 2)

    def test_flow_only(self) -> None:
        """A command that is for flows is passed over outside of one."""
        self.assertEqual(self.say("!in flow"), [])


class DynamicTests(WaysCase):
    """Plugins that are made at run time."""

    def test_life(self) -> None:
        """Their commands can be given at once, until they are destroyed."""
        self.say("!dynamic")
        self.assertEqual(self.say("!shout hey"), ["my own: HEY"])
        self.assertEqual(self.say("!zorkmid"), ["zorked"])
        self.assertEqual(self.say("!no dynamic"), ["gone"])
        self.assertIn("not found", self.say("!shout hey")[0])

    def test_names(self) -> None:
        """A name can be had once; only what was made can be destroyed."""
        self.say("!dynamic")
        self.assertIn("already", self.say("!dynamic", frm="alice")[0])
        self.assertIn("no dynamic plugin other", self.say("!no dynamic other", frm="alice")[0])
        self.flushLoggedErrors(ValueError)

    def test_names_of_others(self) -> None:
        """One that is named as another plugin takes nothing with it when it goes."""
        for name in ("Help", "Ways"):
            self.say(f"!dynamic {name}")
            self.assertEqual(self.say("!shout hey"), [f"{name}: HEY"])
            self.assertEqual(self.say(f"!no dynamic {name}"), ["gone"])
            self.assertIn("not found", self.say("!shout hey")[0])
        self.assertNotIn("not found", self.say("!help")[0])
        self.assertEqual(self.say("!deploy x"), ["deployed 'x'"])

    def test_owner_goes(self) -> None:
        """They go with the plugin that made them."""
        self.say("!dynamic")
        self.successResultOf(self.bot.plugin_manager.deactivate("Ways"))
        self.assertIn("not found", self.say("!shout hey")[0])
        self.assertNotIn("shout", self.bot.all_commands)


class BotTests(WaysCase):
    """What plugins can ask the bot about commands."""

    def test_tables(self) -> None:
        """Commands with names and those with patterns are told apart, or not."""
        self.assertEqual(self.bot.commands["deploy"], self.plugin.deploy)
        self.assertEqual(sorted(self.bot.re_commands), ["door", "ducks", "say", "say_twice"])
        self.assertEqual(self.bot.all_commands, {**self.bot.commands, **self.bot.re_commands})
        self.assertIn(Ways, list(self.bot.get_command_classes()))

    def test_unknown_command(self) -> None:
        """A plugin can have the text about an unknown command."""
        self.assertIn('"depoly" / "depoly x" not found', self.bot.unknown_command(None, "depoly", "x y"))
        self.assertIn("deploy", self.bot.unknown_command(None, "depoly", None))
        self.assertIn('"" not found', self.bot.unknown_command(None, None, ""))


class SilentCoreTests(WaysCase):
    """Where CORE_PLUGINS leaves out what tells of unknown commands."""

    settings = {"CORE_PLUGINS": ("Help",)}

    def test_unknown(self) -> None:
        """Nothing is said about unknown commands."""
        self.assertEqual(self.say("!nothing"), [])


class MethodsOfInstancesTests(NetworksCase):
    """Methods that aren't in the class body."""

    def test_methods_on_the_instance(self) -> None:
        """A decorated method that is assigned to the instance is a command; properties aren't looked at."""

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
