"""Chapter 8, continued: discovery of plugins, messages to administrators, and the plugin manager."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path
from typing import Any

from tests.contract.kit import ADMIN, ContractTest, decided

MODULE = """
    from errbot import BotPlugin, botcmd

    class Plugin(BotPlugin):
        @botcmd
        def hello(self, msg, args):
            return "hello"
    """


class VersionTests(ContractTest):
    """Versions and other values in `.plug` files."""

    plugin = MODULE

    def error_of(self, plug: str) -> str | None:
        """Load and activate a plugin with this text in its `.plug` file; return the error, or None if it is active."""
        self.write("odd/odd.plug", f"[Core]\nName = Odd\nModule = odd\n{plug}")
        self.write("odd/odd.py", MODULE.replace("hello", "odd"))
        problems: Any = self.bot.plugin_manager.update_plugin_places([str(self.directory)])
        text = " ".join(str(problem) for problem in problems.values())
        text += self.bot.plugin_manager.activate_non_started_plugins()
        return None if "Odd" in self.bot.plugin_manager.get_all_active_plugin_names() else text

    def test_older_python(self) -> None:
        """A plugin for an older minor version of Python 3 is activated."""
        self.assertIsNone(self.error_of(f"[Python]\nVersion = 3.{sys.version_info[1] - 1}.0\n"))

    def test_running_python(self) -> None:
        """The version must be older than the running Python; an equal one is refused."""
        major, minor, micro = sys.version_info[:3]
        self.assertIsNotNone(self.error_of(f"[Python]\nVersion = {major}.{minor}.{micro}\n"))

    def test_python_with_a_suffix(self) -> None:
        """A version may have a suffix."""
        self.assertIsNone(self.error_of("[Python]\nVersion = 3.0.0-alpha\n"))

    def test_any_python(self) -> None:
        """Version 3 means any Python 3."""
        self.assertIsNone(self.error_of("[Python]\nVersion = 3\n"))

    def test_senseless_python(self) -> None:
        """An invalid version is an error."""
        self.assertIn("ersion", self.error_of("[Python]\nVersion = new\n") or "")

    def test_candidates_of_errbot(self) -> None:
        """Release candidates come before the version, and alpha versions before both."""
        from errbot.version import VERSION

        self.assertIsNone(self.error_of(f"[Errbot]\nMin = {VERSION}-rc9\nMax = 99.0.0-alpha\n"))

    def test_only_candidates_of_errbot(self) -> None:
        """A release is newer than its release candidates."""
        from errbot.version import VERSION

        self.assertIsNotNone(self.error_of(f"[Errbot]\nMax = {VERSION}-rc9\n"))

    def test_other_errbots(self) -> None:
        """Activating a plugin for another errbot raises IncompatiblePluginException."""
        from errbot.plugin_manager import IncompatiblePluginException, PluginActivationException

        self.assertTrue(issubclass(IncompatiblePluginException, PluginActivationException))
        self.assertIsNotNone(self.error_of("[Errbot]\nMin = 99.0.0\n"))
        with self.assertRaises(IncompatiblePluginException):
            self.bot.plugin_manager.activate_plugin("Odd")

    def test_two_numbers(self) -> None:
        """A version of errbot with two numbers is an error that names it."""
        self.assertIn("6.2", self.error_of("[Errbot]\nMin = 6.2\n") or "")

    def test_senseless_errbot(self) -> None:
        """A version of errbot without numbers is an error that names it."""
        self.assertIn("new", self.error_of("[Errbot]\nMax = new\n") or "")

    def test_core(self) -> None:
        """`Core = False` is allowed."""
        self.assertIsNone(self.error_of("Core = False\n"))

    def test_several_dependencies(self) -> None:
        """Dependencies are separated by commas and optional spaces."""
        self.assertIsNone(self.error_of("DependsOn = Tried ,Utils\n"))
        self.assertEqual(list(self.bot.plugin_manager.plugin_infos["Odd"].dependencies), ["Tried", "Utils"])

    def test_encoding(self) -> None:
        """A `.plug` file is UTF-8."""
        self.assertIsNone(self.error_of("[Documentation]\nDescription = Grüße an 漢字.\n"))
        self.assertIn("Grüße an 漢字.", self.ask("!help Odd"))


class IncompleteTests(ContractTest):
    """Invalid `.plug` files."""

    plugin = MODULE

    def test_told(self) -> None:
        """A missing Name or Module is an error with the file's path; other plugins work."""
        self.write("odd/odd.py", MODULE.replace("hello", "odd"))
        for plug in ("", "[Core]\nModule = odd\n", "[Core]\nName = Odd\n"):
            self.write("odd/odd.plug", plug)
            problems = self.bot.plugin_manager.update_plugin_places([str(self.directory)])
            self.assertTrue([path for path in problems if str(path).startswith(str(self.directory))], plug)
        self.assertEqual(self.ask("!hello"), "hello")

    def test_module_in_a_package(self) -> None:
        """Module can't refer to a module in a package."""
        self.write("odd/sub/__init__.py", "")
        self.write("odd/sub/inner.py", MODULE.replace("hello", "inner"))
        self.write("odd/odd.plug", "[Core]\nName = Odd\nModule = sub.inner\n")
        self.bot.plugin_manager.update_plugin_places([str(self.directory)])
        self.bot.plugin_manager.activate_non_started_plugins()
        self.assertNotIn("Odd", self.bot.plugin_manager.get_all_active_plugin_names())


