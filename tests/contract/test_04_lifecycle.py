"""Chapter 4: creation, configuration, activation and deactivation of a plugin."""

from __future__ import annotations

from tests.contract.kit import ContractTest


class LifecycleTests(ContractTest):
    """The order of calls from `__init__` to `deactivate`."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.calls = ["__init__"]

            def get_configuration_template(self):
                return {"a": 1}

            def check_configuration(self, configuration):
                self.calls.append("check")

            def configure(self, configuration):
                self.calls.append(f"configure {configuration}")
                super().configure(configuration)

            def activate(self):
                self.calls.append("activate")
                super().activate()

            def callback_connect(self):
                self.calls.append("connect")

            def deactivate(self):
                self.calls.append("deactivate")
                super().deactivate()
        """

    def test_start(self) -> None:
        """A plugin is created, configured with None, and activated; then `callback_connect` is called."""
        calls = self.instance().calls
        self.assertEqual(calls[:3], ["__init__", "configure None", "activate"])
        self.assertEqual(set(calls[3:]), {"connect"})

    def test_configured(self) -> None:
        """For a new configuration the plugin is deactivated, configured and activated."""
        instance = self.instance()
        instance.calls.clear()
        self.ask("!plugin config Tried {'a': 2}")
        order = [call for call in instance.calls if call not in ("check", "connect")]
        self.assertEqual(order, ["deactivate", "configure {'a': 2}", "activate"])
        self.assertLess(instance.calls.index("check"), instance.calls.index("configure {'a': 2}"))

    def test_activated(self) -> None:
        """`is_activated` has the state, and `deactivate` is the last call."""
        instance = self.instance()
        self.assertTrue(instance.is_activated)
        self.ask("!plugin deactivate Tried")
        self.assertFalse(instance.is_activated)
        self.assertEqual(instance.calls[-1], "deactivate")


class LifecycleOrderTests(ContractTest):
    """Commands, filters and storage in `activate` and `deactivate`."""

    plugin = """
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.states = [("init", self.is_activated, bot is self._bot, name)]
                self.connects = 0

            def configure(self, configuration):
                super().configure(configuration)
                self.states.append(("configure", self.is_activated, configuration))

            def activate(self):
                self.states.append(("activate", self.is_activated, "begun" in self._bot.all_commands))
                super().activate()
                self["kept"] = 1
                self.states.append(("activated", self.is_activated, "begun" in self._bot.all_commands))

            def deactivate(self):
                self.states.append(("deactivate", self.is_activated, self["kept"]))
                super().deactivate()
                self.states.append(("deactivated", self.is_activated, "begun" in self._bot.all_commands))

            def callback_connect(self):
                self.connects += 1

            @botcmd
            def begun(self, msg, args):
                return "begun"

            @cmdfilter
            def filtered(self, msg, cmd, args, dry_run):
                return msg, cmd, args

            def poll(self):
                pass
        """

    def test_begin(self) -> None:
        """Commands and storage are available after the inherited `activate`."""
        self.assertEqual(
            self.instance().states,
            [
                ("init", False, True, "Tried"),
                ("configure", False, None),
                ("activate", False, False),
                ("activated", True, True),
            ],
        )

    def test_connected_twice(self) -> None:
        """`callback_connect` is called after the activation, and again when the network is connected."""
        self.assertEqual(self.instance().connects, 2)

    def test_end(self) -> None:
        """Commands, filters and storage are available until the inherited `deactivate`."""
        tried = self.instance()
        tried.states.clear()
        self.ask("!plugin deactivate Tried")
        self.assertEqual(tried.states, [("deactivate", True, 1), ("deactivated", False, False)])
        self.assertNotIn(tried.filtered, list(self.bot.command_filters))
        self.assertIn("not found", self.ask("!begun"))

    def test_again(self) -> None:
        """Activated again, the same instance is configured and activated, and `callback_connect` is called."""
        tried = self.instance()
        self.ask("!plugin deactivate Tried")
        tried.states.clear()
        self.ask("!plugin activate Tried")
        self.assertIs(self.instance(), tried)
        self.assertEqual([state[0] for state in tried.states], ["configure", "activate", "activated"])
        self.assertEqual(tried.connects, 3)
        self.assertEqual(tried["kept"], 1)

    def test_opened_twice(self) -> None:
        """`init_storage` raises StoreAlreadyOpenError if the storage is open."""
        from errbot.storage import StoreAlreadyOpenError

        with self.assertRaises(StoreAlreadyOpenError):
            self.instance().init_storage()


class InactiveTests(ContractTest):
    """A plugin whose `activate` doesn't call the inherited one."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def activate(self):
                pass

            @botcmd
            def never(self, msg, args):
                return "never"
        """

    def test_inactive(self) -> None:
        """The plugin stays inactive and has no commands, although `!plugin activate` reports success."""
        self.assertFalse(self.instance().is_activated)
        self.assertEqual(self.ask("!plugin activate Tried"), "Plugin Tried activated.")
        self.assertFalse(self.instance().is_activated)
        self.assertIn("not found", self.ask("!never"))


class CheckedTests(ContractTest):
    """`check_configuration`."""

    plugin = """
        from errbot import BotPlugin, ValidationException

        class Tried(BotPlugin):
            checked = ()
            configured = ()
            template = {"a": 1}

            def get_configuration_template(self):
                return self.template

            def check_configuration(self, configuration):
                self.checked += (configuration,)
                super().check_configuration(configuration)

            def configure(self, configuration):
                self.configured += (configuration,)
                super().configure(configuration)
        """

    def test_not_without_configuration(self) -> None:
        """`check_configuration` isn't called without a configuration."""
        self.assertEqual(self.instance().checked, ())

    def test_structure(self) -> None:
        """The inherited method compares the configuration with the template."""
        self.assertIn("Plugin configuration done.", self.ask("!plugin config Tried {'a': 5}"))
        self.assertEqual(set(map(str, self.instance().checked)), {"{'a': 5}"})
        self.assertEqual(self.instance().config, {"a": 5})
        self.assertIn("Incorrect plugin configuration", self.ask("!plugin config Tried {'a': 'x'}"))

    def test_activated_again(self) -> None:
        """The stored configuration is checked before it is passed to the plugin, unless the plugin has no template."""
        self.ask("!plugin config Tried {'a': 5}")
        tried = self.instance()
        for template, checked in (({"a": 1}, {"{'a': 5}"}), (None, set())):
            self.ask("!plugin deactivate Tried")
            tried.template, tried.checked, tried.configured = template, (), ()
            self.ask("!plugin activate Tried")
            self.assertEqual((tried.is_activated, tried.configured), (True, ({"a": 5},)))
            self.assertEqual(set(map(str, tried.checked)), checked)


class ConfigurationAttributeTests(ContractTest):
    """The attribute `config`."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.was_there = [hasattr(self, "config")]

            def configure(self, configuration):
                self.was_there.append(hasattr(self, "config"))
                super().configure(configuration)
                self.was_there.append(hasattr(self, "config"))
        """

    def test_missing_until_configured(self) -> None:
        """The attribute doesn't exist before the first `configure`, so `hasattr` can detect the first call."""
        self.assertEqual(self.instance().was_there, [False, False, True])
        self.assertIsNone(self.instance().config)
