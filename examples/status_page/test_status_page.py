"""Tests of the status page. StubTreq stands in for the network."""

import json
import sys
from pathlib import Path

from treq.testing import StringStubbingResource, StubTreq

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent


class StatusPageTests(PluginTestCase):
    plugin_dirs = (HERE,)

    def setUp(self):
        """Let the plugin's requests get `self.response`."""
        super().setUp()
        self.requests = []
        status = {"status": {"description": "All Systems Operational"}}
        self.response = (200, {}, json.dumps(status).encode())
        module = sys.modules[type(self.bot.plugin("StatusPage")).__module__]
        self.patch(module, "treq", StubTreq(StringStubbingResource(self.respond)))

    def respond(self, method, url, params, headers, data):
        """Record the request, and return status, headers and body."""
        self.requests.append((method, url))
        return self.response

    def test_webhook(self):
        """The URL returns the status page's description."""
        response = self.get("/status")
        self.assertEqual(response.json(), {"github": "All Systems Operational"})
        self.assertEqual(len(self.requests), 1)

    def test_command(self):
        """The command shows it in the chat."""
        self.assertEqual(self.command("!github status"), "GitHub: All Systems Operational")

    def test_invalid_response(self):
        """If the status page fails, the status is unknown, and the log has the reason."""
        self.response = (502, {}, b"<h1>Bad gateway</h1>")
        self.assertEqual(self.get("/status").json(), {"github": "unknown"})
        self.assertIn("status.json failed", self.bot.report())
