from pathlib import Path

from errklein.testing import PluginTestCase


class BasicsTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_basics(self):
        """Values are stored, read, looked for and removed as in a dict."""
        self.assertEqual(self.command("!basics"), "blue 10 False False")
