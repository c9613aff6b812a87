"""Tests for plugins with slow methods: their own state, and the work of the bot meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, botmatch, webhook
from errklein.bot import Bot
from errklein.plugins.plugin import PluginExecution
from errklein.testing import TestBot
from tests import needs_network
from tests.processes import write_plugin
from tests.real_bot import RealBotCase


class Gated(BotPlugin):
    """A plugin whose methods named in `hangs` wait for their gate, before or after calling BotPlugin's."""

    hangs: Sequence[str] = ()
    events: Sequence[str] = ()
    first = False
    """Whether BotPlugin's method is called before the gate is waited for."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.gates: dict[str, Deferred[None]] = {}
        self.called: list[str] = []

    async def gate(self, method: str) -> None:
        """Wait if the method is one of those that hang."""
        self.called.append(method)
        if method in self.hangs:
            self.gates[method] = Deferred()
            await self.gates[method]

    def open(self, method: str) -> None:
        """Let the method return."""
        self.gates.pop(method).callback(None)

    def get_configuration_template(self) -> Any:
        template = {"colour": "green"}
        if "get_configuration_template" not in self.hangs:
            return template
        self.gates["get_configuration_template"] = gate = Deferred()
        return gate.addCallback(lambda _: template)

    async def check_configuration(self, configuration: Any) -> None:
        await self.gate("check_configuration")

    async def configure(self, configuration: Any) -> None:
        await self.gate("configure")
        super().configure(configuration)

    async def reconfigure(self, configuration: Any) -> Any:
        await self.gate("reconfigure")
        return NotImplemented

    async def activate(self) -> None:
        if self.first:
            super().activate()
            self.start_poller(1, self.tick)
        await self.gate("activate")
        if not self.first:
            super().activate()
            self.start_poller(1, self.tick)

    async def deactivate(self) -> None:
        if self.first:
            super().deactivate()
        await self.gate("deactivate")
        if not self.first:
            super().deactivate()

    async def callback_connect(self) -> None:
        await self.gate("callback_connect")

    async def tick(self) -> None:
        self.called.append("tick")


GATE = threading.Event()
"""What plain methods wait for that hang."""

MEETING = threading.Barrier(2)
"""Where two plain methods wait for each other."""


def plugin(name: str, *hangs: str, first: bool = False, **members: Any) -> type[Gated]:
    """A plugin of that name, with a command and a webhook of that name."""

    async def command(self: Any, msg: Any, args: str) -> str:
        return f"{name} answers"

    async def hook(self: Any, payload: Any) -> str:
        return f"{name} answers"

    own = {"command": botcmd(name=name.lower())(command), "hook": webhook(f"/{name.lower()}")(hook)}
    return type(name, (Gated,), {"hangs": hangs, "first": first, **own, **members})


def claims(name: str) -> Any:
    """Return members of a plugin that conflict with other plugins': a command, an alias, a pattern and a URL."""

    async def shared(self: Any, msg: Any, args: str) -> str:
        return name

    async def pattern(self: Any, msg: Any, match: Any) -> str:
        return f"pattern of {name}"

    async def hook(self: Any, payload: Any) -> str:
        return name

    return {
        "shared": botcmd(name="shared", aliases=("s",))(shared),
        "pattern": botmatch("x")(pattern),
        "shared_hook": webhook("/shared")(hook),
    }


