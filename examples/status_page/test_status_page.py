"""Tests for the status page, with StubTreq in place of the network."""

import json
import sys
from pathlib import Path

from treq.testing import StringStubbingResource, StubTreq

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent


class StatusPageTests(PluginTestCase):
    plugin_dirs = (HERE,)

    def setUp(self):
        """Let the plugin get `reply` in place of the status page's response."""
        super().setUp()
        self.asked = []
        self.answer = (200, {}, json.dumps({"status": {"description": "All Systems Operational"}}).encode())
        module = sys.modules[type(self.bot.plugin("StatusPage")).__module__]
        self.patch(module, "treq", StubTreq(StringStubbingResource(self.reply)))

    def reply(self, method, url, params, headers, data):
        """The response of the status page."""
        self.asked.append((method, url))
        return self.answer

    def test_webhook(self):
        """The webhook returns the state of the status page."""
        answer = self.get("/status")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json(), {"github": "All Systems Operational"})
        self.assertEqual(self.asked, [(b"GET", "https://www.githubstatus.com/api/v2/status.json")])

    def test_command(self):
        """The command replies with the same state."""
        self.assertEqual(self.command("!github status"), "GitHub: All Systems Operational")

    def test_answer_that_is_no_json(self):
        """An invalid response of the status page is handled."""
        self.answer = (502, {}, b"<h1>Bad gateway</h1>")
        self.assertEqual(self.get("/status").json(), {"github": "the status page doesn't respond"})
        self.assertIn("status.json failed", self.bot.report())
