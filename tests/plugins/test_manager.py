"""Tests for loading, activating, configuring and reloading plugins."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, webhook
from errklein.testing import PluginTestCase, TestBot
from errklein.text.masking import MASK, masker


class Painter(BotPlugin):
    """A plugin that rejects the colour blue."""

    def get_configuration_template(self) -> dict[str, Any]:
        return {"colour": "green"}

    def configure(self, configuration: Any) -> None:
        super().configure(configuration)
        if configuration == {"colour": "blue"}:
            raise RuntimeError("blue is out")

    @webhook
    def colours(self, payload: Any) -> str:
        return str(self.config)


class LifeTests(PluginTestCase):
    """Configurations that fail, and the plugin's state meanwhile."""

    plugins = (Painter,)

    def setUp(self) -> None:
        """Get the plugin's instance."""
        super().setUp()
        self.painter: Painter = self.bot.plugin("Painter")

    def test_configuration_that_fails_late_is_undone(self) -> None:
        """When `configure` raises an exception, the plugin is active again with its previous configuration."""
        self.command("!plugin config Painter {'colour': 'black'}")
        reply = self.command("!plugin config Painter {'colour': 'blue'}")
        self.assertIn("blue is out", reply)
        self.assertIn("from before is in use again", reply)
        self.assertIn("black", self.post("/colours").text)
        self.flushLoggedErrors(RuntimeError)

    def test_configuration_that_fails_activates_nothing(self) -> None:
        """An inactive plugin stays inactive after an invalid configuration, and is active after a valid one."""
        self.command("!plugin deactivate Painter")
        reply = self.command("!plugin config Painter {'colour': 'blue'}")
        self.assertIn("blue is out", reply)
        self.assertNotIn("in use again", reply)
        self.assertEqual(self.post("/colours").status, 404)
        self.command("!plugin config Painter {'colour': 'black'}")
        self.assertEqual(self.post("/colours").status, 200)
        self.flushLoggedErrors(RuntimeError)

    def test_stored_secrets_are_masked_from_the_start(self) -> None:
        """The log of a plugin's constructor doesn't contain secrets of the stored configuration."""
        logged: list[str] = []

        class Talkative(BotPlugin):
            def __init__(self, bot: Any, name: str | None = None) -> None:
                super().__init__(bot, name)
                logged.append(masker("loaded with s3cret-t0ken"))

        bot = TestBot(plugins=[Talkative])
        bot.bot.plugin_manager["configs"] = {"Talkative": {"api_token": "s3cret-t0ken"}}
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(logged, [f"loaded with {MASK}"])

    def test_storage_serves_handlers_that_outlive_their_plugin(self) -> None:
        """A handler that runs when its plugin is deactivated can still store values."""
        gate: Deferred[None] = Deferred()

        async def handler() -> None:
            await gate
            self.painter["late"] = "kept"

        running = self.bot.bot.runner.run(_method(self.painter, handler))
        self.command("!plugin deactivate Painter")
        gate.callback(None)
        self.successResultOf(running)
        self.command("!plugin activate Painter")
        self.assertEqual(self.painter["late"], "kept")


def _method(instance: Any, function: Any) -> Any:
    """Return the coroutine function as a method of the instance."""

    async def method(self: Any) -> None:
        await function()

    return method.__get__(instance)


