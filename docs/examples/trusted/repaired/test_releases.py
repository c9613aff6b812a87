from pathlib import Path

from errklein.testing import PluginTestCase


class ReleasesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#releases",)}

    def test_release_without_a_name(self):
        """A release that has no name is announced by its tag."""
        self.assertEqual(self.replay("delivery-2.json").status, 200)
        self.assertEqual(self.bot.sent_to("#releases"), ["Released: v1.2"])
