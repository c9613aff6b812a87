from pathlib import Path

from errklein.running import Placement, placement_of
from errklein.testing import PluginTestCase


class PlacesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def setUp(self):
        """Let the plugin's requests get "hello" instead of going to the network."""
        super().setUp()
        self.plugin = self.bot.plugin("Places")
        self.http.respond("GET", "https://example.com/", body="hello")

    def test_responses(self):
        """Every kind of handler responds."""
        for url, text in (
            ("/blocking", "done"),
            ("/coroutine", "hello"),
            ("/generator", "hello"),
            ("/deferred", "hello"),
            ("/quick", "pong"),
            ("/marked", "done"),
        ):
            self.assertEqual(self.post(url).text, text, url)

    def test_places(self):
        """Each runs where its comment states."""
        for name in ("coroutine", "generator", "deferred", "quick"):
            self.assertIs(placement_of(getattr(self.plugin, name)), Placement.REACTOR, name)
        for name in ("blocking", "marked"):
            self.assertIs(placement_of(getattr(self.plugin, name)), Placement.THREAD, name)
