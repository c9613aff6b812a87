from pathlib import Path

from errklein.testing import PluginTestCase


class VisitsTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_visits(self):
        """Each request is counted, and the command reads what the webhook has stored."""
        self.assertEqual([self.post(f"/visits/{page}").text for page in ("start", "start", "help")], ["1", "2", "1"])
        self.assertEqual(self.command("!visits start"), "start: 2, last: help")
