from pathlib import Path

from errklein.testing import PluginTestCase


class AlarmTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#ops",)}

    def test_alarm(self):
        """An alarm mentions everybody in the room; its text doesn't."""
        self.bot.backend.neutralises_mentions = True
        response = self.post("/alarm", json={"summary": "@everyone: disk full"})
        self.assertEqual(response.status, 202)
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("#ops"), ["@here: an alarm", "@\u200beveryone: disk full"])
        self.assertTrue(all(sent.message.priority for sent in self.bot.backend.sent))