class SameNameTests(ContractTest):
    """Plugins with the same Name."""

    plugin = MODULE
    files = {
        "deeper/tried.plug": "[Core]\nName = Tried\nModule = same_name\n",
        "deeper/same_name.py": MODULE.replace("hello", "the_other"),
        "utils.plug": "[Core]\nName = Utils\nModule = utils_too\n",
        "utils_too.py": MODULE.replace("hello", "utils_too"),
    }

    def test_first_one(self) -> None:
        """The plugin in the upper directory is loaded, the other one isn't."""
        self.assertEqual(self.ask("!hello"), "hello")
        self.assertIn("not found", self.ask("!the other"))

    def test_core_ones(self) -> None:
        """A core plugin can't be replaced."""
        self.assertIn("not found", self.ask("!utils too"))
        self.assertEqual(self.ask("!echo there"), "there")


class LinkedTests(ContractTest):
    """Symbolic links."""

    def start(self, **config: Any) -> None:
        """Create a plugin elsewhere and a link to its directory."""
        elsewhere = Path(f"{self.directory}-elsewhere")
        elsewhere.mkdir()
        self.addCleanup(shutil.rmtree, elsewhere)
        (elsewhere / "linked.plug").write_text("[Core]\nName = Linked\nModule = linked\n")
        (elsewhere / "linked.py").write_text(textwrap.dedent(MODULE.replace("hello", "linked")))
        (self.directory / "link").symlink_to(elsewhere)
        super().start(**config)

    def test_followed(self) -> None:
        """Symbolic links to directories are followed."""
        self.assertEqual(self.ask("!linked"), "linked")


class ListOfDirectoriesTests(ContractTest):
    """BOT_EXTRA_PLUGIN_DIR as a list."""

    files = {
        "one/one.plug": "[Core]\nName = One\nModule = one_of_list\n",
        "one/one_of_list.py": MODULE.replace("hello", "one"),
        "two/two.plug": "[Core]\nName = Two\nModule = two_of_list\n",
        "two/two_of_list.py": MODULE.replace("hello", "two"),
        "three/three.plug": "[Core]\nName = Three\nModule = three_of_list\n",
        "three/three_of_list.py": MODULE.replace("hello", "three"),
    }

    @property
    def places(self) -> list[str]:
        """Three of the four directories."""
        return [str(self.directory / name) for name in ("one", "two", "kit")]

    def test_all_of_them(self) -> None:
        """Plugins in all listed directories are loaded, others aren't."""
        self.assertEqual((self.ask("!one"), self.ask("!two")), ("one", "two"))
        self.assertIn("not found", self.ask("!three"))


