"""Tests for flows of plugins and of `.flow` files."""

from __future__ import annotations

from typing import Any

from errklein import BotPlugin, FlowRoot, botcmd, botflow
from errklein.testing import PluginTestCase, TestBot
from tests.plugin_files import PluginFilesTestCase

FLOWS = """
from errbot import BotFlow, FlowRoot, botflow
from helper import FIRST

class Deploying(BotFlow):
    @botflow
    def deploy(self, flow: FlowRoot):
        "Deploys."
        flow.connect(FIRST).connect("echo")
"""


class FlowFileTests(PluginFilesTestCase):
    """Flows in files beside plugins."""

    def write_flows(self, name: str = "Deploying", source: str = FLOWS, folder: str = "deploying") -> None:
        """Write a .flow file and its module."""
        self.write(f"{folder}/helper.py", "FIRST = 'echo'")
        self.write(f"{folder}/{name.lower()}_flows.py", source)
        self.write(f"{folder}/{name}.flow", f"[Core]\nName = {name}\nModule = {name.lower()}_flows\n")

    def bot(self) -> TestBot:
        """Return a bot with the files that were written."""
        bot = TestBot(plugin_dirs=[self.directory])
        bot.start()
        self.addCleanup(bot.stop)
        return bot

    def test_found_and_active(self) -> None:
        """Flows beside plugins, and their helper modules, work as soon as the bot has started."""
        self.write_flows()
        bot = self.bot()
        self.assertEqual(bot.command("!flows list"), "• deploy Deploys.")
        flows = bot.bot.plugin_manager.flows
        self.assertEqual([(name, flow.is_activated) for name, flow in flows.items()], [("Deploying", True)])

    def test_plugin_of_the_same_name(self) -> None:
        """Flows may have the name of their plugin."""
        self.write_flows()
        self.plugin(
            "Deploying",
            """
            from errbot import BotPlugin, botcmd

            class Deploying(BotPlugin):
                @botcmd
                def hello(self, msg, args):
                    return "hello"
            """,
        )
        bot = self.bot()
        self.assertEqual(bot.command("!hello"), "hello")
        self.assertEqual(bot.command("!flows list"), "• deploy Deploys.")

    def test_unknown(self) -> None:
        """An unknown name is an error that lists the valid ones."""
        self.write_flows()
        manager = self.bot().bot.plugin_manager
        failure = self.failureResultOf(manager.deactivate_flow("Nosuch"))
        self.assertEqual(str(failure.value), "Unknown flows: Nosuch. Valid names: Deploying.")
        failure = self.failureResultOf(manager.activate_flow("Deploying"))
        self.assertEqual(str(failure.value), "Deploying is already activated.")

    def test_removed(self) -> None:
        """Flows are removed with their directory."""
        self.write_flows()
        self.write_flows("Others", FLOWS.replace("def deploy", "def other"), "others")
        bot = self.bot()
        self.successResultOf(bot.bot.plugin_manager.remove_plugins_from_path(self.directory / "deploying"))
        self.assertEqual(bot.command("!flows list"), "• other Deploys.")

    def test_added(self) -> None:
        """New flows are found when their directory is searched."""
        bot = self.bot()
        self.write_flows()
        self.assertEqual(self.successResultOf(bot.bot.plugin_manager.update_plugin_places([self.directory])), {})
        self.assertEqual(bot.command("!flows list"), "• deploy Deploys.")

    def test_broken_ones(self) -> None:
        """Broken flows are reported with their file; the others work."""
        self.write_flows()
        self.write_flows("Import", "import nosuch_module", "a")
        self.write_flows("Builder", FLOWS.replace("FIRST)", "None)").replace("def deploy", "def bad"), "b")
        self.write_flows("Empty", "", "c")
        self.write("d/Bad.flow", "[Core]\nName = Bad\n")
        self.write_flows("Deploying", FLOWS, "e")
        bot = self.bot()
        told = [sent.text for sent in bot.messages]
        for words in (
            ("Import", "nosuch_module"),
            ("Builder.bad can't be built",),
            ("no subclass of BotFlow found", "empty_flows.py"),
            ("Bad.flow", "Module"),
            ("there are already flows named Deploying", "e/Deploying.flow"),
        ):
            self.assertEqual(len([text for text in told if all(word in text for word in words)]), 1, (words, told))
        self.assertEqual(bot.command("!flows list"), "• deploy Deploys.")
        self.flushLoggedErrors()


class Badges(BotPlugin):
    """Has a flow beside its commands."""

    @botcmd
    def register(self, msg: Any, args: str) -> str:
        msg.ctx["name"] = args
        return f"welcome, {args}"

    @botcmd(flow_only=True)
    def print_badge(self, msg: Any, args: str) -> str:
        return f"printed for {msg.ctx['name']}"

    @botflow
    def visit(self, flow: FlowRoot) -> None:
        """Register, then print a badge."""
        flow.connect("register", auto_trigger=True).connect("print badge")


class Broken(BotPlugin):
    """Has a flow that can't be built."""

    @botflow
    def wrong(self, flow: FlowRoot) -> None:
        flow.connect(5)


class PluginFlowTests(PluginTestCase):
    """Flows that are methods of a plugin."""

    plugins = (Badges,)

    def test_flow(self) -> None:
        """A method with `@botflow` is a flow of its plugin's commands."""
        self.assertEqual(self.bot.say("!register Ada")[0], "welcome, Ada")
        self.assertEqual(self.command("!print badge"), "printed for Ada")

    def test_belongs_to_the_plugin(self) -> None:
        """The flow is there once while the plugin is active, also after a reload."""
        for _ in range(2):
            self.assertEqual(self.command("!flows list"), "• visit Register, then print a badge.")
            self.command("!plugin reload Badges")
        self.command("!plugin deactivate Badges")
        self.assertEqual(self.command("!flows list"), "There are no flows.")
        self.command("!plugin activate Badges")
        self.assertEqual(self.command("!flows list"), "• visit Register, then print a badge.")

    def test_cannot_be_built(self) -> None:
        """A plugin whose flow can't be built isn't activated; the error names the method."""
        bot = TestBot([Broken])
        self.addCleanup(bot.stop)
        self.assertIn("Broken.wrong can't be built", str(self.assertRaises(AssertionError, bot.start)))
        self.flushLoggedErrors()