class ActivationCase(SynchronousTestCase):
    """A test case with bots whose plugins hang, and a clock."""

    def begin(self, *plugins: type[BotPlugin], plugin_dirs: Sequence[Path] = ()) -> None:
        """Begin to start `self.bot` with the plugins."""
        self.bot = TestBot(plugins, plugin_dirs=plugin_dirs)
        self.manager = self.bot.bot.plugin_manager
        self.addCleanup(self.bot.stop)
        self.connected = False
        connect = self.bot.backend.connect

        def note(events: Any) -> None:
            self.connected = True
            connect(events)

        self.patch(self.bot.backend, "connect", note)
        try:
            self.bot.start()
        except AssertionError as error:
            if "waited for something" not in str(error):
                raise

    def plugin(self, name: str) -> Any:
        """The instance."""
        return self.bot.plugin(name)

    def notices(self) -> str:
        """Return the messages to the administrator."""
        return "\n".join(self.bot.sent_to("@admin"))

    def after(self, command: str, seconds: float = 60) -> str:
        """Return the bot's messages after a command and so many seconds."""
        before = len(self.bot.messages)
        self.bot.say(command)
        self.bot.advance(seconds)
        return "\n".join(message.text for message in self.bot.messages[before:])

    def status(self, path: str) -> int:
        """Return the status of a response."""
        status: int = self.successResultOf(self.bot.post(path)).status
        return status

    def assert_gone(self, name: str) -> None:
        """Check that the plugin's command, webhook and poller are removed."""
        self.assertIn("not found", self.bot.command(f"!{name.lower()}"))
        self.assertEqual(self.status(f"/{name.lower()}"), 404)
        self.assertEqual(self.plugin(name).current_pollers, [])
        self.assertFalse(self.plugin(name).is_activated)

    def assert_works(self, name: str) -> None:
        """Check that the plugin's command, webhook and poller work."""
        self.assertEqual(self.bot.command(f"!{name.lower()}"), f"{name} answers")
        self.assertEqual(self.status(f"/{name.lower()}"), 200)
        self.assertEqual(len(self.plugin(name).current_pollers), 1)