class DistributionTests(ContractTest):
    """Plugins in installed distributions."""

    files = {
        "site/contract_plugins/__init__.py": "",
        "site/contract_plugins/shipped.plug": "[Core]\nName = Shipped\nModule = shipped\n",
        "site/contract_plugins/shipped.py": MODULE.replace("hello", "shipped"),
        "site/contract_plugins-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: contract-plugins\nVersion: 1.0\n",
        "site/contract_plugins-1.0.dist-info/entry_points.txt": "[errbot.plugins]\nshipped = contract_plugins\n",
        "site/contract_plugins-1.0.dist-info/RECORD": (
            "contract_plugins/__init__.py,,\ncontract_plugins/shipped.plug,,\ncontract_plugins/shipped.py,,\n"
            "contract_plugins/kit_too.plug,,\ncontract_plugins/kit_too.py,,\n"
        ),
        "site/contract_plugins/kit_too.plug": "[Core]\nName = Kit\nModule = kit_too\n",
        "site/contract_plugins/kit_too.py": MODULE.replace("hello", "of_the_other_kit"),
        "site/lost_plugins/lost.plug": "[Core]\nName = Lost\nModule = lost\n",
        "site/lost_plugins/lost.py": MODULE.replace("hello", "lost"),
        "site/lost_plugins-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lost-plugins\nVersion: 1.0\n",
        "site/lost_plugins-1.0.dist-info/entry_points.txt": "[errbot.plugins]\nlost = there_is_no_such_module\n",
        "site/lost_plugins-1.0.dist-info/RECORD": "lost_plugins/lost.plug,,\nlost_plugins/lost.py,,\n",
    }

    def start(self, **config: Any) -> None:
        """Put the distributions on the module search path, outside of BOT_EXTRA_PLUGIN_DIR."""
        installed = Path(f"{self.directory}-installed")
        shutil.move(self.directory / "site", installed)
        self.addCleanup(shutil.rmtree, installed)
        sys.path.insert(0, str(installed))
        super().start(**config)

    def test_entry_points(self) -> None:
        """An entry point in the group `errbot.plugins` names a package whose directory contains plugins."""
        self.assertEqual(self.ask("!shipped"), "shipped")

    def test_files(self) -> None:
        """If the package doesn't exist, the distribution's list of files is searched."""
        self.assertEqual(self.ask("!lost"), "lost")

    def test_last(self) -> None:
        """A plugin in BOT_EXTRA_PLUGIN_DIR takes precedence over one of the same Name in a distribution."""
        self.assertIn("not found", self.ask("!of the other kit"))
        self.assertEqual(self.ask("!kit done"), "done")


class InstalledTests(ContractTest):
    """Plugins that were installed from repositories."""

    files = {
        "owner/name/inner/installed.plug": "[Core]\nName = Installed\nModule = installed_here\n",
        "owner/name/inner/installed_here.py": MODULE.replace("hello", "installed"),
    }

    @property
    def places(self) -> str:
        """A directory without the repository."""
        return str(self.directory / "kit")

    def start(self, **config: Any) -> None:
        """Start the bot with an index that needs no network."""
        super().start(BOT_PLUGIN_INDEXES=str(self.write("index.json", "{}")), **config)

    @unittest.skipUnless(shutil.which("git"), "needs git")
    def test_installed(self) -> None:
        """Plugins are cloned to BOT_DATA_DIR/plugins/<owner>/<name>, active at once, and removed by `!repos uninstall`."""
        repository = self.directory / "owner" / "name"
        author = ("-c", "user.name=me", "-c", "user.email=me@localhost")
        for command in (("init", "-q", "-b", "master"), ("add", "."), (*author, "commit", "-q", "-m", "First.")):
            subprocess.run(("git", *command), cwd=repository, check=True)
        self.replies(f"!repos install file://{repository}")
        self.assertEqual(self.ask("!installed"), "installed")
        where = self.bot.plugin_manager.plugin_infos["Installed"].location
        self.assertEqual(where, self.data / "plugins" / "owner" / "name" / "inner" / "installed.plug")
        self.replies("!repos uninstall owner/name")
        self.assertIn("not found", self.ask("!installed"))
        self.assertFalse(where.exists())


