"""Chapter 8: discovery, loading, activation and reload of plugins."""

from __future__ import annotations

import io
import sys
import tempfile
import textwrap
import unittest
from configparser import ConfigParser
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from tests.contract.kit import ContractTest, decided

MODULE = """
    from errbot import BotPlugin, botcmd

    class Plugin(BotPlugin):
        @botcmd
        def hello(self, msg, args):
            return "hello"
    """


class PlugTests(ContractTest):
    """The fields of `.plug` files."""

    plugin = MODULE

    def refused(self, plug: str) -> str:
        """Activate a plugin with this text in its `.plug` file; return the error, or "" if it is active."""
        self.write("odd/odd.plug", f"[Core]\nName = Odd\nModule = odd\n{plug}")
        self.write("odd/odd.py", MODULE.replace("hello", "odd"))
        problems: Any = self.bot.plugin_manager.update_plugin_places([str(self.directory)])
        text = " ".join(str(problem) for problem in problems.values())
        text += self.bot.plugin_manager.activate_non_started_plugins()
        self.until_quiet()
        if "Odd" in self.bot.plugin_manager.get_all_active_plugin_names():
            return ""
        return text or "silence"

    def test_description(self) -> None:
        """If the class has no docstring, `!help` displays the Description."""
        self.assertEqual(self.refused("[Documentation]\nDescription = Odd things.\n"), "")
        self.assertIn("Odd things.", self.ask("!help Odd"))

    def test_python_versions(self) -> None:
        """A plugin for Python 2 is not activated."""
        self.assertTrue(self.refused("[Python]\nVersion = 2\n"))

    def test_python_versions_that_work(self) -> None:
        """A plugin for Python 2+ is activated."""
        self.assertEqual(self.refused("[Python]\nVersion = 2+\n"), "")

    def test_python_version_that_is_too_new(self) -> None:
        """A plugin for a newer Python is not activated."""
        self.assertTrue(self.refused("[Python]\nVersion = 9.0.0\n"))

    @decided("the reason isn't sent to the chat")
    def test_python_version_is_told(self) -> None:
        """The error message has the reason."""
        self.assertIn("Python", self.refused("[Python]\nVersion = 9.0.0\n"))

    def test_errbot_versions(self) -> None:
        """Min and Max are inclusive."""
        from errbot.version import VERSION

        self.assertEqual(self.refused(f"[Errbot]\nMin = {VERSION}\nMax = {VERSION}\n"), "")

    def test_errbot_too_old(self) -> None:
        """A plugin that needs a newer errbot is not activated; the error has the version."""
        self.assertIn("99", self.refused("[Errbot]\nMin = 99.0.0\n"))

    def test_errbot_too_new(self) -> None:
        """A plugin that needs an older errbot is not activated; the error has the version."""
        self.assertRegex(self.refused("[Errbot]\nMax = 1.0.0\n"), r"1\.0\.0|1, 0, 0")

    def test_dependencies_that_there_are_not(self) -> None:
        """A plugin with a missing dependency is not activated; the error names the dependency."""
        self.assertIn("Missing", self.refused("DependsOn = Missing\n"))


class FoundTests(ContractTest):
    """Discovery of plugins."""

    files = {
        "deep/er/one.plug": "[Core]\nName = One\nModule = one\n",
        "deep/er/one.py": MODULE.replace("hello", "one"),
        ".hidden/two.plug": "[Core]\nName = Two\nModule = two\n",
        ".hidden/two.py": MODULE.replace("hello", "two"),
        "__pycache__/three.plug": "[Core]\nName = Three\nModule = three\n",
        "__pycache__/three.py": MODULE.replace("hello", "three"),
    }

    def test_below(self) -> None:
        """Plugins are found in subdirectories, except in hidden ones and `__pycache__`."""
        names = self.bot.plugin_manager.get_all_plugin_names()
        self.assertIn("One", names)
        self.assertNotIn("Two", names)
        self.assertNotIn("Three", names)
        self.assertEqual(self.ask("!one"), "one")


