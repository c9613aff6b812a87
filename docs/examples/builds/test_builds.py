from pathlib import Path

from errklein.testing import PluginTestCase


class BuildsTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def test_build(self):
        """What a build server posts is said in the room, and remembered."""
        answer = self.post("/builds/errklein", json={"state": "passed"})
        self.assertEqual(answer.text, "thank you\n")
        self.assertEqual(self.bot.sent_to("#builds"), ["errklein: passed"])
        self.assertEqual(self.command("!build errklein"), "passed")
