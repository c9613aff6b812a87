"""Tests for reports about broken plugins, in one line each."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, webhook
from errklein.plugins.imports import located_error
from errklein.plugins.plug_file import PlugFile
from errklein.testing import TestBot
from errklein.webhooks.option_values import HookError
from tests.processes import write_plugin

BROKEN = Path(__file__).parent / "fixtures" / "broken"

RULES = """
from errklein import BotPlugin, webhook

class Odd(BotPlugin):
    @webhook("/right/<x>")
    def right(self, payload, x):
        return x

    @webhook("/<nothing:x>")
    def wrong(self, payload, x):
        return x
"""

WRONG = {
    "Imports": (
        "Imports could not be loaded: {}/imports/imports.py, line 2: ModuleNotFoundError: No module named 'no_such_module'"
    ),
    "Constructor": (
        "Constructor could not be loaded: {}/constructor/constructor.py, line 7: "
        "ValueError: invalid literal for int() with base 10: 'many'"
    ),
    "Activates": (
        "Activates could not be activated: activate failed at {}/activates/activates.py, line 7: OSError: the disk is gone"
    ),
    "Configures": (
        "Configures can't use its configuration: {}/configures/configures.py, line 6: "
        "TypeError: 'NoneType' object is not subscriptable"
    ),
    "Connects": (
        "Connects could not be activated: callback_connect failed at {}/connects/connects.py, line 6: "
        "AttributeError: 'Connects' object has no attribute 'no_such_method'"
    ),
    "Needs": "Needs depends on Missing, which is not found (DependsOn in {}/needs/needs.plug)",
    "CircleOne": (
        "CircleOne depends on itself: CircleOne → CircleTwo → CircleOne (DependsOn in {}/circle_one/circle_one.plug)"
    ),
    "Version": (
        "Version can't be used: it requires errbot 99.0.0 or newer, but errklein provides 6.2.1; expected [Errbot] Min = 6.2.1 or older ({}/version/version.plug)"
    ),
    "Template": (
        "{}/template/templates/shown.md, line 3: invalid template: Unexpected end of template. "
        "Jinja was looking for the following tags: 'endfor' or 'else'. "
        "The innermost block that needs to be closed is 'for'."
    ),
    "Good": "{}/twin/twin.plug is ignored, since it has the same Name",
    "Slow": "Slow.forever has been running for 2 h",
}
"""What is said of each plugin; {} is the directory of all of them."""


class BrokenPluginsTests(SynchronousTestCase):
    """A bot with all broken plugins and one that works."""

    def setUp(self) -> None:
        """Start the bot, and a command that never returns."""
        self.bot = TestBot(plugin_dirs=[BROKEN])
        self.addCleanup(self.bot.stop)
        with self.assertRaises(AssertionError):
            self.bot.start()
        self.flushLoggedErrors()
        self.told = "\n".join(self.bot.sent_to("@admin"))
        self.bot.say("!forever")
        self.bot.advance(7200)

    def test_one_line_each(self) -> None:
        """The status of plugins has a row for each with the error and its place."""
        manager = self.bot.bot.plugin_manager
        status = self.bot.command("!status plugins")
        for name, line in WRONG.items():
            expected = line.format(BROKEN)
            self.assertEqual(manager.remark(manager.plugin(name)), expected)
            # The line as a reader sees it; tables may wrap and mark up what they hold.
            self.assertIn(name, status)
            self.assertIn(expected.rpartition(": ")[2][:20], status)

    def test_info(self) -> None:
        """`!plugin info` shows the error."""
        for name, line in WRONG.items():
            self.assertIn(line.format(BROKEN), self.bot.command(f"!plugin info {name}"))

    def test_admins_are_told(self) -> None:
        """When the bot starts, administrators get a message about each plugin that doesn't work."""
        for name, line in WRONG.items():
            if name not in ("Good", "Slow"):
                self.assertIn(line.format(BROKEN).partition(" (DependsOn")[0], self.told)
        self.assertIn("twin.plug: a plugin named Good already exists", self.told)

    def test_a_circle_is_told_from_both_sides(self) -> None:
        """Both plugins of a circle are broken."""
        self.assertIn("CircleTwo → CircleOne → CircleTwo", self.bot.command("!plugin info CircleTwo"))


