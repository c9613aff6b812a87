"""Chapter 9: the configuration of plugins."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import ContractTest, decided


class ConfigTests(ContractTest):
    """`!plugin config`."""

    plugin = """
        from errbot import BotPlugin, ValidationException, botcmd

        class Tried(BotPlugin):
            configured = ()

            def get_configuration_template(self):
                return {"name": "somebody", "count": 1}

            def check_configuration(self, configuration):
                super().check_configuration(configuration)
                if configuration["count"] < 0:
                    raise ValidationException("count can't be negative")

            def configure(self, configuration):
                self.configured += (configuration,)
                super().configure(configuration)

            @botcmd
            def configuration(self, msg, args):
                return repr(self.config)
        """

    def test_shown(self) -> None:
        """Without a value, the reply has the template as a command that can be copied, and the current
        configuration.
        """
        shown = self.ask("!plugin config Tried")
        self.assertIn("Default configuration", shown)
        self.assertIn("!plugin config Tried", shown)
        self.assertIn("'name': 'somebody'", shown)
        self.assertNotIn("Current configuration", shown)
        self.ask("!plugin config Tried {'name': 'me', 'count': 2}")
        shown = self.ask("!plugin config Tried")
        self.assertIn("Current configuration", shown)
        self.assertIn("'name': 'me'", shown)

    def test_set(self) -> None:
        """A literal is stored, and the plugin is activated with it."""
        self.assertEqual(self.ask("!configuration"), "None")
        self.assertIn("Plugin configuration done.", self.ask("!plugin config Tried {'name': 'me', 'count': 2}"))
        self.assertEqual(self.ask("!configuration"), "{'name': 'me', 'count': 2}")
        stored = self.bot.plugin_manager.get_plugin_configuration("Tried")
        self.assertEqual(stored, {"name": "me", "count": 2})

    def test_configure_comes_first(self) -> None:
        """`configure` is called before the activation, with None if there is no configuration."""
        self.assertEqual(self.instance().configured, (None,))

    def test_no_literal(self) -> None:
        """A value that isn't a Python literal is refused."""
        for literal in ("{'name'", "print(1)", "[x for x in y]"):
            self.assertIn("Syntax error in the given configuration", self.ask(f"!plugin config Tried {literal}"))

    def test_other_type(self) -> None:
        """A value of another type than the template is refused."""
        self.assertIn("looks fishy", self.ask("!plugin config Tried ['name', 1]"))

    def test_refused(self) -> None:
        """The reply has the reason if `check_configuration` refuses a value."""
        for literal in ("{'name': 'me'}", "{'name': 'me', 'count': -1}", "{'name': 'me', 'count': '1'}"):
            self.assertIn("Incorrect plugin configuration", self.ask(f"!plugin config Tried {literal}"))
        self.assertIn("count can't be negative", self.ask("!plugin config Tried {'name': 'me', 'count': -1}"))

    @decided("a refused configuration erases the old one")
    def test_refused_changes_nothing(self) -> None:
        """After a refused value, the old configuration is unchanged."""
        self.ask("!plugin config Tried {'name': 'me', 'count': 2}")
        self.ask("!plugin config Tried {'name': 'me', 'count': -1}")
        self.assertEqual(self.ask("!configuration"), "{'name': 'me', 'count': 2}")

    def test_nothing_to_configure(self) -> None:
        """There are separate replies for plugins without a template and unknown plugins."""
        self.assertIn("not configurable", self.ask("!plugin config Kit"))
        self.assertIn("Nothing", self.ask("!plugin config Nothing"))

    def test_blacklisted(self) -> None:
        """A blacklisted plugin can't be configured."""
        self.ask("!plugin blacklist Tried")
        self.assertNotIn("configuration done", self.ask("!plugin config Tried {'name': 'me', 'count': 2}"))
        self.assertIsNone(self.bot.plugin_manager.get_plugin_configuration("Tried"))


