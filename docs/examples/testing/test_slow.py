from pathlib import Path

from errklein.testing import PluginTestCase


class SlowTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_slow(self):
        """The response comes after two seconds, which pass at once."""
        waiting = self.bot.get("/slow")
        self.assertNoResult(waiting)
        self.bot.advance(2)
        response = self.successResultOf(waiting)
        self.assertEqual(response.text, "done")