class ErrorTextTests(SynchronousTestCase):
    """The exception in an error about a plugin."""

    def test_own_exceptions(self) -> None:
        """One of errklein's own exceptions has its name without the module, which may be private; others keep the module."""
        plug = PlugFile("Odd", "odd", Path("/plugins/odd.plug"))
        for error, text in (
            (HookError("invalid rule"), "HookError: invalid rule"),
            (JSONDecodeError("no", "", 0), "json.decoder.JSONDecodeError: no: line 1 column 1 (char 0)"),
        ):
            self.assertEqual(located_error(plug, error), f"/plugins/odd.py: {text}")


class PathTests(SynchronousTestCase):
    """Reports about files."""

    def test_underscores(self) -> None:
        """Paths and names in reports are shown unchanged."""
        directory = Path(self.mktemp()).absolute() / "__odd__"
        write_plugin(directory, "Odd", "import _no_such_module_\n")
        bot = TestBot(plugin_dirs=[directory])
        self.assertRaises(AssertionError, bot.start)
        self.addCleanup(bot.stop)
        line = f"Odd could not be loaded: {directory}/odd/odd.py, line 1: ModuleNotFoundError: No module named '_no_such_module_'"
        self.assertIn(line, bot.sent_to("@admin"))
        for command in ("!status plugins", "!plugin info Odd", "!plugin activate Odd", "!plugin config Odd"):
            self.assertIn("No module named '_no_such_module_'", bot.command(command), command)
            self.assertIn("/__odd__/odd/odd.py", bot.command(command), command)
        self.flushLoggedErrors()


FLOWS = """
from errklein import BotFlow, botflow

class Flows(BotFlow):
    @botflow
    def greet(self, flow):
        "Greets."
        raise RuntimeError("built")
"""


class ForeseenTests(SynchronousTestCase):
    """Loading all broken plugins without activating them, as `errklein check` does."""

    def test_what_can_be_foreseen(self) -> None:
        """Errors that don't require running code are reported before the activation."""
        bot = TestBot(plugin_dirs=[BROKEN]).bot
        told = self.successResultOf(bot.plugin_manager.load(bot.plugin_roots))
        for name in ("Imports", "Constructor", "Needs", "CircleOne", "Version", "Template"):
            self.assertIn(WRONG[name].format(BROKEN), [problem.text for problem in told if problem.plugin == name])
        self.assertEqual(len(told), 8, told)
        self.assertEqual(bot.plugin_manager.get_all_active_plugin_names(), [])
        self.flushLoggedErrors()

    def test_a_rule_that_cannot_be_used(self) -> None:
        """A webhook with an invalid rule is reported."""
        directory = Path(self.mktemp()).absolute()
        write_plugin(directory, "Odd", RULES)
        bot = TestBot(plugin_dirs=[directory]).bot
        [told] = self.successResultOf(bot.plugin_manager.load(bot.plugin_roots))
        place = f"in {directory}/odd/odd.py, line "
        self.assertTrue(told.text.startswith(f"Odd:wrong: invalid rule '/<nothing:x>' {place}"), told)
        self.assertTrue(
            told.text.endswith(
                "; unknown converter 'nothing'. Converters: any, default, float, int, path, string, uuid"
            ),
            told,
        )

    def test_flows(self) -> None:
        """A `.flow` file whose module can't be imported is reported."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        for name, source in (("Sound", FLOWS), ("Broken", "import no_such_module\n")):
            (directory / f"{name}.flow").write_text(f"[Core]\nName = {name}\nModule = {name.lower()}\n")
            (directory / f"{name.lower()}.py").write_text(source)
        bot = TestBot(plugin_dirs=[directory]).bot
        [told] = self.successResultOf(bot.plugin_manager.load(bot.plugin_roots))
        self.assertIn("Broken", told.text)
        self.assertIn("no_such_module", told.text)
        self.assertFalse(bot.plugin_manager.flows["Sound"].is_activated)
        self.flushLoggedErrors()


class Hooked(BotPlugin):
    """Has a webhook."""

    @webhook
    def order(self, payload: Any) -> None: ...


class HookOptionsTests(SynchronousTestCase):
    """Options in WEBHOOKS that contradict those of a plugin."""

    def test_activation(self) -> None:
        """The plugin isn't activated, and the error names the setting instead of a line of the plugin."""
        bot = TestBot([Hooked], config={"WEBHOOKS": {"Hooked:order": {"attempts": 3}}})
        self.addCleanup(bot.stop)
        error = self.assertRaises(AssertionError, bot.start)
        self.flushLoggedErrors()
        self.assertEqual(
            str(error),
            "Hooked could not be activated: WEBHOOKS['Hooked:order']: expected ack='now' for attempts, not 'after'",
        )
