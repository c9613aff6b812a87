"""Tests for `!help`, `!apropos` and `!about`."""

from __future__ import annotations

from typing import Any

from errklein import BotPlugin, botcmd
from errklein.commands import arg_botcmd, re_botcmd
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


class HelpTests(PluginTestCase):
    """What there is, by name."""

    plugins = (Cook,)

    def test_plugin_and_command_of_one_name(self) -> None:
        """The plugin is shown, and with the prefix the command."""
        self.assertIn("Cooks.", self.command("!help cook"))
        self.assertEqual("• !cook - Cook something.", self.command("!help !cook"))

    def test_patterns(self) -> None:
        """A command that is given by a pattern is found by its name, and by what stands for it in lists."""
        for name in ("bake", r"^bake (\w+)$", r"!^bake (\w+)$"):
            shown = self.command(f"!help {name}")
            self.assertIn("!^bake (\\w+)$ - Bake it.", shown)
            self.assertIn("For long.", shown)
        for name in ("boil", "boil something"):
            self.assertEqual(self.command(f"!help {name}"), "• boil something - Boil it.")

    def test_arguments(self) -> None:
        """Of a command with declared arguments, what each is."""
        shown = self.command("!help slice")
        for part in ("!slice - usage: slice [-h] [--thin] what", "Slice something.", "what to slice", "--thin"):
            self.assertIn(part, shown)

    def test_aliases(self) -> None:
        """Other names lead to the command, and are told."""
        for name in ("discard", "throw away"):
            shown = self.command(f"!help {name}")
            self.assertIn("!discard - Throw something away.", shown)
            self.assertIn("Other names: !throw away", shown)

    def test_inactive_plugins_are_left_out(self) -> None:
        """A command that can't be given isn't shown."""
        self.command("!plugin deactivate Cook")
        self.assertNotIn("Egg", self.command("!help"))
        self.assertEqual(self.command("!help Fry Egg"), "That command is not defined.")


class PrefixTests(PluginTestCase):
    """With another prefix."""

    plugins = (Cook,)
    config = {"BOT_PREFIX": "bot, "}

    def test_prefix(self) -> None:
        """Help shows commands as they are given here, and takes them so."""
        self.assertIn("• bot, Fry Egg", self.command("bot, help"))
        for asked in ("Fry Egg", "bot, Fry Egg"):
            shown = self.command(f"bot, help {asked}")
            self.assertIn("bot, Fry Egg", shown)
            self.assertIn("Sunny side up.", shown)
            self.assertTrue(all(character.isprintable() or character == "\n" for character in shown))
        self.assertIn("bot, apropos", self.command("bot, apropos"))
        self.assertIn("bot, acl explain USER COMMAND", self.command("bot, help acl explain"))
        self.assertIn("bot, acl explain USER", self.bot.bot.get_doc(self.bot.bot.commands["acl_explain"]))
        self.assertIn("bot, shutdown --confirm", self.command("bot, shutdown"))
        self.assertIn("bot, plugin config Webserver {", self.command("bot, plugin config Webserver"))


class RestrictedTests(PluginTestCase):
    """With HIDE_RESTRICTED_COMMANDS."""

    plugins = (Cook,)
    config = {
        "HIDE_RESTRICTED_COMMANDS": True,
        "ACCESS_CONTROLS": {"undocumented": {"denyusers": "bob"}, "cook": {"allowargs": "soup*"}},
    }

    def test_hidden(self) -> None:
        """What somebody may not use isn't listed for them; what depends on arguments is."""
        for question in ("!help", "!help Cook", "!apropos o"):
            shown = self.command(question, frm="bob")
            for name in ("discard", "undocumented", "room list"):
                self.assertNotIn(f"!{name}", shown)
            self.assertIn("!cook", shown)
        self.assertIn("!discard", self.command("!help Cook"))
        self.assertIn("!room list", self.command("!help"))

    def test_not_told_by_name(self) -> None:
        """What is hidden from somebody isn't described when they guess its name, nor told when they come near to it."""
        for name in ("discard", "throw away", "undocumented"):
            self.assertEqual(self.command(f"!help {name}", frm="bob"), "That command is not defined.")
        self.assertNotIn("Did you mean", self.command("!discar", frm="bob"))
        self.assertIn('Did you mean "!discard"', self.command("!discar"))
        self.assertIn("Throw something away.", self.command("!help discard"))
