import sys
from pathlib import Path

from treq.testing import StringStubbingResource, StubTreq
from twisted.internet.defer import maybeDeferred

from errklein.testing import PluginTestCase


class BackgroundTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def module_of(self, plugin):
        """Return the plugin's module, to replace names in it."""
        return sys.modules[type(self.bot.plugin(plugin)).__module__]

    def test_monitor(self):
        """Administrators get a message when the state changes, and only then."""
        self.status = 200
        stub = StubTreq(StringStubbingResource(lambda *request: (self.status, {}, b"")))
        self.patch(self.module_of("Monitor"), "treq", stub)
        self.bot.advance(60)
        self.assertEqual(self.bot.messages, [])
        self.status = 503
        self.bot.advance(60)
        self.bot.advance(60)
        self.status = 200
        self.bot.advance(60)
        states = [message.text.split()[-1] for message in self.bot.messages]
        self.assertEqual(states, ["down", "up"])

    def test_job(self):
        """The client gets its response before the job runs."""
        self.assertEqual(self.post("/jobs", json={"name": "report"}).status, 202)
        self.assertEqual(self.bot.messages, [])
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#builds"), ["Done: report"])

    def test_archive(self):
        """The command replies with the archive's path."""
        # A test has no threads: call the function at once.
        self.patch(self.module_of("Archive"), "deferToThread", maybeDeferred)
        directory = Path(self.mktemp())
        directory.mkdir()
        reply = self.command(f"!archive {directory}")
        self.assertEqual(reply, f"Written to {directory.absolute()}.zip.")
