"""Tests for `!help`, `!apropos` and `!about`."""

from __future__ import annotations

from typing import Any

from errklein import BotPlugin, botcmd
from errklein.commands import arg_botcmd, documentation, re_botcmd
from errklein.testing import PluginTestCase


class Cook(BotPlugin):
    """Cooks.

    And more.
    """

    @botcmd
    def Fry_Egg(self, msg: Any, args: str) -> str:
        """Fry an egg, which takes a while and fills this line with so many words that it is too long for a chat.

        Sunny side up.
        """
        return "fried"

    @botcmd
    def undocumented(self, msg: Any, args: str) -> str:
        return "nothing"

    @botcmd
    def cook(self, msg: Any, args: str) -> str:
        """Cook something."""
        return "cooked"

    @botcmd(admin_only=True, aliases=("throw_away",))
    def discard(self, msg: Any, args: str) -> str:
        """Throw something away."""
        return "gone"

    @botcmd(hidden=True)
    def taste(self, msg: Any, args: str) -> str:
        """Taste it."""
        return "good"

    @re_botcmd(pattern=r"^bake (\w+)$")
    def bake(self, msg: Any, match: Any) -> str:
        """Bake it.

        For long.
        """
        return "baked"

    @re_botcmd(pattern=r"boil(\w+)", prefixed=False, re_cmd_name_help="boil something")
    def boil(self, msg: Any, match: Any) -> str:
        """Boil it."""
        return "boiled"

    @arg_botcmd("what", help="what to slice")
    @arg_botcmd("--thin", action="store_true")
    def slice(self, msg: Any, what: str, thin: bool) -> str:
        """Slice something."""
        return "sliced"


class Waiter(BotPlugin):
    """Serves."""

    @botcmd
    def serve(self, msg: Any, args: str) -> str:
        """Serve a dish, and say what it is,
        over several lines.

        Politely.
        """
        return "served"

    @botcmd
    def serve_wine(self, msg: Any, args: str) -> str:
        """料理に合うワインを選び、温度を確かめ、栓を抜き、香りを確かめてから、お客様のグラスに静かに注ぎ、残りを氷の入った桶に入れて、テーブルの横に置いておきます。ごゆっくりお楽しみください。"""
        return "served"

    @botcmd(hidden=True)
    def serve_secretly(self, msg: Any, args: str) -> str:
        """Serve somebody else's dish."""
        return "served"


class OverviewTests(PluginTestCase):
    """`!help` without a topic."""

    plugins = (Cook, Waiter)

    def lines(self) -> list[str]:
        return self.command("!help").splitlines()

    def test_own_plugins_come_first(self) -> None:
        """The operator's plugins precede the core plugins, and the last line shows how to get details."""
        shown = self.command("!help")
        self.assertLess(shown.index("Cook: Cooks."), shown.index("Waiter: Serves."))
        self.assertLess(shown.index("Waiter: Serves."), shown.index("Core plugins"))
        self.assertEqual("For details, use !help PLUGIN or !help COMMAND.", self.lines()[-1].strip())

    def test_overview_is_short(self) -> None:
        """With two plugins of the operator's, the reply has at most 25 lines."""
        self.assertLessEqual(len([line for line in self.lines() if line.strip()]), 25)

    def test_core_plugins_have_one_line_each(self) -> None:
        """Commands of a core plugin with the same first word are joined: optional if the word is a command itself."""
        names = [command.name for command in self.bot.bot.registry if command.owner == "Health"]
        more = "|".join(sorted(name.removeprefix("status_") for name in names if name.startswith("status_")))
        lines = self.lines()
        self.assertIn("• ChatRoom: !room create|destroy|invite|join|leave|list|occupants|topic", lines)
        self.assertIn(f"• Health: !config reload, !drain, !restart, !shutdown, !status [{more}], !uptime", lines)
        self.assertIn("• ACLs: !acl explain", lines)

    def test_core_descriptions_are_short(self) -> None:
        """The description of each core command is one sentence of at most 60 characters."""
        plugins = self.bot.bot.plugin_manager
        for command in self.bot.bot.registry:
            if plugins.plugin(command.owner).plug.path.suffix == ".plug":
                summary = documentation(command.handler).partition("\n\n")[0]
                self.assertRegex(summary, r"^[A-Z][^\n]{8,58}\.$", command.name)

    def test_descriptions_end_with_a_word(self) -> None:
        """A long description is cut after a word; without spaces, after 79 characters."""
        lines = self.lines()
        self.assertIn(
            "• !Fry Egg - Fry an egg, which takes a while and fills this line with so many words that it…", lines
        )
        (wine,) = [line.partition(" - ")[2] for line in lines if "!serve wine" in line]
        self.assertEqual((len(wine), wine[-1]), (80, "…"))

    def test_first_paragraph_is_joined(self) -> None:
        """A first paragraph on several lines is shown in one."""
        self.assertIn("• !serve - Serve a dish, and say what it is, over several lines.", self.lines())

    def test_declared_arguments(self) -> None:
        """A command with declared arguments is listed with its description and not with its usage."""
        self.assertIn("• !slice - Slice something.", self.lines())