class DependencyTests(ContractTest):
    """DependsOn."""

    files = {
        "a.plug": "[Core]\nName = A\nModule = amod\nDependsOn = B, C\n",
        "amod.py": """
            from errbot import BotPlugin, botcmd

            class A(BotPlugin):
                @botcmd
                def ask_b(self, msg, args):
                    return self.get_plugin("B").answer()
            """,
        "b.plug": "[Core]\nName = B\nModule = bmod\nDependsOn = C\n",
        "bmod.py": """
            from errbot import BotPlugin

            class B(BotPlugin):
                def answer(self):
                    return "b and " + self.get_plugin("C").answer()
            """,
        "c.plug": "[Core]\nName = C\nModule = cmod\n",
        "cmod.py": """
            from errbot import BotPlugin

            class C(BotPlugin):
                def answer(self):
                    return "c"
            """,
        "x.plug": "[Core]\nName = X\nModule = xmod\nDependsOn = Y\n",
        "xmod.py": MODULE.replace("hello", "xhello"),
        "y.plug": "[Core]\nName = Y\nModule = ymod\nDependsOn = X\n",
        "ymod.py": MODULE.replace("hello", "yhello"),
    }

    def test_activated_before(self) -> None:
        """A plugin is activated after its dependencies."""
        self.drain()
        self.assertEqual(self.ask("!ask b"), "b and c")

    def test_circles(self) -> None:
        """Plugins with circular dependencies aren't activated; all others are."""
        active = self.bot.plugin_manager.get_all_active_plugin_names()
        self.assertNotIn("X", active)
        self.assertNotIn("Y", active)
        self.assertIn("A", active)

    def test_circles_are_told(self) -> None:
        """Activating one of them raises an error that names both."""
        from errbot.plugin_manager import PluginActivationException

        with self.assertRaises(PluginActivationException) as caught:
            self.bot.plugin_manager.activate_plugin("X")
        self.assertRegex(str(caught.exception), r"\bX\b")
        self.assertRegex(str(caught.exception), r"\bY\b")


TIMED = """
    import time
    from errbot import BotPlugin

    class {name}(BotPlugin):
        activated_at = None

        def activate(self):
            super().activate()
            self.activated_at = time.perf_counter()
    """


def timed(**needs: str) -> dict[str, str]:
    """Return the files of plugins that record the time of their activation, with their dependencies."""
    files = {}
    for name, others in needs.items():
        files[f"{name}.plug"] = f"[Core]\nName = {name}\nModule = order_{name}\nDependsOn = {others}\n"
        files[f"order_{name}.py"] = TIMED.format(name=name)
    return files


class OrderTests(ContractTest):
    """The order of activation when the bot starts."""

    files = timed(A="B, C", B="C", C="D", D="", E="A")

    def test_dependencies_first(self) -> None:
        """Each plugin is activated after its dependencies, whatever the names of plugins and files are."""
        order = sorted("ABCDE", key=lambda name: self.instance(name).activated_at)
        self.assertEqual("".join(order), "DCBAE")


class ModuleTests(ContractTest):
    """Loading of a plugin's module."""

    plugin = """
        from dataclasses import dataclass
        from errbot import BotPlugin, botcmd
        from helper import help_out
        import package.part

        class Tried(BotPlugin):
            @botcmd
            def helped(self, msg, args):
                return help_out() + package.part.VALUE
        """
    files = {
        "helper.py": "def help_out():\n    return 'helped '\n",
        "package/__init__.py": "",
        "package/part.py": "VALUE = 'by a part'\n",
    }

    def test_siblings(self) -> None:
        """A plugin can import modules and packages beside it."""
        self.assertEqual(self.ask("!helped"), "helped by a part")

    def test_name(self) -> None:
        """The module is `errbot.plugins.<Module>` in `sys.modules`, and patching it has an effect on the plugin."""
        module = sys.modules["errbot.plugins.tried"]
        self.assertIs(module.Tried, type(self.instance()))
        with mock.patch.object(module, "help_out", return_value="not helped "):
            self.assertEqual(self.ask("!helped"), "not helped by a part")