class OtherTemplatesTests(ContractTest):
    """Templates that aren't dicts, or are large."""

    files = {
        "listed.plug": "[Core]\nName = Listed\nModule = listed\n",
        "listed.py": """
            from errbot import BotPlugin

            class Listed(BotPlugin):
                def get_configuration_template(self):
                    return [1]
            """,
        "large.plug": "[Core]\nName = Large\nModule = large\n",
        "large.py": """
            from errbot import BotPlugin

            class Large(BotPlugin):
                def get_configuration_template(self):
                    return {name * 20: name for name in "cab"}

                def configure(self, configuration):
                    if configuration and configuration["a" * 20] == "no":
                        raise RuntimeError("not like this")
                    super().configure(configuration)

                def activate(self):
                    if self.config and self.config["a" * 20] == "never":
                        raise RuntimeError("not today")
                    super().activate()
            """,
    }

    def test_anything(self) -> None:
        """A template may have any type, and a literal may contain spaces and line breaks."""
        self.assertIn("configuration done", self.ask("!plugin config Listed   [1,\n   2]"))
        self.assertEqual(self.bot.plugin_manager.get_plugin_configuration("Listed"), [1, 2])
        self.assertEqual(self.instance("Listed").config, [1, 2])

    def test_shown(self) -> None:
        """A large template is displayed in lines, sorted, and can be copied into a command."""
        shown = self.ask("!plugin config Large")
        places = [shown.index(f"'{name * 20}': '{name}'") for name in "abc"]
        self.assertEqual(places, sorted(places))
        self.assertIn("\n", shown[places[0] : places[1]])
        command = shown[shown.index("!plugin config Large") :]
        self.assertIn("configuration done", self.ask(command))

    def test_refused_by_the_plugin(self) -> None:
        """The reply has the text of an exception in `configure` or `activate`."""
        template = {name * 20: name for name in "cab"}
        self.assertIn("not like this", self.ask(f"!plugin config Large {template | {'a' * 20: 'no'}}"))
        self.assertIn("not today", self.ask(f"!plugin config Large {template | {'a' * 20: 'never'}}"))

    def test_activates(self) -> None:
        """Configuring an inactive plugin activates it."""
        self.ask("!plugin deactivate Listed")
        self.assertIn("configuration done", self.ask("!plugin config Listed [3]"))
        self.assertTrue(self.instance("Listed").is_activated)

    def test_blacklisted_isn_t_shown(self) -> None:
        """The template of a blacklisted plugin isn't displayed."""
        self.ask("!plugin blacklist Listed")
        self.addCleanup(self.bot.plugin_manager.unblacklist_plugin, "Listed")
        self.assertNotIn("Default configuration", self.ask("!plugin config Listed"))

    def test_administrators_only(self) -> None:
        """Only administrators can use `!plugin config`."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("requires bot-admin privileges", self.ask("!plugin config Listed"))


class ReconfiguredTests(ContractTest):
    """The effect of a new configuration on a plugin."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            steps = ()

            def get_configuration_template(self):
                return {"a": 1}

            def configure(self, configuration):
                self.steps += (configuration,)
                if configuration == {"a": 5}:
                    raise ValueError("not five")
                super().configure(configuration)

            def activate(self):
                self.steps += ("activate",)
                super().activate()

            def deactivate(self):
                self.steps += ("deactivate",)
                super().deactivate()
        """

    def test_steps(self) -> None:
        """The same instance is deactivated, configured and activated."""
        tried = self.instance()
        tried.steps = ()
        self.ask("!plugin config Tried {'a': 2}")
        self.assertEqual(tried.steps, ("deactivate", {"a": 2}, "activate"))
        self.assertIs(self.instance(), tried)

    def test_inactive_and_refused(self) -> None:
        """An inactive plugin stays inactive if its configuration is refused."""
        self.ask("!plugin deactivate Tried")
        self.assertIn("Incorrect plugin configuration", self.ask("!plugin config Tried {'a': 'x'}"))
        self.assertFalse(self.instance().is_activated)

    def test_refused_at_activation(self) -> None:
        """A plugin that refuses its stored configuration has none."""
        self.ask("!plugin config Tried {'a': 2}")
        self.ask("!plugin deactivate Tried")
        self.bot.plugin_manager.set_plugin_configuration("Tried", {"a": 5})
        self.assertIn("not five", self.ask("!plugin activate Tried"))
        self.assertIsNone(self.instance().config)

    def test_stored(self) -> None:
        """Configurations are stored in the namespace "core", in the dict "configs", by plugin name."""
        self.ask("!plugin config Tried {'a': 2}")
        self.assertEqual(self.bot.plugin_manager["configs"]["Tried"], {"a": 2})


class DependentTests(ContractTest):
    """A plugin with a missing dependency."""

    plug = "DependsOn = Missing\n"
    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def get_configuration_template(self):
                return {"a": 1}

            @botcmd
            def works(self, msg, args):
                return "works"
        """

    def test_not_activated(self) -> None:
        """The configuration is stored without an activation, and the reply names the dependency."""
        self.replies("!kit done")
        self.assertIn("Missing", self.ask("!plugin config Tried {'a': 2}"))
        self.assertIn("not found", self.ask("!works"))
        self.assertNotIn("Tried", self.bot.plugin_manager.get_all_active_plugin_names())
        self.assertEqual(self.bot.plugin_manager.get_plugin_configuration("Tried"), {"a": 2})


