import sys
from pathlib import Path

from treq.testing import StringStubbingResource, StubTreq

from errklein.running import Placement, place
from errklein.testing import PluginTestCase


class PlacesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def setUp(self):
        """Answer in place of the network."""
        super().setUp()
        self.plugin = self.bot.plugin("Places")
        stub = StubTreq(StringStubbingResource(lambda *request: (200, {}, b"hello")))
        self.patch(sys.modules[type(self.plugin).__module__], "treq", stub)

    def test_answers(self):
        """Every kind of handler answers."""
        for url, text in (
            ("/blocking", "done"),
            ("/coroutine", "hello"),
            ("/generator", "hello"),
            ("/deferred", "hello for errklein"),
            ("/quick", "pong"),
            ("/marked_too", "done"),
        ):
            self.assertEqual(self.post(url, headers={"X-Name": "errklein"}).text, text, url)

    def test_places(self):
        """Each runs where its comment says."""
        for name in ("coroutine", "generator", "deferred", "quick"):
            self.assertIs(place(getattr(self.plugin, name)), Placement.REACTOR, name)
        for name in ("blocking", "marked_too"):
            self.assertIs(place(getattr(self.plugin, name)), Placement.THREAD, name)
