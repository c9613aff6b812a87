"""Errors in plugins' code, as administrators read them."""

from __future__ import annotations

from errklein.plugins.imports import PluginLoadError, load_module
from errklein.plugins.load_errors import located_error
from tests.plugin_files import PluginFilesTestCase


class LoadErrorTests(PluginFilesTestCase):
    """Errors when a plugin is loaded."""

    def test_own_cause(self) -> None:
        """An exception that is its own cause is reported with its line."""
        plug = self.plugin(
            "Alpha", "try:\n import missing_one\nexcept ImportError as error:\n raise error from error\n"
        )
        error = self.assertRaises(PluginLoadError, load_module, plug)
        self.assertIn(f"{plug.module_path}, line 2: ModuleNotFoundError: No module named 'missing_one'", str(error))

    def test_own_exception(self) -> None:
        """The type of a plugin's own exception has the name of the plugin's module, without errklein's package."""
        plug = self.plugin("Alpha", "class OwnError(Exception): ...\n")
        error = load_module(plug).OwnError("no")
        self.assertEqual(located_error(plug, error), f"{plug.module_path}: main.OwnError: no")
