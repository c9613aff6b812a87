"""`PluginInfo`: the content of a `.plug` file in errbot's form."""

from __future__ import annotations

import sys
from configparser import ConfigParser, NoOptionError
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.plugin_info import PluginInfo

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