class RequirementsTests(ContractTest):
    """`requirements.txt` with AUTOINSTALL_DEPS = False."""

    config = {"AUTOINSTALL_DEPS": False}
    files = {
        "needy/needy.plug": "[Core]\nName = Needy\nModule = needy\n",
        "needy/needy.py": MODULE.replace("hello", "needy"),
        "needy/requirements.txt": "there-is-no-such-distribution\n",
    }

    def test_missing(self) -> None:
        """Missing requirements are reported, and the plugin is activated nevertheless."""
        self.assertEqual(self.ask("!needy"), "needy")
        self.write("more/requirements.txt", "jinja2\nthere-is-nothing-like-it\n")
        self.write("more/more.plug", "[Core]\nName = More\nModule = more_needy\n")
        self.write("more/more_needy.py", MODULE.replace("hello", "more"))
        told = str(list(self.bot.plugin_manager.update_plugin_places([str(self.directory / "more")]).values()))
        self.assertIn("there-is-nothing-like-it", told)
        self.assertNotIn("jinja2", told)


class StartErrorsTests(ContractTest):
    """Messages to administrators when the bot has started."""

    config = {"AUTOINSTALL_DEPS": False}
    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name=None):
                super().__init__(bot, name=name)
                self.made = (bot, name, self.is_activated)
                self.said = []

            def callback_botmessage(self, message):
                self.said.append((str(message.to), message.body))
        """
    files = {
        "fails.plug": "[Core]\nName = Fails\nModule = fails_to_start\n",
        "fails_to_start.py": """
            from errbot import BotPlugin, botcmd

            class Fails(BotPlugin):
                def activate(self):
                    super().activate()
                    raise RuntimeError("not today")

                @botcmd
                def of_what_fails(self, msg, args):
                    return "there"
            """,
        "unmet.plug": "[Core]\nName = Unmet\nModule = unmet\nDependsOn = Missing\n",
        "unmet.py": MODULE.replace("hello", "unmet"),
        "broken.plug": "[Core]\nName = Broken\nModule = broken_at_start\n",
        "broken_at_start.py": "1 / 0\n",
        "many/many.plug": "[Core]\nName = Many\nModule = many_in_one\n",
        "many/many_in_one.py": """
            from errbot import BotPlugin, botcmd

            class Zed(BotPlugin):
                @botcmd
                def zed(self, msg, args):
                    return "zed"

            class Abc(BotPlugin):
                @botcmd
                def abc(self, msg, args):
                    return "abc"
            """,
        "needy/needy.plug": "[Core]\nName = Needy\nModule = needy_at_start\n",
        "needy/needy_at_start.py": MODULE.replace("hello", "needy"),
        "needy/requirements.txt": "there-is-no-such-distribution\n",
    }

    def test_errors(self) -> None:
        """Administrators get the errors of all plugins."""
        told = "\n".join(body for to, body in self.instance().said if to == ADMIN)
        for part in (
            "not today",
            "Missing",
            "broken",
            "Contains more than one plugin",
            "there-is-no-such-distribution",
        ):
            self.assertIn(part.lower(), told.lower())

    def test_made_at_load(self) -> None:
        """Instances are created with the bot and their name, before they are active."""
        bot, name, activated = self.instance().made
        self.assertEqual((bot is self.instance()._bot, name, activated), (True, "Tried", False))

    def test_failed_ones_are_known(self) -> None:
        """A plugin that can't be loaded has an entry in `plugin_infos`, but no instance."""
        manager = self.bot.plugin_manager
        self.assertIn("Broken", manager.plugin_infos)
        self.assertNotIn("Broken", manager.plugins)
        self.assertNotIn("Broken", manager.get_all_plugin_names())
        self.assertIsNone(manager.get_plugin_obj_by_name("Broken"))

    def test_failed_ones_are_inactive(self) -> None:
        """If an activation fails, its commands are removed and its storage is closed."""
        self.assertIn("not found", self.ask("!of what fails"))
        self.assertFalse(self.instance("Fails").is_activated)
        self.assertFalse(self.instance("Fails").is_open_storage())

    def test_first_class(self) -> None:
        """If a module has several plugin classes, the first one by name is used."""
        self.assertEqual(self.ask("!abc"), "abc")
        self.assertIn("not found", self.ask("!zed"))