class HelpTests(PluginTestCase):
    """`!help` with a topic."""

    plugins = (Cook, Waiter)

    def test_first_words_of_commands(self) -> None:
        """The first word of several commands lists them; hidden commands are left out."""
        shown = self.command("!help room")
        self.assertIn("• !room create - ", shown)
        self.assertIn("• !room topic - ", shown)
        self.assertEqual(shown, self.command("!help !Room"))
        self.assertIn("Serve a dish", self.command("!help serve"))

    def test_unknown_topic(self) -> None:
        """Plugins and commands with similar names are suggested, but no hidden ones."""
        undefined = "That command is not defined."
        self.assertEqual(f"{undefined} Did you mean !help slice?", self.command("!help slise"))
        self.assertEqual(f"{undefined} Did you mean !help Waiter?", self.command("!help waitr"))
        self.assertIn("Did you mean !help room list or ", self.command("!help !room lst"))
        self.assertNotIn("secretly", self.command("!help serve secretl"))
        self.assertEqual(undefined, self.command("!help xyzzy"))

    def test_plugin_and_command_of_one_name(self) -> None:
        """A name without prefix selects the plugin, and with prefix the command."""
        self.assertIn("Cooks.", self.command("!help cook"))
        self.assertEqual("• !cook - Cook something.", self.command("!help !cook"))

    def test_plugin_without_commands(self) -> None:
        """A plugin that has no commands, such as one with webhooks only, is described."""
        self.assertIn("Reply to unknown commands", self.command("!help CommandNotFoundFilter"))

    def test_patterns(self) -> None:
        """A command with a pattern is found by its name, its pattern and its text in lists."""
        for name in ("bake", r"^bake (\w+)$", r"!^bake (\w+)$"):
            shown = self.command(f"!help {name}")
            self.assertIn("!^bake (\\w+)$ - Bake it.", shown)
            self.assertIn("For long.", shown)
        for name in ("boil", "boil something"):
            self.assertEqual(self.command(f"!help {name}"), "• boil something - Boil it.")

    def test_arguments(self) -> None:
        """The help of a command with declared arguments contains each argument."""
        shown = self.command("!help slice")
        for part in ("!slice - usage: slice [-h] [--thin] what", "Slice something.", "what to slice", "--thin"):
            self.assertIn(part, shown)

    def test_aliases(self) -> None:
        """A command is found by its aliases, and its help lists them."""
        for name in ("discard", "throw away"):
            shown = self.command(f"!help {name}")
            self.assertIn("!discard - Throw something away.", shown)
            self.assertIn("Other names: !throw away", shown)

    def test_inactive_plugins_are_left_out(self) -> None:
        """Commands of an inactive plugin aren't listed."""
        self.command("!plugin deactivate Cook")
        self.assertNotIn("Egg", self.command("!help"))
        self.assertEqual(self.command("!help Fry Egg"), "That command is not defined.")
        self.assertIn("The plugin Cook is inactive; see !status plugins.", self.command("!help cook"))


class PrefixTests(PluginTestCase):
    """Help with another prefix."""

    plugins = (Cook,)
    config = {"BOT_PREFIX": "bot, "}

    def test_prefix(self) -> None:
        """Help shows commands with the bot's prefix, and accepts them with it."""
        self.assertIn("• bot, Fry Egg", self.command("bot, help"))
        self.assertIn("• Utils: bot, echo, bot, history, bot, log tail,", self.command("bot, help"))
        for asked in ("Fry Egg", "bot, Fry Egg"):
            shown = self.command(f"bot, help {asked}")
            self.assertIn("bot, Fry Egg", shown)
            self.assertIn("Sunny side up.", shown)
            self.assertTrue(all(character.isprintable() or character == "\n" for character in shown))
        self.assertIn("bot, apropos", self.command("bot, apropos"))
        self.assertIn("bot, acl explain PERSON [in ROOM] COMMAND", self.command("bot, help acl explain"))
        self.assertIn("bot, acl explain PERSON", self.bot.bot.get_doc(self.bot.bot.commands["acl_explain"]))
        self.assertIn("bot, shutdown --confirm", self.command("bot, shutdown"))
        self.assertIn("bot, plugin config Webserver {", self.command("bot, plugin config Webserver"))


class RestrictedTests(PluginTestCase):
    """Help with HIDE_RESTRICTED_COMMANDS."""

    plugins = (Cook,)
    config = {
        "HIDE_RESTRICTED_COMMANDS": True,
        "ACCESS_CONTROLS": {"undocumented": {"denyusers": "bob"}, "cook": {"allowargs": "soup*"}},
    }

    def test_hidden(self) -> None:
        """Commands that the sender may not use aren't listed; commands that depend on arguments are."""
        for question in ("!help", "!help Cook", "!apropos o"):
            shown = self.command(question, frm="bob")
            for name in ("discard", "undocumented", "room list"):
                self.assertNotIn(f"!{name}", shown)
            self.assertIn("!cook", shown)
        self.assertIn("!discard", self.command("!help Cook"))
        self.assertIn("!room list", self.command("!help ChatRoom"))
        self.assertNotIn("ChatRoom", self.command("!help", frm="bob"))

    def test_declared_as_hidden(self) -> None:
        """`!help PLUGIN` leaves out commands that are declared as hidden."""
        self.assertNotIn("!taste", self.command("!help Cook"))
        self.assertIn("Taste it.", self.command("!help taste"))

    def test_not_told_by_name(self) -> None:
        """Hidden commands are neither described by name nor suggested."""
        for name in ("discard", "throw away", "undocumented"):
            self.assertEqual(self.command(f"!help {name}", frm="bob"), "That command is not defined.")
            self.assertEqual(self.command(f"!help {name}s", frm="bob"), "That command is not defined.")
        self.assertNotIn("Did you mean", self.command("!discar", frm="bob"))
        self.assertIn('Did you mean "!discard"', self.command("!discar"))
        self.assertIn("Throw something away.", self.command("!help discard"))