class StartTests(ActivationCase):
    """The activation of many plugins when the bot starts."""

    def test_plugins_that_hang_share_a_deadline(self) -> None:
        """If plugins hang, networks connect after a minute, and each plugin is reported with its method."""
        self.begin(
            plugin("One", "activate"), plugin("Two", "configure"), plugin("Three", "callback_connect"), plugin("Four")
        )
        self.bot.advance(59.9)
        self.assertFalse(self.connected)
        self.bot.advance(0.1)
        self.assertTrue(self.connected)
        for name, method in (("One", "activate"), ("Two", "configure"), ("Three", "callback_connect")):
            self.assertIn(
                f"{name} is still being activated after 60 s: {name}.{method} has not returned.", self.notices()
            )
        self.assertNotIn("Four", self.notices())
        self.assert_works("Four")
        self.assert_works("Three")
        for name, method in (("One", "activate"), ("Two", "configure"), ("Three", "callback_connect")):
            self.plugin(name).open(method)
            self.assert_works(name)

    def test_plugins_are_activated_at_the_same_time(self) -> None:
        """A slow plugin doesn't delay others, and the bot waits for it."""
        self.begin(plugin("Slow", "activate"), plugin("Quick"))
        self.assertTrue(self.plugin("Quick").is_activated)
        self.bot.advance(30)
        self.assertFalse(self.connected)
        self.plugin("Slow").open("activate")
        self.assertTrue(self.connected)
        self.assertEqual(self.notices(), "")
        self.assert_works("Slow")

    def test_what_it_depends_on_comes_first(self) -> None:
        """A plugin is activated after its dependencies, however long they take."""
        directory = Path(self.mktemp())
        for name, hangs, depends in (("Client", (), "DependsOn = Server\n"), ("Server", ("activate",), "")):
            write_plugin(directory, name, FILE.format(name=name, hangs=hangs, first=False))
            with (directory / name.lower() / f"{name.lower()}.plug").open("a") as file:
                file.write(depends)
        self.begin(plugin_dirs=[directory])
        self.assertEqual(self.plugin("Client").called, [])
        self.bot.advance(60)
        self.assertIn("Client is still being activated after 60 s: it waits for Server.", self.notices())
        self.plugin("Server").open("activate")
        self.assert_works("Client")
        self.assert_works("Server")
        self.assertEqual(self.manager.get_plugins_activation_order()[-2:], ["Server", "Client"])

    def test_clashes_are_decided_by_the_order_of_plugins(self) -> None:
        """The earlier of two conflicting plugins keeps the name, even if it is slower; one message reports it."""
        self.begin(plugin("Early", "activate", **claims("Early")), plugin("Late", **claims("Late")))
        self.plugin("Early").open("activate")
        for command in ("!shared", "!s"):
            self.assertEqual(self.bot.command(command), "Early")
        self.assertEqual(self.bot.command("!late-shared"), "Late")
        self.assertEqual(self.bot.say("x", room="#testroom"), ["pattern of Early", "pattern of Late"])
        self.assertEqual(self.successResultOf(self.bot.post("/shared")).text, "Early")
        notices = self.notices()
        self.assertEqual(notices.count("Late.shared clashes with Early.shared so it has been renamed late-shared"), 1)
        self.assertEqual(notices.count("Late:shared_hook"), 1)

    def test_whoever_is_late_takes_nothing_away(self) -> None:
        """A plugin that is activated after the start takes no names from active plugins."""
        self.begin(plugin("Early", "activate", **claims("Early")), plugin("Late", **claims("Late")))
        self.bot.advance(60)
        self.plugin("Early").open("activate")
        self.assertEqual(self.bot.command("!shared"), "Late")
        self.assertEqual(self.bot.command("!early-shared"), "Early")
        self.assertEqual(self.successResultOf(self.bot.post("/shared")).text, "Late")

    def test_failure_of_one_that_is_late(self) -> None:
        """Administrators get the error of an activation that exceeded the timeout."""

        async def fail(self: Any) -> None:
            await self.gate("activate")
            raise RuntimeError("no server")

        self.begin(plugin("Fails", "activate", activate=fail))
        self.bot.advance(60)
        self.plugin("Fails").open("activate")
        self.assertIn("RuntimeError: no server", self.notices())
        self.assertIn("no server", self.bot.command("!plugin info Fails"))
        self.assert_gone("Fails")
        self.flushLoggedErrors(RuntimeError)

    def test_a_plugin_activates_another_one(self) -> None:
        """A plugin whose `activate` activates another one waits for it, also if that is in progress."""

        async def activate(self: Any) -> None:
            await self._bot.plugin_manager.activate_plugin("Helper")
            self.called.append(f"Helper is active: {self._bot.plugin_manager.instance('Helper').is_activated}")
            BotPlugin.activate(self)

        for order in ((0, 1), (1, 0)):
            both = plugin("Helper", "activate"), plugin("Leader", activate=activate)
            self.begin(*(both[number] for number in order))
            self.assertFalse(self.plugin("Leader").is_activated)
            self.plugin("Helper").open("activate")
            self.assertIn("Helper is active: True", self.plugin("Leader").called)
            self.assertTrue(self.connected)
            self.assertEqual(self.notices(), "")

    def test_a_plugin_activates_one_that_depends_on_it(self) -> None:
        """After BotPlugin's `activate`, a plugin may activate plugins that depend on it, as on errbot."""
        directory = Path(self.mktemp())
        write_plugin(directory, "Leader", LEADER)
        for name, depends in (("Helper", "Middle"), ("Middle", "Leader")):
            write_plugin(directory, name, FILE.format(name=name, hangs=(), first=False))
            with (directory / name.lower() / f"{name.lower()}.plug").open("a") as file:
                file.write(f"DependsOn = {depends}\n")
        self.begin(plugin_dirs=[directory])
        self.assertEqual(self.notices(), "")
        self.assertEqual(self.plugin("Leader").seen, [True])
        self.assertEqual(self.manager.get_plugins_activation_order()[-3:], ["Leader", "Middle", "Helper"])
        for name in ("Helper", "Middle", "Leader"):
            self.bot.command(f"!plugin deactivate {name}")
        self.assertEqual(self.bot.command("!plugin activate Leader"), "Plugin Leader activated.")
        self.assertEqual(self.plugin("Leader").seen, [True, True])
        self.assertTrue(self.plugin("Middle").is_activated)

    def test_plugins_that_activate_each_other(self) -> None:
        """Two plugins that wait for each other don't hang: one gets an error."""

        def activates(other: str) -> Any:
            async def activate(self: Any) -> None:
                await self.gate("activate")
                try:
                    await self._bot.plugin_manager.activate_plugin(other)
                except Exception as error:
                    self.called.append(str(error))
                BotPlugin.activate(self)

            return activate

        self.begin(
            plugin("One", "activate", activate=activates("Two")), plugin("Two", "activate", activate=activates("One"))
        )
        self.plugin("One").open("activate")
        self.plugin("Two").open("activate")
        self.assertTrue(self.connected)
        self.assertIn("One is still being activated.", self.plugin("Two").called)
        self.assertTrue(self.plugin("One").is_activated and self.plugin("Two").is_activated)

    def test_a_plugin_that_deactivates_itself(self) -> None:
        """A plugin that deactivates itself in `activate` is inactive, and leaves nothing behind."""

        async def activate(self: Any) -> None:
            BotPlugin.activate(self)
            await self._bot.plugin_manager.deactivate_plugin(self.name)
            self.start_poller(1, self.tick)

        self.begin(plugin("Shy", activate=activate))
        self.assertTrue(self.connected)
        self.assertEqual(self.plugin("Shy").called.count("deactivate"), 1)
        self.assert_gone("Shy")

    def test_plugins_that_deactivate_each_other(self) -> None:
        """A `deactivate` that leads back to its own plugin gets an error instead of a second call."""

        def deactivates(other: str) -> Any:
            async def deactivate(self: Any) -> None:
                self.called.append("deactivate")
                try:
                    await self._bot.plugin_manager.deactivate_plugin(other)
                except Exception as error:
                    self.called.append(str(error))
                BotPlugin.deactivate(self)

            return deactivate

        for end in ("command", "stop"):
            self.begin(plugin("One", deactivate=deactivates("Two")), plugin("Two", deactivate=deactivates("One")))
            one, two = self.plugin("One"), self.plugin("Two")
            if end == "command":
                self.assertEqual(self.bot.command("!plugin deactivate Two"), "Plugin Two deactivated.")
            else:
                self.successResultOf(Deferred.fromCoroutine(self.bot.bot.stop(10)))
            self.assertFalse(one.is_activated or two.is_activated)
            self.assertEqual((one.called.count("deactivate"), two.called.count("deactivate")), (1, 1))
            self.assertIn("Two is already being deactivated.", one.called)

    def test_stopped_meanwhile(self) -> None:
        """An activation that ends after the bot was stopped leaves nothing behind."""
        self.begin(plugin("Slow", "activate"))
        slow = self.plugin("Slow")
        stopping = Deferred.fromCoroutine(self.bot.bot.stop(10))
        self.bot.advance(10)
        self.bot.advance(0.3)
        self.successResultOf(stopping)
        slow.open("activate")
        self.assertFalse(slow.is_activated)
        self.assertEqual(slow.current_pollers, [])
        self.assertEqual(slow.called[-1], "deactivate")