class PluginFiles(SynchronousTestCase):
    """A test case with plugins in files."""

    def setUp(self) -> None:
        """Create an empty directory for plugins."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, name: str, code: str, core: str = "") -> None:
        """Write a plugin of that name."""
        module = name.lower()
        (self.directory / f"{module}.plug").write_text(f"[Core]\nName = {name}\nModule = {module}\n{core}")
        (self.directory / f"{module}.py").write_text(textwrap.dedent(code))

    def write_versioned(self, version: int) -> None:
        """Write the plugin that returns its version."""
        self.write(
            "Versioned",
            f"""
            from errbot import BotPlugin, botcmd, webhook

            class Versioned(BotPlugin):
                @webhook
                def version(self, payload):
                    return "{version}"

                @webhook
                async def slow(self, payload):
                    await self.gate
                    return "{version}"

                @botcmd
                def which(self, msg, args):
                    return "{version}"
            """,
        )

    def start(self) -> TestBot:
        """Return a bot with the plugins of the directory."""
        bot = TestBot(plugin_dirs=[self.directory])
        bot.start()
        self.addCleanup(bot.stop)
        return bot


class ReloadTests(PluginFiles):
    """Replacement of old code by new code."""

    def test_plugins_that_share_a_module(self) -> None:
        """If several `.plug` files share a module, each gets the class of its name, and a backend's file none."""
        self.write("one", "from errklein import BotPlugin\nclass One(BotPlugin): pass\nclass Two(BotPlugin): pass")
        (self.directory / "two.plug").write_text("[Core]\nName = Two\nModule = one\n")
        (self.directory / "one.plug").write_text("[Core]\nName = One\nModule = one\n")
        self.write("network", "raise RuntimeError('this is no plugin')", core="Backend = True")
        bot = self.start()
        self.assertEqual([type(bot.plugin(name)).__name__ for name in ("One", "Two")], ["One", "Two"])
        self.assertNotIn("this is no plugin", bot.report())

    def test_requests_in_flight_finish_on_old_code(self) -> None:
        """The old code handles requests from before the reload, the new code later ones."""
        self.write_versioned(1)
        bot = self.start()
        gate: Deferred[None] = Deferred()
        bot.plugin("Versioned").gate = gate
        in_flight = bot.post("/slow")
        self.write_versioned(2)
        bot.command("!plugin reload Versioned")
        new_gate: Deferred[None] = Deferred()
        bot.plugin("Versioned").gate = new_gate
        after = bot.post("/slow")
        gate.callback(None)
        new_gate.callback(None)
        self.assertEqual(self.successResultOf(in_flight).text, "1")
        self.assertEqual(self.successResultOf(after).text, "2")
        self.assertEqual(len([one for one in bot.webhooks if "/slow" in one]), 1)

    def test_requests_during_reload_wait_for_new_code(self) -> None:
        """Requests and commands during the activation of new code wait for it."""
        self.write_versioned(1)
        bot = self.start()
        self.write(
            "Versioned",
            """
            from errbot import BotPlugin, botcmd, webhook

            class Versioned(BotPlugin):
                async def activate(self):
                    await self._bot.gate
                    super().activate()

                @botcmd
                def which(self, msg, args):
                    return "2"

                @webhook
                def version(self, payload):
                    return "2"
            """,
        )
        gate: Deferred[None] = Deferred()
        bot.bot.gate = gate  # type: ignore[attr-defined]
        self.assertEqual(bot.say("!plugin reload Versioned"), [])
        waiting = bot.post("/version")
        self.assertNoResult(waiting)
        self.assertEqual(self.successResultOf(bot.post("/nope")).status, 404)
        self.assertEqual(bot.say("!which") + bot.say("!nonsense"), [])
        gate.callback(None)
        self.assertEqual(self.successResultOf(waiting).text, "2")
        replies = [message.text for message in bot.messages]
        self.assertCountEqual(replies, ["2", 'Command "nonsense" not found.', "Plugin Versioned reloaded."])

    def test_code_that_cannot_be_loaded_leaves_the_old_code(self) -> None:
        """A syntax error in new code is reported in one line, and the old code continues."""
        self.write_versioned(1)
        bot = self.start()
        self.write("Versioned", "def broken(:\n")
        reply = bot.command("!plugin reload Versioned")
        self.assertIn("versioned.py", reply)
        self.assertEqual(self.successResultOf(bot.post("/version")).text, "1")
        self.flushLoggedErrors()

    def refused_reload(self, core: str) -> tuple[TestBot, str]:
        """Reload a plugin with another `.plug` file; return the bot and the reply."""
        self.write_versioned(1)
        bot = self.start()
        (self.directory / "versioned.plug").write_text(core)
        reply = bot.command("!plugin reload Versioned")
        self.assertEqual(self.successResultOf(bot.post("/version")).text, "1")
        self.assertIn("Plugin Versioned deactivated.", bot.command("!plugin deactivate Versioned"))
        self.assertEqual(self.successResultOf(bot.post("/version")).status, 404)
        return bot, reply

    def test_a_renamed_plugin_goes_on_under_its_old_name(self) -> None:
        """A `.plug` file with another name is an error, and changes nothing."""
        _, reply = self.refused_reload("[Core]\nName = Other\nModule = versioned\n")
        self.assertIn("Name is now Other", reply)

    def test_a_broken_plug_file_leaves_the_old_code(self) -> None:
        """An unreadable `.plug` file is an error, and changes nothing."""
        _, reply = self.refused_reload("Name = Versioned\n")
        self.assertIn("versioned.plug", reply)

    def test_a_version_that_does_not_fit_leaves_the_old_code(self) -> None:
        """New code that requires another errbot is rejected, as at the start."""
        _, reply = self.refused_reload("[Core]\nName = Versioned\nModule = versioned\n[Errbot]\nMin = 99.0.0\n")
        self.assertIn("99.0.0", reply)

    def test_a_plugin_that_could_not_be_loaded_works_once_it_is_mended(self) -> None:
        """A reload reads the `.plug` file and code of a broken plugin again."""
        self.write("Versioned", "def broken(:\n", "DependsOn = Missing")
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        with self.assertRaises(AssertionError):
            bot.start()
        self.write_versioned(2)
        bot.command("!plugin reload Versioned")
        self.assertEqual(self.successResultOf(bot.post("/version")).text, "2")
        self.flushLoggedErrors()

    def test_a_plugin_that_could_not_be_activated_is_activated_once_it_is_mended(self) -> None:
        """A reload of a plugin whose `activate` failed tries again, and reports another failure."""
        failing = (
            "from errbot import BotPlugin\nclass V(BotPlugin):\n"
            "    def activate(self):\n        super().activate()\n        raise OSError('no')\n"
        )
        self.write("Versioned", failing)
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        with self.assertRaises(AssertionError):
            bot.start()
        self.assertRegex(bot.command("!plugin reload Versioned"), r"could not be activated: .*, line 5: OSError: no")
        self.write_versioned(2)
        self.assertEqual(bot.command("!plugin reload Versioned"), "Plugin Versioned reloaded.")
        self.assertEqual(self.successResultOf(bot.post("/version")).text, "2")
        self.flushLoggedErrors(OSError)


