"""`_bot.plugin_manager`, as plugins written for errbot use it."""

from __future__ import annotations

import sys
from configparser import ConfigParser, NoOptionError
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd
from errklein.compat.plugin_manager import PluginInfo, check_errbot_version, check_python_plug_section
from errklein.plugins.plugin import IncompatiblePluginException, PluginActivationException
from errklein.testing import TestBot


class First(BotPlugin):
    """A plugin without commands."""

    def get_configuration_template(self) -> dict[str, int]:
        return {"a": 1}


class Second(BotPlugin):
    """A plugin that uses the plugin manager in its activation."""

    async def activate(self) -> None:
        super().activate()
        manager = self._bot.plugin_manager
        if "First" not in manager.get_all_active_plugin_names():
            await manager.activate_plugin("First")

    @botcmd
    def names(self, msg: Any, args: str) -> str:
        """Return the names of active plugins."""
        return ", ".join(self._bot.plugin_manager.get_all_active_plugin_names())


class ManagerTests(SynchronousTestCase):
    """errbot's names for the manager's methods."""

    def setUp(self) -> None:
        """Create a bot with two plugins, and a directory for others."""
        self.bot = TestBot([First, Second])
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.manager: Any = self.bot.bot.plugin_manager
        self.directory = Path(self.mktemp()).absolute()

    def write(self, name: str, code: str = "from errbot import BotPlugin\nclass P(BotPlugin): pass\n") -> Path:
        """Write a plugin and return the path of its `.plug` file."""
        folder = self.directory / name
        folder.mkdir(parents=True)
        (folder / "code.py").write_text(code)
        plug = folder / f"{name}.plug"
        plug.write_text(f"[Core]\nName = {name}\nModule = code\n")
        return plug

    def result(self, deferred: Deferred[Any]) -> Any:
        """Return the result of a change that is made on the reactor."""
        return self.successResultOf(deferred)

    def test_what_cannot_be_loaded(self) -> None:
        """A plugin that failed to load can't be activated or reloaded; both raise errbot's exception."""
        path = self.write("Bad", "1 / 0\n").parent
        self.assertIn("ZeroDivisionError", str(self.result(self.manager.update_plugin_places([path]))))
        for change in (self.manager.activate_plugin, self.manager.reload_plugin_by_name):
            failure = self.failureResultOf(change("Bad"), PluginActivationException)
            self.assertIn("Bad could not be loaded", failure.getErrorMessage())
        self.flushLoggedErrors()
        self.failureResultOf(self.manager.deactivate_flow("Nope"), KeyError)

    def test_a_change_in_a_change(self) -> None:
        """A plugin can activate another plugin in its own activation."""
        self.result(self.manager.deactivate_plugin("First"))
        self.result(self.manager.deactivate_plugin("Second"))
        self.result(self.manager.activate_plugin("Second"))
        self.assertIn("First", self.bot.command("!names"))

    def test_order_of_activation(self) -> None:
        """Each plugin comes after its dependencies, also if there are circles."""
        for name, needs in (("Aa", "Bb"), ("Bb", "Cc"), ("Cc", "Cc")):
            plug = self.write(name)
            plug.write_text(plug.read_text() + f"DependsOn = {needs}\n")
        self.result(self.manager.update_plugin_places([self.directory]))
        order = [name for name in self.manager.get_plugins_activation_order() if name in ("Aa", "Bb", "Cc")]
        self.assertEqual(order, ["Cc", "Bb", "Aa"])


def info(**versions: Any) -> PluginInfo:
    """Return the information in a `.plug` file with these versions."""
    known = {"python_version": None, "errbot_minversion": None, "errbot_maxversion": None}
    return PluginInfo("X", "x", None, False, **(known | versions), dependencies=[])


class VersionTests(SynchronousTestCase):
    """Checks of versions."""

    def test_errbot(self) -> None:
        """A plugin for a newer or older errbot is refused."""
        check_errbot_version(info(errbot_minversion=(6, 0, 0, 9), errbot_maxversion=(99, 0, 0, 9)))
        with self.assertRaises(IncompatiblePluginException):
            check_errbot_version(info(errbot_minversion=(99, 0, 0, 9)))
        with self.assertRaises(IncompatiblePluginException):
            check_errbot_version(info(errbot_maxversion=(5, 0, 0, 9)))

    def test_python(self) -> None:
        """A plugin for a newer Python, or for Python 2, is refused."""
        self.assertTrue(check_python_plug_section(info()))
        self.assertTrue(check_python_plug_section(info(python_version=(3, 0, 0))))
        self.assertFalse(check_python_plug_section(info(python_version=(2, 0, 0))))
        self.assertFalse(check_python_plug_section(info(python_version=sys.version_info[:3])))
        self.assertFalse(check_python_plug_section(info(python_version=(3, 99, 0))))


PLUG = """
[Core]
Name = Thing
Module = thing
DependsOn = One, Two
[Documentation]
Description = Does the thing.
[Python]
Version = 2+
[Errbot]
Min = 6.1.0-beta
Max = 9.0.0
"""


def parsed(text: str) -> PluginInfo:
    """Return the information in the text of a `.plug` file."""
    config = ConfigParser()
    config.read_string(text)
    return PluginInfo.parse(config)


class PluginInfoTests(SynchronousTestCase):
    """Reading of files."""

    def setUp(self) -> None:
        """Write a plugin."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.plug = self.directory / "thing.plug"
        self.plug.write_text(PLUG)

    def test_mistakes(self) -> None:
        """The error about a missing key or an invalid version names it."""
        with self.assertRaises(NoOptionError):
            parsed("[Core]\nName = A\n")
        with self.assertRaisesRegex(ValueError, "invalid version of Python: '3.x'"):
            parsed("[Core]\nName=A\nModule=a\n[Python]\nVersion=3.x\n")
        for key in ("Min", "Max"):
            with self.assertRaisesRegex(ValueError, "invalid version of errbot: '6'"):
                parsed(f"[Core]\nName=A\nModule=a\n[Errbot]\n{key}=6\n")

    def test_classes(self) -> None:
        """`load_plugin_classes` executes the module as an entry of `sys.modules`, and returns its classes."""
        (self.directory / "thing.py").write_text(
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass Value:\n    x: int\nclass B(dict): pass\nclass A(dict): pass\n"
        )
        info = PluginInfo.load(self.plug)
        self.addCleanup(sys.modules.pop, "tests.loaded.thing", None)
        found = info.load_plugin_classes("tests.loaded", dict)
        self.assertEqual([name for name, _ in found], ["A", "B"])
        self.assertEqual(found[0][1].__module__, "tests.loaded.thing")

    def test_a_module_that_raises(self) -> None:
        """An exception of the module is raised, and the module is removed."""
        (self.directory / "thing.py").write_text("1 / 0\n")
        with self.assertRaises(ZeroDivisionError):
            PluginInfo.load(self.plug).load_plugin_classes("tests.loaded", dict)
        self.assertNotIn("tests.loaded.thing", sys.modules)
        with self.assertRaisesRegex(ValueError, "location of the .plug file of A is unknown"):
            parsed("[Core]\nName = A\nModule = a\n").load_plugin_classes("tests.loaded", dict)
