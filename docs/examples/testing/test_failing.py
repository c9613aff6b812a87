from pathlib import Path

from errklein.testing import PluginTestCase


class FailingTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_known_status(self):
        """A known status is shown as a colour."""
        self.assertEqual(self.post("/status", data={"status": "passed"}).text, "green")

    def test_unknown_status(self):
        """An unknown status is an error of the plugin: the client learns no details."""
        response = self.post("/status", data={"status": "lost"})
        self.assertEqual(response.status, 500)
        self.assertNotIn("lost", response.text)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