class ImportedClassTests(ContractTest):
    """Plugin classes that a module only imports."""

    files = {
        "bare.plug": "[Core]\nName = Bare\nModule = bare\n",
        "bare.py": "from base_of_more import Base\n",
        "base_of_more.py": """
            from errbot import BotPlugin, botcmd

            class Base(BotPlugin):
                @botcmd
                def only_imported(self, msg, args):
                    return "imported"
            """,
    }

    def test_only_imported(self) -> None:
        """A plugin class that the module only imports is used."""
        self.assertEqual(self.ask("!only imported"), "imported")


class StepsTests(ContractTest):
    """The steps of an activation."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            '''What the class says.'''

            def __init__(self, bot, name=None):
                super().__init__(bot, name=name)
                self.steps = []

            def get_configuration_template(self):
                return {"a": 1}

            def check_configuration(self, configuration):
                self.steps.append(("check", configuration))
                super().check_configuration(configuration)

            def configure(self, configuration):
                self.steps.append(("configure", configuration))
                super().configure(configuration)

            def activate(self):
                self.steps.append(("activate", self.is_activated))
                super().activate()

            def callback_connect(self):
                self.steps.append(("connect", self.is_activated))
        """
    plug = "DependsOn = Kit\n\n[Documentation]\nDescription = What the file says.\n"
    files = {
        "plain.plug": "[Core]\nName = Plain\nModule = plain\n\n[Documentation]\nDescription = What the file says.\n",
        "plain.py": MODULE.replace("hello", "plain"),
    }

    def test_order(self) -> None:
        """The order is `check_configuration`, `configure`, `activate`, `callback_connect`."""
        manager = self.bot.plugin_manager
        manager.set_plugin_configuration("Tried", {"a": 2})
        manager.deactivate_plugin("Tried")
        tried = self.instance()
        del tried.steps[:]
        manager.activate_plugin("Tried")
        given = {"a": 2}
        steps = [("check", given), ("configure", given), ("activate", False), ("connect", True)]
        self.assertEqual(tried.steps, steps)

    def test_unconfigured(self) -> None:
        """Without a configuration, `configure` gets None, and `check_configuration` isn't called."""
        self.assertEqual(self.instance().steps[:2], [("configure", None), ("activate", False)])

    def test_refused_configuration(self) -> None:
        """An invalid stored configuration raises PluginConfigurationException, and the plugin has no configuration."""
        from errbot.plugin_manager import PluginActivationException, PluginConfigurationException

        manager = self.bot.plugin_manager
        manager.set_plugin_configuration("Tried", {"a": "x"})
        manager.deactivate_plugin("Tried")
        with self.assertRaises(PluginConfigurationException):
            manager.activate_plugin("Tried")
        self.assertTrue(issubclass(PluginConfigurationException, PluginActivationException))
        self.assertNotIn("Tried", manager.get_all_active_plugin_names())
        self.assertIsNone(self.instance().config)

    def test_dependencies_first(self) -> None:
        """Activating a plugin activates its dependencies."""
        manager = self.bot.plugin_manager
        manager.deactivate_plugin("Tried")
        manager.deactivate_plugin("Kit")
        manager.activate_plugin("Tried")
        self.assertIn("Kit", manager.get_all_active_plugin_names())

    def test_documentation(self) -> None:
        """`__errdoc__` is the class's docstring, or else the Description in the `.plug` file."""
        self.assertEqual(type(self.instance()).__errdoc__, "What the class says.")
        self.assertEqual(type(self.instance("Plain")).__errdoc__, "What the file says.")


