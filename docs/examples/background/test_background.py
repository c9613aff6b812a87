import sys
from pathlib import Path

from twisted.internet.defer import maybeDeferred

from errklein.testing import PluginTestCase


class BackgroundTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def test_monitor(self):
        """Administrators get a message when the state changes, and only then."""
        self.http.respond("GET", "https://shop.example/")
        self.bot.advance(60)
        self.assertEqual(self.bot.messages, [])
        self.http.respond("GET", "https://shop.example/", status=503, times=2)
        self.bot.advance(3 * 60)
        self.http.fail("GET", "https://shop.example/", ConnectionRefusedError("refused"))
        self.bot.advance(60)
        states = [message.text.split()[-1] for message in self.bot.messages]
        self.assertEqual(states, ["down", "up", "down"])

    def test_job(self):
        """The client gets its response before the job runs."""
        self.assertEqual(self.post("/jobs", json={"name": "report"}).status, 202)
        self.assertEqual(self.bot.messages, [])
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#builds"), ["Done: report"])

    def test_archive(self):
        """The command replies with the archive's path."""
        # A test has no threads: call the function at once.
        module = sys.modules[type(self.bot.plugin("Archive")).__module__]
        self.patch(module, "deferToThread", maybeDeferred)
        directory = Path(self.mktemp())
        directory.mkdir()
        reply = self.command(f"!archive {directory}")
        self.assertEqual(reply, f"Written to {directory.absolute()}.zip.")
