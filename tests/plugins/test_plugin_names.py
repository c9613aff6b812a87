"""Tests for commands with the name of an attribute of BotPlugin."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotFlow, BotPlugin, botcmd, botflow, webhook
from errklein.plugins.botplugin import build_flows
from errklein.plugins.methods import check_methods
from errklein.plugins.plug_file import plugin_name
from errklein.running import may_use_reactor
from errklein.testing import PluginTestCase, TestBot
from tests import takes_long

LIFE_CYCLE = {
    name
    for name in dir(BotPlugin)
    if name.startswith("callback_")
    or name
    in {
        "activate",
        "check_configuration",
        "configure",
        "deactivate",
        "get_configuration_template",
        "init_storage",
        "open_storage",
    }
}
"""Methods that errklein calls, as errbot does: a command of that name overrides them."""
INSTANCE_ATTRIBUTES = {"config", "dependencies", "is_activated", "log", "namespace"}
"""Attributes that errklein, as errbot, assigns to the instance: they hide a command of that name."""
NAMES = sorted({name for name in dir(BotPlugin) if not name.startswith("_")} | INSTANCE_ATTRIBUTES)


def plugin_with_command(name: str) -> type[BotPlugin]:
    """Return a plugin class with a command of that name."""

    def answer(self: Any, msg: Any, args: str) -> str:
        return f"answer of {name}"

    answer.__name__ = name
    return type("Odd", (BotPlugin,), {name: botcmd(answer), "__doc__": "A plugin."})


class Other(BotPlugin):
    """Another plugin."""

    @botcmd
    def works(self, msg: Any, args: str) -> str:
        """Return a text."""
        return "works"


class CommandNameTests(SynchronousTestCase):
    """The bot starts with commands of any name."""

    def started(self, name: str) -> TestBot:
        """Return a bot with a plugin that has a command of that name, and another plugin."""
        bot = TestBot(plugins=[plugin_with_command(name), Other])
        bot.start()
        self.addCleanup(bot.stop)
        return bot

    def test_command_is_answered(self) -> None:
        """A command that hides an attribute of BotPlugin works, and its plugin can be administered."""
        takes_long()
        for name in sorted(set(NAMES) - LIFE_CYCLE):
            with self.subTest(name):
                bot = self.started(name)
                for _ in range(2):
                    answer = bot.command(f"!{name}")
                    if name in INSTANCE_ATTRIBUTES:
                        self.assertNotIn("answer of", answer)
                    else:
                        self.assertEqual(answer, f"answer of {name}")
                    self.assertIn("Odd", bot.command("!status plugins"))
                    self.assertIn("All commands", bot.command("!help"))
                    bot.command("!help Odd")
                    self.assertIn("Odd", bot.command("!plugin info Odd"))
                    self.assertIn("not configurable", bot.command("!plugin config Odd {}"))
                    self.assertEqual(bot.command("!plugin deactivate Odd"), "Plugin Odd deactivated.")
                    self.assertNotIn("answer of", bot.command(f"!{name}"))
                    self.assertEqual(bot.command("!plugin activate Odd"), "Plugin Odd activated.")

    def test_override_breaks_its_plugin_alone(self) -> None:
        """A command in place of a method that errklein calls breaks at most its own plugin."""
        for name in sorted(LIFE_CYCLE):
            with self.subTest(name):
                bot = TestBot(plugins=[plugin_with_command(name), Other])
                try:
                    bot.start()
                except AssertionError as error:
                    self.assertIn("Odd", str(error))
                self.assertEqual(bot.command("!works"), "works")
                self.assertIn("Odd", bot.command("!status plugins"))
                bot.stop()
                self.flushLoggedErrors()

    def test_storage_works(self) -> None:
        """Stored values work if commands hide methods of the mapping."""
        methods = {
            name: getattr(plugin_with_command(name), name) for name in ("get", "items", "keys", "name", "values")
        }
        bot = TestBot(plugins=[type("Odd", (BotPlugin,), methods)])
        bot.start()
        self.addCleanup(bot.stop)
        plugin: Any = bot.plugin("Odd")
        with plugin.mutable("list", []) as value:
            value.append(1)
        self.assertEqual(plugin["list"], [1])
        self.assertEqual(plugin, {"list": [1]})
        self.assertEqual(plugin.namespace, "Odd")


class Session:
    """A client of another library, which blocks."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def get(self, url: str) -> str:
        return f"{url}, on the reactor" if may_use_reactor(self.reactor) else f"{url}, in a thread"


