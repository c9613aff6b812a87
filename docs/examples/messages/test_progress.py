from pathlib import Path

from errklein.testing import PluginTestCase


class ProgressTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_failure(self):
        """The message of the build is edited, and gets a thread with the log."""
        self.post("/progress/7", json={"state": "runs"})
        self.post("/progress/7", json={"state": "failed", "log": "no such file"})
        self.assertEqual(self.bot.chat("#builds"), ["Build 7 failed.", "[build.log]"])

    def test_watch(self):
        """The command gets a reaction instead of a reply."""
        self.bot.say("!watch", room="#builds")
        self.assertEqual(self.bot.chat("#builds"), ["!watch 👀"])
