"""Monkey patches of gevent and eventlet, which packages with the same names stand for here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent

from errklein.plugins.imports import PluginLoadError, load_module
from tests import needs_network
from tests.plugin_files import PluginFilesTestCase
from tests.processes import TWISTD, Program, write_config, write_plugin

PATCHES = """
    import os

    def patch_all(**options):
        os._exit(3)

    def patch_socket():
        os._exit(3)

    def get_original(module, name):
        return name

    monkey_patch = patch_all
"""


class MonkeyPatchTests(PluginFilesTestCase):
    """Plugins that import gevent or eventlet."""

    def setUp(self) -> None:
        """Write the packages into a directory of `sys.path`."""
        super().setUp()
        packages = self.directory / "packages"
        self.write("packages/gevent/__init__.py", "from gevent.monkey import get_original\n")
        self.write("packages/gevent/monkey/__init__.py", PATCHES)
        self.write(
            "packages/eventlet/__init__.py", "from eventlet import patcher\nmonkey_patch = patcher.monkey_patch\n"
        )
        self.write("packages/eventlet/patcher.py", PATCHES)
        self.patch(sys, "path", [str(packages), *sys.path])
        self.addCleanup(self.forget)
        self.packages = packages

    def forget(self) -> None:
        """Forget the packages."""
        for name in [name for name in sys.modules if name.partition(".")[0] in ("gevent", "eventlet")]:
            del sys.modules[name]

    def test_patches_are_refused(self) -> None:
        """A plugin that applies the patches isn't loaded; the error has its line, and what to do."""
        for number, source in enumerate(
            (
                "from gevent import monkey\nmonkey.patch_all()",
                "from gevent.monkey import patch_all\npatch_all(thread=False)",
                "import gevent.monkey\ngevent.monkey.patch_socket()",
                "import eventlet\neventlet.monkey_patch()",
            )
        ):
            plug = self.plugin(f"Plugin{number}", source)
            error = str(self.assertRaises(PluginLoadError, load_module, plug))
            self.assertIn("main.py, line 2: MonkeyPatchesRefused: ", error)
            self.assertIn("Remove the call", error)
            self.forget()

    def test_imports_alone(self) -> None:
        """A plugin may import the packages, and use their other functions."""
        plug = self.plugin("Alpha", "import eventlet, gevent.monkey\nname = gevent.monkey.get_original('socket', 'a')")
        self.assertEqual(load_module(plug).name, "a")

    def test_bot_goes_on(self) -> None:
        """A bot with such a plugin runs, and notifies administrators of it."""
        needs_network()
        source = (
            "import gevent.monkey\ngevent.monkey.patch_all()\nfrom errklein import BotPlugin\nclass G(BotPlugin): pass"
        )
        write_plugin(self.directory / "plugins", "Greenlets", dedent(source))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins")})
        path = os.pathsep.join(filter(None, [str(self.packages), os.environ.get("PYTHONPATH", "")]))
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": path})
        program = Program(TWISTD, "-n", "errklein", cwd=Path(self.directory))
        self.addCleanup(program.kill)
        program.wait_for("Connected to null")
        self.assertIn("Notifying administrators: Greenlets could not be loaded: ", program.text)