class HangingTests(PluginFiles):
    """Plugins with slow methods."""

    HANGS = """
        from errbot import BotPlugin, botcmd, webhook
        from twisted.internet.defer import Deferred

        class Hangs(BotPlugin):
            def {method}(self) -> Deferred:
                super().{method}()
                self.gate = Deferred()
                return self.gate

            @botcmd
            def who(self, msg, args):
                return "{version}"

            @webhook
            def hook(self, payload):
                return "{version}"
        """

    def test_stopped_beside_others(self) -> None:
        """When the bot stops, a plugin that hangs doesn't keep others from being deactivated and storing values."""
        self.write("Hangs", self.HANGS.format(method="deactivate", version=1))
        self.write(
            "Saver",
            """
            from errbot import BotPlugin

            class Saver(BotPlugin):
                saved = []

                def deactivate(self):
                    self.saved.append("all")
                    super().deactivate()
            """,
        )
        bot = TestBot(plugin_dirs=[self.directory])
        bot.start()
        saved, hanging = bot.plugin("Saver").saved, bot.plugin("Hangs")
        stopping = Deferred.fromCoroutine(bot.bot.plugin_manager.stop())
        bot.advance(1)
        bot.advance(1)
        self.assertEqual(saved, ["all"])
        hanging.gate.callback(None)
        self.successResultOf(stopping)
        bot.stop()

    def start_with_hanging_activation(self) -> TestBot:
        """Return a bot that has waited for the plugin until the timeout."""
        self.write("Hangs", self.HANGS.format(method="activate", version="old"))
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        with self.assertRaisesRegex(AssertionError, "the bot did not start"):
            bot.start()
        bot.advance(61)
        return bot

    def test_deactivated_meanwhile(self) -> None:
        """A plugin that is deactivated during its activation is inactive when that ends."""
        bot = self.start_with_hanging_activation()
        self.successResultOf(bot.bot.plugin_manager.deactivate("Hangs"))
        bot.plugin("Hangs").gate.callback(None)
        self.assertEqual(self.successResultOf(bot.post("/hook")).status, 404)
        self.assertIn("not found", bot.command("!who"))

    def test_removed_meanwhile(self) -> None:
        """A plugin that is removed during its activation leaves nothing behind."""
        bot = self.start_with_hanging_activation()
        old, manager = bot.plugin("Hangs"), bot.bot.plugin_manager
        self.successResultOf(manager.remove(["Hangs"]))
        old.gate.callback(None)
        self.assertFalse(old.is_activated)
        self.assertIn("not found", bot.command("!who"))