class SameModuleTests(ContractTest):
    """Plugins whose modules have the same name."""

    files = {
        "one/one.plug": "[Core]\nName = One\nModule = of_one_name\n",
        "one/of_one_name.py": MODULE.replace("hello", "one"),
        "two/two.plug": "[Core]\nName = Two\nModule = of_one_name\n",
        "two/of_one_name.py": MODULE.replace("hello", "two"),
    }

    def test_both(self) -> None:
        """Each plugin has the module beside its own `.plug` file."""
        self.assertEqual((self.ask("!one"), self.ask("!two")), ("one", "two"))


class DataclassTests(ContractTest):
    """Modules with postponed annotations."""

    files = {
        # The name of the module is unique, since errbot finds modules that other tests have left in sys.modules.
        "dataclasses_only.plug": "[Core]\nName = Dataclasses\nModule = dataclasses_only\n",
        "dataclasses_only.py": """
            from __future__ import annotations
            from dataclasses import dataclass
            from errbot import BotPlugin, botcmd

            @dataclass
            class Value:
                number: int

            class Dataclasses(BotPlugin):
                @botcmd
                def value(self, msg, args):
                    return str(Value(5))
            """,
    }

    @decided("the module can't be loaded")
    def test_dataclass(self) -> None:
        """`@dataclass` works in a module with postponed annotations."""
        self.assertEqual(self.ask("!value"), "Value(number=5)")


class BrokenTests(ContractTest):
    """Plugins that can't be loaded or activated."""

    plugin = MODULE
    files = {
        "broken.plug": "[Core]\nName = Broken\nModule = broken\n",
        "broken.py": "import there_is_no_such_module\n",
        "syntax.plug": "[Core]\nName = Syntax\nModule = syntax\n",
        "syntax.py": "def (:\n",
        "empty.plug": "[Core]\nName = Empty\nModule = empty\n",
        "empty.py": "",
        "init.plug": "[Core]\nName = Init\nModule = initmod\n",
        "initmod.py": """
            from errbot import BotPlugin

            class Init(BotPlugin):
                def __init__(self, bot, name):
                    raise RuntimeError("no instance")
            """,
        "activate.plug": "[Core]\nName = Activate\nModule = activatemod\n",
        "activatemod.py": """
            from errbot import BotPlugin

            class Activate(BotPlugin):
                def activate(self):
                    raise RuntimeError("not today")
            """,
    }

    def test_others_work(self) -> None:
        """All other plugins are active."""
        self.drain()
        self.assertEqual(self.ask("!hello"), "hello")
        active = self.bot.plugin_manager.get_all_active_plugin_names()
        for name in ("Broken", "Syntax", "Empty", "Init", "Activate"):
            self.assertNotIn(name, active)

    def test_activation_tells(self) -> None:
        """The reply to `!plugin activate` has the exception's text."""
        self.drain()
        self.assertIn("not today", self.ask("!plugin activate Activate"))


class UndoneTests(ContractTest):
    """Activations that fail halfway."""

    half_way = """
        from errbot import BotPlugin, botcmd

        class {name}(BotPlugin):
            undone = 0

            def {method}(self):
                super().{method}()
                raise RuntimeError("not today")

            def deactivate(self):
                self.undone += 1
                super().deactivate()

            @botcmd
            def of_{method}(self, msg, args):
                return "there"
        """
    files = {
        "begins.plug": "[Core]\nName = Begins\nModule = begins\n",
        "begins.py": half_way.format(name="Begins", method="activate"),
        "connects.plug": "[Core]\nName = Connects\nModule = connects\n",
        "connects.py": half_way.format(name="Connects", method="callback_connect"),
    }

    def test_deactivated(self) -> None:
        """If `activate` or `callback_connect` raises an exception, the activation fails, and the plugin is
        deactivated.
        """
        from errbot.plugin_manager import PluginActivationException

        for name in ("Begins", "Connects"):
            plugin = self.instance(name)
            plugin.undone = 0
            with self.assertRaises(PluginActivationException) as caught:
                self.bot.plugin_manager.activate_plugin(name)
            self.assertIn("not today", str(caught.exception))
            self.assertEqual((plugin.undone, plugin.is_activated, plugin.is_open_storage()), (1, False, False))
        self.drain()
        self.assertIn("not found", self.ask("!of activate"))
        self.assertIn("not found", self.ask("!of callback connect"))


