from pathlib import Path

from errklein.testing import PluginTestCase


class NotesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_forget(self):
        """The note of a person is removed on request, and those of others stay."""
        for name in ("@alice", "@bob"):
            self.bot.say("!note water the plants", frm=name)
        self.assertIn("Notes: 1 note removed", self.command("!person forget @alice"))
        self.assertEqual(list(self.bot.plugin("Notes")), ["@bob"])
        self.assertNotIn("Notes:", self.command("!person forget @alice"))