class CommandLineTests(unittest.TestCase):
    """Options of the command line for stored values."""

    def setUp(self) -> None:
        """Write a configuration file."""
        self.directory = Path(tempfile.mkdtemp(prefix="contract-"))
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "config.py").write_text(
            f"""BACKEND = "Null"
BOT_DATA_DIR = {str(self.directory)!r}
BOT_EXTRA_PLUGIN_DIR = None
BOT_LOG_FILE = {str(self.directory / "log")!r}
BOT_LOG_LEVEL = "ERROR"
BOT_ADMINS = ("gbin@localhost",)
BOT_IDENTITY = {{"username": "err"}}
""",
            encoding="utf-8",
        )

    def output_of(self, option: str, namespace: str, given: object = "") -> str:
        """Run the command with the option and standard input, and return its output."""
        command = [sys.executable, "-m", "errklein"] if IS_ERRKLEIN else [Path(sys.executable).with_name("errbot")]
        command += ["-c", self.directory / "config.py", option, namespace]
        done = subprocess.run(
            command, input=str(given), capture_output=True, text=True, check=True, timeout=50, cwd=self.directory
        )
        return done.stdout

    def test_configurations(self) -> None:
        """`--storage-set` replaces values, `--storage-merge` adds to them, and `--storage-get` prints them."""
        self.assertEqual(self.output_of("--storage-set", "core", {"configs": {"Tried": {"a": 1}}}), "")
        self.assertEqual(self.output_of("--storage-merge", "core", {"configs": {"Other": [2]}}), "")
        stored = {"configs": {"Tried": {"a": 1}, "Other": [2]}}
        self.assertEqual(ast.literal_eval(self.output_of("--storage-get", "core")), stored)
        self.assertEqual(ast.literal_eval(self.output_of("--storage-get", "Tried")), {})


class MergedTests(ContractTest):
    """A plugin that merges its configuration with defaults."""

    plugin = """
        from itertools import chain
        from errbot import BotPlugin, botcmd

        TEMPLATE = {"name": "somebody", "count": 1}

        class Tried(BotPlugin):
            def get_configuration_template(self):
                return TEMPLATE

            def configure(self, configuration):
                if configuration:
                    config = dict(chain(TEMPLATE.items(), configuration.items()))
                else:
                    config = TEMPLATE
                super().configure(config)

            def check_configuration(self, configuration):
                pass

            @botcmd
            def configuration(self, msg, args):
                return repr(self.config)
        """

    def test_merged(self) -> None:
        """Keys that aren't given have the value of the template."""
        self.assertEqual(self.ask("!configuration"), "{'name': 'somebody', 'count': 1}")
        self.ask("!plugin config Tried {'count': 5}")
        self.assertEqual(self.ask("!configuration"), "{'name': 'somebody', 'count': 5}")


class StructureTests(unittest.TestCase):
    """`recurse_check_structure`."""

    def fits(self, sample: object, given: object) -> bool:
        """Return whether the value is valid for the sample."""
        from errbot.botplugin import ValidationException, recurse_check_structure

        try:
            recurse_check_structure(sample, given)
        except ValidationException:
            return False
        return True

    def test_types(self) -> None:
        """Types must be equal; a subclass is invalid."""
        self.assertTrue(self.fits(1, 2))
        self.assertFalse(self.fits(1, 1.0))
        self.assertFalse(self.fits(1, True))
        self.assertFalse(self.fits("x", 1))
        self.assertFalse(self.fits(True, 1))
        self.assertFalse(self.fits("x", None))
        self.assertFalse(self.fits({}, type("Related", (dict,), {})()))

    def test_none(self) -> None:
        """Any value is valid where the sample is None."""
        for given in (None, 1, "x", {}):
            self.assertTrue(self.fits({"a": None}, {"a": given}))
            self.assertTrue(self.fits([None], [given, given]))
            self.assertTrue(self.fits(None, given))
        self.assertFalse(self.fits({"a": None}, {}))

    def test_dicts(self) -> None:
        """Dicts must have exactly the keys of the sample, at all levels."""
        sample = {"a": {"b": 1}}
        self.assertTrue(self.fits(sample, {"a": {"b": 5}}))
        self.assertFalse(self.fits(sample, {"a": {}}))
        self.assertFalse(self.fits(sample, {"a": {"b": 1, "c": 2}}))
        self.assertFalse(self.fits(sample, {"a": {"b": 1}, "d": 2}))

    def test_lists(self) -> None:
        """Each element must be valid for the first element of the sample."""
        self.assertTrue(self.fits(["x"], ["a", "b", "c"]))
        self.assertTrue(self.fits(["x"], []))
        self.assertFalse(self.fits(["x"], ["a", 1]))
        self.assertFalse(self.fits(("x",), ("a", 1)))
        self.assertFalse(self.fits(["x"], ("a",)))
        self.assertTrue(self.fits(["x", 1], ["a", "b", "c"]))
        self.assertTrue(self.fits([["x"]], [["a"], ["b", "c"]]))
        self.assertFalse(self.fits([["x"]], [["a"], ["b", 1]]))

    @decided("an IndexError is raised")
    def test_empty_lists(self) -> None:
        """Any elements are valid if the sample is empty."""
        self.assertTrue(self.fits([], [1, "x"]))
        self.assertTrue(self.fits({"a": ()}, {"a": (1,)}))

    def test_lists_of_dicts(self) -> None:
        """Dicts in lists are checked, too."""
        self.assertTrue(self.fits([{"a": 1}], [{"a": 2}, {"a": 3}]))
        self.assertFalse(self.fits([{"a": 1}], [{"a": 2}, {"b": 3}]))