class ReloadTests(ContractTest):
    """`!plugin reload` and related commands."""

    plugin = MODULE

    def change(self) -> None:
        """Change a reply in the plugin's file."""
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace('"hello"', '"hello again"'))

    def test_reload(self) -> None:
        """After a reload the new code is used."""
        self.change()
        self.assertIn("Plugin Tried reloaded.", self.ask("!plugin reload Tried"))
        self.assertEqual(self.ask("!hello"), "hello again")

    def test_unknown(self) -> None:
        """An unknown plugin is an error for each command."""
        for command in ("reload", "activate", "deactivate", "blacklist", "unblacklist"):
            self.assertIn("isn't a valid plugin name", self.ask(f"!plugin {command} Nothing"), command)

    def test_deactivate_and_activate(self) -> None:
        """A deactivated plugin has no commands; a repeated command reports the state."""
        self.assertIn("deactivated", self.ask("!plugin deactivate Tried"))
        self.assertIn("already deactivated", self.ask("!plugin deactivate Tried"))
        self.assertIn("not found", self.ask("!hello"))
        self.assertIn("activated", self.ask("!plugin activate Tried"))
        self.assertIn("already activated", self.ask("!plugin activate Tried"))
        self.assertEqual(self.ask("!hello"), "hello")

    def test_blacklisted_at_once(self) -> None:
        """`!plugin blacklist` deactivates the plugin, and `!plugin unblacklist` activates it."""
        self.ask("!plugin blacklist Tried")
        self.assertFalse(self.instance().is_activated)
        self.assertRegex(self.ask("!status plugins"), r"│ *B,D *│ *Tried|• B,D .*Tried")
        self.ask("!plugin unblacklist Tried")
        self.assertTrue(self.instance().is_activated)
        self.assertRegex(self.ask("!status plugins"), r"│ *A *│ *Tried|Active: .*Tried")

    def test_blacklist(self) -> None:
        """The plugin manager remembers blacklisted plugins."""
        self.assertIn("is now blacklisted", self.ask("!plugin blacklist Tried"))
        self.assertTrue(self.bot.plugin_manager.is_plugin_blacklisted("Tried"))
        self.assertIn("Tried", self.bot.plugin_manager.get_blacklisted_plugin())
        self.assertIn("already blacklisted", self.ask("!plugin blacklist Tried"))
        self.assertIn("removed from blacklist", self.ask("!plugin unblacklist Tried"))
        self.assertFalse(self.bot.plugin_manager.is_plugin_blacklisted("Tried"))
        self.assertIn("not blacklisted", self.ask("!plugin unblacklist Tried"))

    def test_info(self) -> None:
        """`!plugin info` displays the plugin's name, module and file."""
        info = self.ask("!plugin info Tried")
        for part in ("tried.plug", "Tried", "tried"):
            self.assertIn(part, info)

    @decided("an inactive plugin is active after a reload")
    def test_inactive_stays_inactive(self) -> None:
        """A reload doesn't activate an inactive plugin."""
        self.ask("!plugin deactivate Tried")
        self.replies("!plugin reload Tried")
        self.assertNotIn("Tried", self.bot.plugin_manager.get_all_active_plugin_names())

    def test_reload_of_an_inactive_plugin(self) -> None:
        """The reply to a reload of an inactive plugin has the command that activates it."""
        self.ask("!plugin deactivate Tried")
        replies = "\n".join(self.replies("!plugin reload Tried"))
        self.assertIn("Plugin Tried reloaded.", replies)
        self.assertIn("!plugin activate Tried", replies)

    @decided("the class of the old instance is swapped")
    def test_new_instance(self) -> None:
        """After a reload there is a new instance."""
        before = self.instance()
        before.attribute = 1
        self.ask("!plugin reload Tried")
        self.assertFalse(hasattr(self.instance(), "attribute"))


