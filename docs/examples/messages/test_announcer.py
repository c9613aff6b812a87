from pathlib import Path

from errklein.testing import PluginTestCase


class AnnouncerTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds", "#talk")}

    def test_announcement(self):
        """An announcement is posted to every room."""
        self.bot.say("!announce lunch is ready", frm="@alice")
        announcement = "Announcement: lunch is ready"
        for room in ("#builds", "#talk"):
            self.assertEqual(self.bot.sent_to(room), [announcement])
        self.assertEqual(self.bot.sent_to("@alice"), ["Posted."])

    def test_thanks(self):
        """The plugin reads all messages, also those that are no commands."""
        self.bot.say("Thank you!", frm="@alice", room="#talk")
        [reply] = self.bot.messages
        self.assertEqual(reply.text, "You are welcome.")