class PreparedTests(ContractTest):
    """The state of a plugin at each step of its activation."""

    plugin = """
        from errbot import BotPlugin, botcmd, webhook
        from errbot.core_plugins import flask_app

        class Tried(BotPlugin):
            '''What the class says.'''

            given = ()

            def check_configuration(self, configuration):
                self.given += ("checked",)

            def configure(self, configuration):
                self.given += (configuration,)
                super().configure(configuration)

            def activate(self):
                self.text = self._bot.process_template("own", {"text": "there"}, self.name)
                self.documented = type(self).__errdoc__
                self.opened = [self.is_open_storage()]
                super().activate()
                self.opened.append(self.is_open_storage())

            def callback_connect(self):
                self.answered = flask_app.test_client().post("/hook").data
                self.known = "known" in self._bot.all_commands

            @webhook
            def hook(self, payload):
                return "answered"

            @botcmd
            def known(self, msg, args):
                return "known"
        """
    files = {"templates/own.md": "own {{ text }}"}

    def test_for_activate(self) -> None:
        """Templates and documentation are available before `activate`, the storage after the inherited `activate`."""
        tried = self.instance()
        self.assertEqual((tried.text, tried.documented), ("own there", "What the class says."))
        self.assertEqual(tried.opened, [False, True])

    def test_for_callback_connect(self) -> None:
        """Webhooks and commands are available in `callback_connect`."""
        self.assertEqual((self.instance().answered, self.instance().known), (b"answered", True))

    def test_without_a_template(self) -> None:
        """Without a template, a configuration is passed to `configure` unchecked."""
        manager = self.bot.plugin_manager
        self.addCleanup(manager.set_plugin_configuration, "Tried", None)
        manager.set_plugin_configuration("Tried", {"a": 1})
        manager.deactivate_plugin("Tried")
        self.instance().given = ()
        manager.activate_plugin("Tried")
        self.assertEqual(self.instance().given, ({"a": 1},))


