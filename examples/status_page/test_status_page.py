"""Tests for the status page. Nothing is sent anywhere: StubTreq answers in place of the network."""

import json
import sys
from pathlib import Path

from treq.testing import StringStubbingResource, StubTreq

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent


class StatusPageTests(PluginTestCase):
    plugin_dirs = (HERE,)

    def setUp(self):
        """Let the plugin ask `reply` instead of the network."""
        super().setUp()
        self.asked = []
        self.answer = (200, {}, json.dumps({"status": {"description": "All Systems Operational"}}).encode())
        module = sys.modules[type(self.bot.plugin("StatusPage")).__module__]
        self.patch(module, "treq", StubTreq(StringStubbingResource(self.reply)))

    def reply(self, method, url, params, headers, data):
        """What the status page says."""
        self.asked.append((method, url))
        return self.answer

    def test_webhook(self):
        """The URL tells what the status page says."""
        answer = self.get("/status")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json(), {"github": "All Systems Operational"})
        self.assertEqual(self.asked, [(b"GET", "https://www.githubstatus.com/api/v2/status.json")])

    def test_command(self):
        """The command says the same."""
        self.assertEqual(self.command("!github status"), "GitHub: All Systems Operational")

    def test_answer_that_is_no_json(self):
        """A status page in trouble doesn't take the bot with it."""
        self.answer = (502, {}, b"<h1>Bad gateway</h1>")
        self.assertEqual(self.get("/status").json(), {"github": "the status page doesn't answer"})
        self.assertIn("can't be asked", self.bot.report())
