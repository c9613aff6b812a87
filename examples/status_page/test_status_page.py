"""Tests of the status page. `self.http` stands in for the network."""

from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent
URL = "https://www.githubstatus.com/api/v2/status.json"


class StatusPageTests(PluginTestCase):
    plugin_dirs = (HERE,)

    def setUp(self):
        """Let GitHub respond that all is well."""
        super().setUp()
        self.http.respond("GET", URL, json={"status": {"description": "All Systems Operational"}})

    def test_webhook(self):
        """The URL returns the status page's description."""
        response = self.get("/status")
        self.assertEqual(response.json(), {"github": "All Systems Operational"})
        self.assertEqual([str(request) for request in self.http.requests], [f"GET {URL}"])

    def test_command(self):
        """The command shows it in the chat."""
        self.assertEqual(self.command("!github status"), "GitHub: All Systems Operational")

    def test_invalid_response(self):
        """If the status page fails, the status is unknown, and the log has the reason."""
        self.http.respond("GET", URL, status=502, body="<h1>Bad gateway</h1>")
        self.assertEqual(self.get("/status").json(), {"github": "unknown"})
        self.assertIn("status.json failed", self.bot.report())