class Assigned(BotPlugin):
    """Assigns its own client, as a plugin written for errbot."""

    def activate(self) -> None:
        super().activate()
        self.http: Any = Session(self._bot.reactor)
        self.mount: Any = "/mnt"

    @botcmd
    def assigned(self, msg: Any, args: str) -> str:
        """Use the client."""
        return f"{self.http.get('/')}, {self.mount}"


class Disks:
    """A mixin with attributes of its own."""

    _bot: Any

    @property
    def http(self) -> Session:
        return Session(self._bot.reactor)

    @botcmd
    def mount(self, msg: Any, args: str) -> str:
        """Use the client."""
        return self.http.get(args)


class Mixed(BotPlugin, Disks):  # type: ignore[misc]
    """Has the attributes of a mixin."""


class OwnAttributeTests(PluginTestCase):
    """Plugins with their own attributes `http` and `mount`."""

    plugins = (Assigned, Mixed)

    def test_own(self) -> None:
        """The plugin's attribute is used, and doesn't move a handler to the reactor."""
        self.assertEqual(self.command("!assigned"), "/, in a thread, /mnt")
        self.assertEqual(self.command("!mount /dev"), "/dev, in a thread")

    def test_no_warnings(self) -> None:
        """Neither the log nor the checks of methods warn about these plugins."""
        for name in ("Assigned", "Mixed"):
            plugin = self.bot.plugin(name)
            self.assertEqual(check_methods(plugin), [])
        self.assertEqual([line for line in self.bot.log if "Assigned" in line or "Mixed" in line], [])


class Hidden(BotPlugin):
    """A plugin with a command and a webhook that hide attributes."""

    def get_configuration_template(self) -> dict[str, int]:
        return {"A": 1}

    @webhook
    def name(self, payload: Any) -> str:
        return "hooked"

    @botcmd
    def reconfigure(self, msg: Any, args: str) -> str:
        """Return a text."""
        return "reconfigured by a command"


class HiddenNameTests(PluginTestCase):
    """A plugin's name if a command or webhook hides it."""

    plugins = (Hidden,)

    def test_webhook_called_name(self) -> None:
        """A webhook named `name` belongs to its plugin, and is removed with it."""
        self.assertEqual(self.post("/name").text, "hooked")
        self.assertIn("POST, GET, HEAD /name -> Hidden:name", self.bot.webhooks)
        self.command("!plugin deactivate Hidden")
        self.assertEqual(self.post("/name").status, 404)

    def test_command_called_reconfigure(self) -> None:
        """A command named `reconfigure` isn't called as errklein's method."""
        self.assertEqual(self.command("!plugin config Hidden {'A': 2}"), "Plugin configuration done.")
        self.assertEqual(self.bot.plugin("Hidden").config, {"A": 2})
        self.assertEqual(self.command("!reconfigure"), "reconfigured by a command")

    def test_long_running(self) -> None:
        """`!status plugins` names a handler that has been running for long."""
        running: Deferred[str] = Deferred()

        class Slow(Hidden):
            @botcmd
            def later(self, msg: Any, args: str) -> Deferred[str]:
                return running

        bot = TestBot(plugins=[Slow])
        bot.start()
        self.addCleanup(bot.stop)
        bot.say("!later")
        bot.advance(61)
        self.assertIn("Slow.later has been running for 1 min", bot.command("!status plugins"))
        running.callback("done")


class OverriddenNameTests(SynchronousTestCase):
    """A plugin may override its name, as on errbot."""

    def test_string(self) -> None:
        """A string in place of the property is the name of the plugin's storage."""
        bot = TestBot(plugins=[type("Renamed", (BotPlugin,), {"name": "Other"})])
        bot.start()
        self.addCleanup(bot.stop)
        plugin = bot.plugin("Renamed")
        self.assertEqual((plugin_name(plugin), plugin.namespace), ("Other", "Other"))


class FlowNameTests(SynchronousTestCase):
    """A flow may be called `name`."""

    def test_flow_called_name(self) -> None:
        """The flow is built, and an error in another one names the collection."""

        class Flows(BotFlow):
            @botflow
            def name(self, flow: Any) -> None:
                """A flow."""

        class Broken(Flows):
            @botflow
            def other(self, flow: Any) -> None:
                raise RuntimeError("broken")

        bot: Any = None
        self.assertEqual([root.name for root in build_flows(Flows(bot, "Mine"))], ["name"])
        error = self.assertRaises(ValueError, build_flows, Broken(bot, "Mine"))
        self.assertIn("Mine.other can't be built", str(error))