class BrokenPluginTests(PluginFiles):
    """Errors of a plugin don't affect others."""

    def broken(self, name: str, code: str, core: str = "") -> tuple[TestBot, str]:
        """Return a bot with a working and a broken plugin, and the messages to the administrator."""
        self.write_versioned(1)
        self.write(name, code, core)
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        with self.assertRaises(AssertionError):
            bot.start()
        self.flushLoggedErrors()
        self.assertEqual(self.successResultOf(bot.post("/version")).text, "1")
        told = "\n".join(bot.sent_to("@admin"))
        self.assertIn(name, bot.command("!status plugins"))
        return bot, told

    def test_constructor_that_leaves(self) -> None:
        """SystemExit in a constructor is an error of the plugin only."""
        _, told = self.broken(
            "Broken",
            "from errbot import BotPlugin\nclass B(BotPlugin):\n"
            "    def __init__(self, bot, name):\n        raise SystemExit(1)\n",
        )
        self.assertIn("Broken", told)

    def test_activation_that_is_cancelled(self) -> None:
        """An exception that isn't an Exception, such as CancelledError, doesn't affect the bot."""
        for number, error in enumerate(("asyncio.CancelledError", "GeneratorExit")):
            _, told = self.broken(
                f"Broken{number}",
                f"""
                import asyncio
                from errbot import BotPlugin
                class B(BotPlugin):
                    async def activate(self):
                        raise {error}("gone")
                """,
            )
            self.assertRegex(
                told, rf"could not be activated: .*, line \d+: RuntimeError: {error.rpartition('.')[2]}: gone"
            )

    def test_activation_that_does_not_end(self) -> None:
        """A plugin that waits in its activation doesn't block the bot or other plugins."""
        self.write_versioned(1)
        waits = """
            from errbot import BotPlugin, botcmd
            class Waits(BotPlugin):
                async def activate(self):
                    await self._bot.gate
                    super().activate()
                @botcmd
                def late(self, msg, args):
                    return "late"
            """
        self.write("Patient", waits)
        self.write("Client", "from errbot import BotPlugin\nclass C(BotPlugin): pass\n", "DependsOn = Patient")
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        gate: Deferred[None] = Deferred()
        bot.bot.gate = gate  # type: ignore[attr-defined]
        with self.assertRaisesRegex(AssertionError, "the bot did not start"):
            bot.start()
        bot.advance(60)
        self.assertEqual(bot.command("!which"), "1")
        told = "\n".join(bot.sent_to("@admin"))
        self.assertIn("is still being activated after 60 s", told)
        self.assertIn("Patient.activate has been running for 1 min", bot.command("!plugin info Patient"))
        self.assertIn("is still being activated", bot.command("!plugin activate Patient"))
        gate.callback(None)
        self.assertEqual(bot.command("!late"), "late")
        self.assertNotIn("wrong", bot.command("!plugin info Patient"))

    def test_broken_plug_file(self) -> None:
        """An unreadable `.plug` file is reported with its path, and the others are loaded."""
        self.write_versioned(1)
        (self.directory / "bad.plug").write_text("Name = Bad\n")
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        self.assertRaises(AssertionError, bot.start)
        self.assertIn("bad.plug", "\n".join(bot.sent_to("@admin")))
        self.assertIn("bad.plug: line 1 precedes all sections", bot.command("!status plugins"))
        self.assertEqual(bot.command("!which"), "1")

    def test_switched_by_another_plugin(self) -> None:
        """A plugin that another one activates gets callbacks, and is deactivated when the bot stops."""
        self.write(
            "Switch",
            """
            from errbot import BotPlugin, botcmd
            class S(BotPlugin):
                @botcmd
                def switch(self, msg, args):
                    getattr(self.get_plugin("Light"), args)()
                    return "switched"
            """,
            "DependsOn = Light",
        )
        self.write(
            "Light",
            """
            from errbot import BotPlugin
            class L(BotPlugin):
                def __init__(self, bot, name):
                    super().__init__(bot, name)
                    self.events = []
                def callback_message(self, msg):
                    self.events.append(msg.body)
                def deactivate(self):
                    self.events.append("deactivated")
                    super().deactivate()
            """,
        )
        bot = TestBot(plugin_dirs=[self.directory])
        bot.start()
        light = bot.plugin("Light")
        bot.command("!switch deactivate")
        bot.say("in the dark")
        self.assertIn("D", bot.bot.plugin_manager.letters(bot.bot.plugin_manager.plugin("Light")))
        bot.command("!plugin activate Light")
        bot.command("!plugin deactivate Light")
        bot.command("!switch activate")
        bot.say("in the light")
        bot.stop()
        heard = [event for event in light.events if not event.startswith("!")]
        self.assertEqual(heard, ["deactivated", "deactivated", "in the light", "deactivated"])

    def needy(self, depends_on: str) -> TestBot:
        """Return a bot whose plugin Needy is configurable and depends on those plugins."""
        self.write(
            "Needy",
            """
            from errbot import BotPlugin, botcmd
            class N(BotPlugin):
                def get_configuration_template(self):
                    return {"a": 1}
                @botcmd
                def need(self, msg, args):
                    return str(self.config)
            """,
            f"DependsOn = {depends_on}",
        )
        bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(bot.stop)
        self.addCleanup(self.flushLoggedErrors)
        try:
            bot.start()
        except AssertionError as error:
            self.assertIn("Needy depends on", str(error))
        return bot

    def test_configuration_of_a_plugin_without_its_dependency(self) -> None:
        """A configuration of a plugin with a missing dependency is stored; the plugin stays inactive."""
        bot = self.needy("Missing")
        reply = bot.command("!plugin config Needy {'a': 2}")
        self.assertIn("Needy depends on Missing, which is not found", reply)
        self.assertIn("The configuration is stored; Needy is not activated.", reply)
        self.assertFalse(bot.bot.plugin_manager.plugin("Needy").active)
        self.assertIn("not found", bot.command("!need"))
        self.assertEqual(bot.bot.plugin_manager.configuration("Needy"), {"a": 2})
        self.assertIn("Missing", bot.command("!plugin activate Needy"))
        self.write("Missing", "from errbot import BotPlugin\nclass M(BotPlugin): pass\n")
        self.successResultOf(bot.bot.plugin_manager.add([self.directory]))
        self.assertEqual(bot.command("!plugin activate Needy"), "Plugin Needy activated.")
        self.assertEqual(bot.command("!need"), "{'a': 2}")

    def test_configuration_activates_dependencies(self) -> None:
        """A configuration activates a plugin with its dependencies, or the reply has the reason."""
        self.write(
            "Base",
            """
            from errbot import BotPlugin
            class B(BotPlugin):
                def activate(self):
                    if not hasattr(self._bot, "ready"):
                        raise RuntimeError("not ready")
                    super().activate()
            """,
        )
        bot = self.needy("Base")
        reply = bot.command("!plugin config Needy {'a': 2}")
        self.assertIn("Needy depends on Base, which can't be activated", reply)
        self.assertIn("not ready", reply)
        self.assertFalse(bot.bot.plugin_manager.plugin("Needy").active)
        bot.bot.ready = True  # type: ignore[attr-defined]
        self.assertEqual(bot.command("!plugin config Needy {'a': 3}"), "Plugin configuration done.")
        self.assertEqual(bot.command("!need"), "{'a': 3}")
        self.assertTrue(bot.plugin("Base").is_activated)

    def test_configuration_of_an_active_plugin_without_its_dependency(self) -> None:
        """An active plugin whose dependency was removed stays as it is."""
        self.write("Base", "from errbot import BotPlugin\nclass B(BotPlugin): pass\n")
        bot = self.needy("Base")
        self.successResultOf(bot.bot.plugin_manager.remove(["Base"]))
        self.assertIn("Needy depends on Base", bot.command("!plugin config Needy {'a': 2}"))
        self.assertEqual(bot.command("!need"), "None")
        self.assertIsNone(bot.bot.plugin_manager.configuration("Needy"))