class CommandTests(ActivationCase):
    """Administrators' commands for plugins that hang."""

    def assert_administration_goes_on(self) -> None:
        """Check that other plugins can be administered."""
        for action, reply in (("reload", "reloaded"), ("deactivate", "deactivated"), ("activate", "activated")):
            self.assertEqual(self.bot.command(f"!plugin {action} Other"), f"Plugin Other {reply}.")

    def active(self, *hangs: str, first: bool = False) -> Any:
        """Add an active plugin whose methods hang from now on; the methods in its file don't."""
        self.directory = Path(self.mktemp())
        for name in ("Hangs", "Other"):
            write_plugin(self.directory, name, FILE.format(name=name, hangs=(), first=first))
        self.begin(plugin_dirs=[self.directory])
        self.plugin("Hangs").hangs = hangs
        return self.plugin("Hangs")

    def inactive(self, *hangs: str, first: bool = False) -> Any:
        """Add an inactive plugin, as `active` does."""
        hangs_from_now_on = self.active(first=first)
        self.bot.command("!plugin deactivate Hangs")
        hangs_from_now_on.hangs = hangs
        return hangs_from_now_on

    def test_activate(self) -> None:
        """The reply names the method and the timeout; when the method returns, the plugin is active."""
        hangs = self.inactive("activate")
        reply = self.after("!plugin activate Hangs")
        self.assertEqual(
            reply,
            "Hangs is still being activated after 60 s: Hangs.activate has not returned. It continues in the background.",
        )
        self.assert_administration_goes_on()
        self.assert_gone("Hangs")
        self.assertIn("still being activated", self.bot.command("!plugin activate Hangs"))
        hangs.open("activate")
        self.assert_works("Hangs")

    def test_given_up(self) -> None:
        """A plugin that is deactivated during its `activate` is deactivated again when that returns."""
        for first in (False, True):
            hangs = self.inactive("activate", first=first)
            self.after("!plugin activate Hangs")
            hangs.hangs = ()
            hangs.called.clear()
            self.assertEqual(self.bot.command("!plugin deactivate Hangs"), "Plugin Hangs deactivated.")
            self.assert_gone("Hangs")
            self.assertIn(
                "Hangs.activate has not returned yet; reload Hangs to activate it",
                self.bot.command("!plugin activate Hangs"),
            )
            hangs.open("activate")
            self.assertEqual(hangs.called, ["deactivate"])
            self.assert_gone("Hangs")
            self.assertEqual(self.bot.command("!plugin activate Hangs"), "Plugin Hangs activated.")
            self.assert_works("Hangs")

    def test_deactivated_while_it_is_told_of_the_connection(self) -> None:
        """A plugin that hangs in `callback_connect` is active; `deactivate` is called at once, and once."""
        hangs = self.inactive("callback_connect")
        self.assertIn("Hangs.callback_connect has not returned", self.after("!plugin activate Hangs"))
        self.assert_works("Hangs")
        hangs.called.clear()
        self.assertEqual(self.bot.command("!plugin deactivate Hangs"), "Plugin Hangs deactivated.")
        self.assertEqual(hangs.called, ["deactivate"])
        self.assert_gone("Hangs")
        self.assertIn("Hangs.callback_connect has not returned yet", self.bot.command("!plugin activate Hangs"))
        hangs.open("callback_connect")
        self.assertEqual(hangs.called, ["deactivate"])
        hangs.hangs = ()
        self.assertEqual(self.bot.command("!plugin activate Hangs"), "Plugin Hangs activated.")
        self.assert_works("Hangs")

    def test_the_configuration_from_before_hangs(self) -> None:
        """A plugin that rejects a configuration and hangs with the previous one doesn't block others."""
        hangs = self.inactive()

        async def configure(configuration: Any) -> None:
            if configuration == {"colour": "blue"}:
                hangs.hangs = ("configure",)
                raise ValueError("no blue")
            await Gated.configure(hangs, configuration)

        type(hangs).configure = lambda self, configuration: configure(configuration)
        reply = self.after("!plugin config Hangs {'colour': 'blue'}")
        self.assertEqual(reply, "Hangs.configure has not returned after 60 s.")
        self.assert_administration_goes_on()
        hangs.open("configure")
        self.flushLoggedErrors(ValueError)

    def test_given_up_for_new_code(self) -> None:
        """A plugin that is reloaded during its `activate` has the new code, and nothing of the old."""
        for first in (False, True):
            hangs = self.inactive("activate", first=first)
            self.after("!plugin activate Hangs")
            self.assertEqual(self.bot.command("!plugin reload Hangs"), "Plugin Hangs reloaded.")
            self.assertIsNot(self.plugin("Hangs"), hangs)
            self.assert_works("Hangs")
            hangs.open("activate")
            self.assertFalse(hangs.is_activated)
            self.assertEqual(hangs.current_pollers, [])
            self.assert_works("Hangs")

    def test_given_up_and_never_returns(self) -> None:
        """A method that was given up can't register anything while it continues."""
        hangs = self.inactive("activate")
        self.after("!plugin activate Hangs")
        self.bot.command("!plugin deactivate Hangs")
        self.assertRaisesRegex(Exception, "was deactivated while", BotPlugin.activate, hangs)
        self.assertIn("not found", self.bot.command("!hangs"))
        hangs.open("activate")
        self.flushLoggedErrors()

    def test_deactivate(self) -> None:
        """The reply reports that `deactivate` has not returned; the plugin is inactive until it is reloaded."""
        for first in (False, True):
            hangs = self.active("deactivate", first=first)
            reply = self.after("!plugin deactivate Hangs")
            self.assertEqual(
                reply,
                "Hangs.deactivate has not returned after 60 s. Its commands, webhooks and pollers have been removed. "
                "Reload Hangs to activate it again.",
            )
            self.assert_gone("Hangs")
            self.assert_administration_goes_on()
            self.assertIn("Hangs.deactivate has not returned", self.bot.command("!plugin info Hangs"))
            self.assertIn("Hangs.deactivate has not returned yet", self.bot.command("!plugin activate Hangs"))
            self.assertEqual(self.bot.command("!plugin reload Hangs"), "Plugin Hangs reloaded.")
            self.assert_works("Hangs")
            hangs.open("deactivate")
            self.assert_works("Hangs")

    def test_deactivate_that_returns_late(self) -> None:
        """When `deactivate` has returned, the plugin can be activated again."""
        hangs = self.active("deactivate")
        self.after("!plugin deactivate Hangs")
        hangs.open("deactivate")
        self.assertEqual(self.bot.command("!plugin activate Hangs"), "Plugin Hangs activated.")
        self.assert_works("Hangs")
        hangs.hangs = ()

    def test_reload(self) -> None:
        """The new code is active although the old `deactivate` has not returned, and the reply states both."""
        hangs = self.active("deactivate")
        reply = self.after("!plugin reload Hangs")
        self.assertEqual(
            reply,
            "Hangs is reloaded and active, but Hangs.deactivate of the old code has not returned after 60 s.",
        )
        self.assertIsNot(self.plugin("Hangs"), hangs)
        self.assert_works("Hangs")
        hangs.open("deactivate")
        self.assert_works("Hangs")

    def test_requests_do_not_wait_for_ever(self) -> None:
        """Requests for a plugin being reloaded wait no longer than the timeout of its activation."""
        self.active()
        (self.directory / "hangs" / "hangs.py").write_text(FILE.format(name="Hangs", hangs=("activate",), first=False))
        self.bot.say("!plugin reload Hangs")
        waiting = self.bot.post("/hangs")
        self.bot.advance(0)
        self.assertNoResult(waiting)
        self.bot.advance(60)
        self.assertEqual(self.successResultOf(waiting).status, 404)
        self.plugin("Hangs").open("activate")
        self.assert_works("Hangs")

    def test_blacklist(self) -> None:
        """A plugin that is blacklisted during its `activate` is inactive when that returns."""
        hangs = self.inactive("activate")
        self.after("!plugin activate Hangs")
        self.assertEqual(self.bot.command("!plugin blacklist Hangs"), "Plugin Hangs is now blacklisted.")
        hangs.open("activate")
        self.assert_gone("Hangs")

    def test_remove(self) -> None:
        """A plugin whose `deactivate` hangs is removed."""
        hangs = self.active("deactivate")
        removing = self.manager.remove(["Hangs"])
        self.bot.advance(60)
        self.assertIn("Hangs.deactivate has not returned", str(self.failureResultOf(removing).value))
        self.assertNotIn("Hangs", self.manager.get_all_plugin_names())
        self.assertIn("not found", self.bot.command("!hangs"))
        self.assertFalse(hangs.is_activated)
        hangs.open("deactivate")

    def test_configuration(self) -> None:
        """The reply names the method that has not returned, and nothing is stored."""
        for method in ("get_configuration_template", "check_configuration", "reconfigure"):
            hangs = self.active(method)
            reply = self.after("!plugin config Hangs {'colour': 'blue'}")
            self.assertEqual(reply, f"Hangs.{method} has not returned after 60 s.")
            self.assert_works("Hangs")
            self.assert_administration_goes_on()
            self.assertIsNone(self.manager.configuration("Hangs"))
            hangs.open(method)
            self.assertIsNone(self.manager.configuration("Hangs"))

    def test_activation_with_another_configuration(self) -> None:
        """A configuration is stored as soon as the slow activation with it has ended."""
        for method in ("configure", "activate"):
            hangs = self.active(method)
            reply = self.after("!plugin config Hangs {'colour': 'blue'}")
            self.assertIn(f"Hangs.{method} has not returned", reply)
            self.assertIsNone(self.manager.configuration("Hangs"))
            self.assert_gone("Hangs")
            self.assert_administration_goes_on()
            self.assertIn("still being activated", self.bot.command("!plugin config Hangs {'colour': 'red'}"))
            hangs.open(method)
            self.assert_works("Hangs")
            self.assertEqual(hangs.config, {"colour": "blue"})
            self.assertEqual(self.manager.configuration("Hangs"), {"colour": "blue"})

    def test_deactivate_before_another_configuration(self) -> None:
        """A plugin whose `deactivate` hangs doesn't get its configuration, and is inactive."""
        hangs = self.active("deactivate")
        reply = self.after("!plugin config Hangs {'colour': 'blue'}")
        self.assertIn("Hangs.deactivate has not returned after 60 s", reply)
        self.assertIsNone(self.manager.configuration("Hangs"))
        self.assert_gone("Hangs")
        hangs.open("deactivate")