class SelectedTests(ContractTest):
    """CORE_PLUGINS."""

    plugin = MODULE
    config = {"CORE_PLUGINS": ("Utils", "Plugins")}
    files = {
        "own/own.plug": "[Core]\nName = Own\nModule = own\nCore = True\n",
        "own/own.py": "from errbot import BotPlugin\nclass Own(BotPlugin):\n    pass\n",
    }

    def test_only_those(self) -> None:
        """Core plugins that aren't listed aren't loaded."""
        self.assertEqual(self.ask("!hello"), "hello")
        self.assertNotIn("Health", self.bot.plugin_manager.get_all_plugin_names())
        self.assertIn("Utils", self.bot.plugin_manager.get_all_plugin_names())

    def test_core_by_their_own_account(self) -> None:
        """A plugin with `Core = True` counts as a core plugin."""
        self.assertNotIn("Own", self.bot.plugin_manager.get_all_plugin_names())


class PluginInfoTests(unittest.TestCase):
    """`PluginInfo`."""

    text: ClassVar[str] = textwrap.dedent(
        """
        [Core]
        Name = Tried
        Module = tried
        DependsOn = A, B

        [Documentation]
        Description = Tries.

        [Errbot]
        Min = 2.4.0
        """
    )

    def test_parsed(self) -> None:
        """`parse` returns the fields of a `.plug` file."""
        from errbot.plugin_info import PluginInfo

        parser = ConfigParser()
        parser.read_string(self.text)
        info = PluginInfo.parse(parser)
        self.assertEqual((info.name, info.module, info.doc, info.core), ("Tried", "tried", "Tries.", False))
        self.assertEqual(sorted(info.dependencies), ["A", "B"])

    def parsed(self, more: str) -> Any:
        """Return the information in a file with these lines after its Name and Module."""
        from errbot.plugin_info import PluginInfo

        parser = ConfigParser()
        parser.read_string(f"[Core]\nName = Tried\nModule = tried\n{more}")
        return PluginInfo.parse(parser)

    def test_defaults(self) -> None:
        """All fields except Name and Module are optional."""
        info = self.parsed("")
        self.assertEqual((info.core, list(info.dependencies), info.doc), (False, [], None))
        self.assertEqual((info.python_version, info.errbot_minversion, info.errbot_maxversion), (None, None, None))
        self.assertTrue(self.parsed("Core = True\n").core)

    def test_versions(self) -> None:
        """Versions are tuples, in which errbot's pre-releases come before the release."""
        for text, version in (("2", (2, 0, 0)), ("2+", (3, 0, 0)), ("3", (3, 0, 0)), ("3.4.5-beta", (3, 4, 5))):
            self.assertEqual(self.parsed(f"[Python]\nVersion = {text}\n").python_version[:3], version)
        ascending = ("1.2.2", "1.2.3-alpha", "1.2.3-beta", "1.2.3-rc1", "1.2.3-rc2", "1.2.3", "1.10.0")
        versions = [self.parsed(f"[Errbot]\nMin = {text}\n").errbot_minversion for text in ascending]
        self.assertEqual(sorted(versions), versions)
        self.assertEqual(len(set(versions)), len(ascending))
        self.assertEqual(self.parsed("[Errbot]\nMax = 1.2.3\n").errbot_maxversion, versions[5])

    def test_load_file(self) -> None:
        """`load_file` reads an open file and stores its location."""
        from errbot.plugin_info import PluginInfo

        info = PluginInfo.load_file(io.StringIO(self.text), Path("/somewhere/tried.plug"))
        self.assertEqual((info.name, info.location), ("Tried", Path("/somewhere/tried.plug")))

    def test_load_classes(self) -> None:
        """`load` reads a path, and `load_plugin_classes` returns the subclasses of a class."""
        from errbot.plugin_info import PluginInfo

        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "tried.plug").write_text(self.text)
            Path(directory, "tried.py").write_text("class Tried:\n    pass\n\nclass Derived(dict):\n    pass\n")
            info = PluginInfo.load(Path(directory, "tried.plug"))
            found = info.load_plugin_classes("contract_base", dict)
        self.assertEqual([cls.__name__ for _, cls in found], ["Derived"])