class ManagedTests(ContractTest):
    """`_bot.plugin_manager`."""

    plugin = MODULE
    config = {"PLUGINS_CALLBACK_ORDER": ("Tried", None)}
    files = {
        "more/more.plug": "[Core]\nName = More\nModule = more_managed\n\n[Documentation]\nDescription = More.\n",
        "more/more_managed.py": MODULE.replace("hello", "more"),
        "bad.plug": "[Core]\nName = Bad\nModule = bad_managed\n",
        "bad_managed.py": "1 / 0\n",
        "flows.flow": "[Core]\nName = ManagedFlows\nModule = managed_flows\n",
        "managed_flows.py": """
            from errbot import BotFlow, botflow

            class ManagedFlows(BotFlow):
                @botflow
                def managed(self, flow):
                    '''A flow.'''
                    flow.connect("hello").connect("more")
            """,
    }

    def setUp(self) -> None:
        """Get the plugin manager."""
        super().setUp()
        self.manager: Any = self.bot.plugin_manager

    def test_what_there_is(self) -> None:
        """The plugin manager has instances, the information of `.plug` files, and flows, by name."""
        self.assertIs(self.manager.plugins["Tried"], self.manager.get_plugin_obj_by_name("Tried"))
        self.assertIsNone(self.manager.get_plugin_obj_by_name("Nothing"))
        self.assertEqual(self.manager.plugin_infos["More"].doc, "More.")
        self.assertEqual(list(self.manager.flows), ["ManagedFlows"])
        self.assertIn("Kit", self.manager.get_all_plugin_names())

    def test_active_ones(self) -> None:
        """`get_all_active_plugins` has the order of PLUGINS_CALLBACK_ORDER."""
        active = self.manager.get_all_active_plugins()
        self.assertEqual(active[0].name, "Tried")
        self.assertEqual(sorted(one.name for one in active), sorted(self.manager.get_all_active_plugin_names()))

    def test_activated_and_deactivated(self) -> None:
        """Plugins are activated and deactivated by name; activating an active or unknown one raises an error."""
        from errbot.plugin_manager import PluginActivationException

        self.manager.deactivate_plugin("Tried")
        self.assertNotIn("Tried", self.manager.get_all_active_plugin_names())
        self.manager.deactivate_plugin("Tried")
        self.manager.activate_plugin("Tried")
        self.assertIn("Tried", self.manager.get_all_active_plugin_names())
        for name in ("Tried", "Nothing", "Bad"):
            with self.assertRaises(PluginActivationException):
                self.manager.activate_plugin(name)
        with self.assertRaises(KeyError):
            self.manager.deactivate_plugin("Nothing")

    def test_reloaded(self) -> None:
        """Plugins are reloaded by name; an unknown name raises KeyError."""
        self.write("tried.py", MODULE.replace('"hello"', '"hello again"'))
        self.manager.reload_plugin_by_name("Tried")
        self.assertEqual(self.ask("!hello"), "hello again")
        with self.assertRaises(KeyError):
            self.manager.reload_plugin_by_name("Nothing")

    def test_all_of_them(self) -> None:
        """All plugins can be deactivated and activated again."""
        self.manager.deactivate_all_plugins()
        self.assertEqual(self.manager.get_all_active_plugins(), [])
        self.manager.activate_non_started_plugins()
        self.assertIn("Tried", self.manager.get_all_active_plugin_names())
        self.assertEqual(self.ask("!hello"), "hello")

    def test_blacklisted(self) -> None:
        """A blacklisted plugin isn't activated with the others; the result has the command that changes that."""
        self.manager.blacklist_plugin("Tried")
        self.manager.deactivate_plugin("Tried")
        told = self.manager.activate_non_started_plugins()
        self.assertIsInstance(told, str)
        self.assertIn("blacklisted", told)
        self.assertIn("!plugin unblacklist Tried", told)
        self.assertNotIn("Tried", self.manager.get_all_active_plugin_names())
        self.assertEqual(self.manager.get_blacklisted_plugin(), ["Tried"])

    def test_errors_are_told(self) -> None:
        """`activate_non_started_plugins` returns the reasons of failures."""
        self.write("new/new.plug", "[Core]\nName = New\nModule = new_managed\nDependsOn = Missing\n")
        self.write("new/new_managed.py", MODULE.replace("hello", "new"))
        self.manager.update_plugin_places([str(self.directory)])
        self.assertIn("Missing", self.manager.activate_non_started_plugins())

    def test_configurations(self) -> None:
        """Configurations and the blacklist are stored in the namespace "core"."""
        self.assertIsNone(self.manager.get_plugin_configuration("Tried"))
        self.manager.set_plugin_configuration("Tried", {"a": 1})
        self.addCleanup(self.manager.set_plugin_configuration, "Tried", None)
        self.assertEqual(self.manager.get_plugin_configuration("Tried"), {"a": 1})
        self.manager.blacklist_plugin("Kit")
        self.addCleanup(self.manager.unblacklist_plugin, "Kit")
        self.assertEqual(self.manager["configs"]["Tried"], {"a": 1})
        self.assertEqual(self.manager["bl_plugins"], ["Kit"])
        self.assertEqual(self.manager.namespace, "core")

    def problems(self, place: Path) -> dict[Path, str]:
        """Load plugins from a further directory and return its errors by path."""
        problems = self.manager.update_plugin_places([str(place)])
        self.assertTrue(all(isinstance(path, Path) for path in problems))
        return {path: problem for path, problem in problems.items() if path.is_relative_to(place)}

    def test_places(self) -> None:
        """Plugins in further directories can be loaded and then activated."""
        self.write("new/new.plug", "[Core]\nName = New\nModule = new_place\n")
        self.write("new/new_place.py", MODULE.replace("hello", "new"))
        self.assertEqual(self.problems(self.directory / "new"), {})
        self.assertIn("New", self.manager.plugins)
        self.assertNotIn("New", self.manager.get_all_active_plugin_names())
        self.manager.activate_non_started_plugins()
        self.assertEqual(self.ask("!new"), "new")

    def test_problems_of_places(self) -> None:
        """An invalid `.plug` file is an error with its path."""
        self.write("odd/odd.plug", "[Core]\n")
        self.assertEqual(len(self.problems(self.directory / "odd")), 1)

    def test_problems_of_flows(self) -> None:
        """An invalid `.flow` file is an error with its path."""
        self.write("odd/odd.plug", "[Core]\nName = Odd\nModule = odd_with_flows\n")
        self.write("odd/odd_with_flows.py", MODULE.replace("hello", "odd"))
        self.write("odd/odd.flow", "[Core]\n")
        self.assertEqual(len(self.problems(self.directory / "odd")), 1)

    def test_by_path(self) -> None:
        """`get_plugins_by_path` returns the instances of plugins in a directory."""
        found = list(self.manager.get_plugins_by_path(str(self.directory / "more")))
        self.assertEqual(found, [self.manager.plugins["More"]])

    def test_removed(self) -> None:
        """A removed plugin is unknown to the plugin manager."""
        self.manager.remove_plugin(self.manager.plugins["More"])
        for names in (self.manager.plugins, self.manager.plugin_infos, self.manager.get_all_plugin_names()):
            self.assertNotIn("More", names)
        self.assertIn("not found", self.ask("!more"))

    def test_removed_by_path(self) -> None:
        """All plugins in a directory can be removed."""
        self.manager.remove_plugins_from_path(str(self.directory / "more"))
        self.assertNotIn("More", self.manager.plugin_infos)
        self.assertIn("not found", self.ask("!more"))
        self.assertIn("Tried", self.manager.plugin_infos)

    def test_flows(self) -> None:
        """Flows are activated and deactivated by the Name in their `.flow` file."""
        self.assertIn("managed", self.bot.flow_executor.flow_roots)
        with self.assertRaises(KeyError):
            self.manager.deactivate_flow("Nothing")
        self.manager.deactivate_flow("ManagedFlows")
        self.manager.activate_flow("ManagedFlows")
        self.assertIn("managed", self.bot.flow_executor.flow_roots)

    @decided("flows stay after deactivation")
    def test_deactivated_flows(self) -> None:
        """Deactivated flows aren't in the list of flows."""
        self.manager.deactivate_flow("ManagedFlows")
        self.assertNotIn("managed", self.bot.flow_executor.flow_roots)


class ReloadedTests(ContractTest):
    """The effect of a reload on other modules."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def ask(self, msg, args):
                return self.get_plugin("Below").answer()
        """
    plug = "DependsOn = Below\n"
    files = {
        "below.plug": "[Core]\nName = Below\nModule = below\n",
        "below.py": """
            import beside
            from errbot import BotPlugin

            class Below(BotPlugin):
                def answer(self):
                    return "old, " + beside.ANSWER
            """,
        "beside.py": "ANSWER = 'first'\n",
    }

    def test_dependents(self) -> None:
        """Plugins that depend on the reloaded one keep their instances and use the new code."""
        before = self.instance()
        self.write("below.py", self.files["below.py"].replace("old", "new"))
        self.assertIn("reloaded", self.ask("!plugin reload Below"))
        self.assertIs(self.instance(), before)
        self.assertEqual(self.ask("!ask"), "new, first")

    @decided("helper modules aren't reloaded")
    def test_helpers(self) -> None:
        """Helper modules beside the plugin are reloaded as well."""
        self.assertEqual(self.ask("!ask"), "old, first")
        self.write("beside.py", "ANSWER = 'the second'\n")
        self.replies("!plugin reload Below")
        self.assertEqual(self.ask("!ask"), "old, the second")
