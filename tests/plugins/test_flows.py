"""Tests for `.flow` files."""

from __future__ import annotations

from errklein.testing import TestBot
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
