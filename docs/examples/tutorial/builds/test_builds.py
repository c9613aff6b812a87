from pathlib import Path

from errklein.testing import PluginTestCase


class BuildsTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def test_report(self):
        """A reported build is posted to the room, and the command shows it."""
        response = self.post("/builds/shop", data={"status": "passed"})
        self.assertEqual(response.json(), {"recorded": "shop"})
        self.assertEqual(self.bot.sent_to("#builds"), ["The build of shop has passed."])
        self.assertEqual(self.command("!build shop"), "passed")

    def test_unknown_project(self):
        """Without a report, there is no build yet."""
        self.assertEqual(self.command("!build shop"), "no build yet")