FILE = """
from tests.plugins.test_activation import plugin

{name} = plugin("{name}", *{hangs}, first={first})
{name}.__module__ = __name__
"""

LEADER = """
from errklein import BotPlugin

class Leader(BotPlugin):
    async def activate(self):
        super().activate()
        await self._bot.plugin_manager.activate_plugin("Helper")
        self.seen = [*getattr(self, "seen", ()), self._bot.plugin_manager.instance("Helper").is_activated]
"""

WAITING = """
from errklein import BotPlugin
from tests.plugins.test_activation import GATE, MEETING

class {name}(BotPlugin):
    def activate(self):
        {place}.wait(10)
        super().activate()
"""

ANSWERING = """
from errklein import BotPlugin, botcmd

class Answering(BotPlugin):
    def activate(self):
        super().activate()

    @botcmd
    def answer(self, msg, args):
        return "answered"
"""


class ThreadTests(RealBotCase):
    """Plugins that hang in real threads."""

    config = {"BOT_ASYNC_POOLSIZE": 2}

    async def setUp(self) -> None:
        """Set a short timeout for changes."""
        needs_network()
        self.directory = Path(self.mktemp())
        self.patch(PluginExecution, "timeout", 0.3)
        self.patch(PluginExecution, "minimum", 0.3)
        start = Bot.start

        async def start_in_a_hurry(bot: Bot) -> None:
            bot.plugin_pool.overdue = 0.02
            await start(bot)

        self.patch(Bot, "start", start_in_a_hurry)

        GATE.clear()
        self.addCleanup(GATE.set)

    async def test_more_plugins_hang_than_there_are_threads(self) -> None:
        """Plugins that hang in all threads delay the others only for a while; those are active after the start."""
        names = [f"A{number}" for number in range(6)]
        for name in names:
            write_plugin(self.directory, name, WAITING.format(name=name, place="GATE"))
        write_plugin(self.directory, "Zeta", ANSWERING)
        await self.start_bot(self.directory)
        self.assertEqual(await self.command("!answer"), "answered")
        self.assertFalse(any(self.bot.plugin_manager.instance(name).is_activated for name in names))

    async def test_plain_methods_run_at_the_same_time(self) -> None:
        """Plain `activate` methods of independent plugins run at once: these two wait for each other."""
        for name in ("One", "Two"):
            write_plugin(self.directory, name, WAITING.format(name=name, place="MEETING"))
        await self.start_bot(self.directory)
        self.assertTrue(all(self.bot.plugin_manager.instance(name).is_activated for name in ("One", "Two")))

    async def test_import_that_hangs(self) -> None:
        """A plugin whose import hangs is reported, its old code continues, and it can be reloaded again."""
        write_plugin(self.directory, "Zeta", ANSWERING)
        await self.start_bot(self.directory)
        file = self.directory / "zeta" / "zeta.py"
        file.write_text("from tests.plugins.test_activation import GATE\nGATE.wait(10)\n" + ANSWERING)
        reply = await self.command("!plugin reload Zeta")
        self.assertIn("Zeta could not be loaded: importing ", reply)
        self.assertIn("exceeded the timeout of 0.3 s", reply)
        self.assertEqual(await self.command("!answer"), "answered")
        GATE.set()
        file.write_text(ANSWERING.replace('"answered"', '"answered anew"'))
        self.assertEqual(await self.command("!plugin reload Zeta"), "Plugin Zeta reloaded.")
        self.assertEqual(await self.command("!answer"), "answered anew")
