from pathlib import Path

from errklein.testing import PluginTestCase


class PagingTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_call(self):
        """A call is sent at once, and repeated until it is done."""
        self.bot.say("!page the site is down", frm="@bob")
        self.assertEqual(self.bot.sent_to("@alice"), ["@bob: the site is down"])
        self.bot.advance(600)
        self.assertEqual(len(self.bot.sent_to("@alice")), 2)
        self.assertEqual(self.command("!page done"), "Done.")
        self.bot.advance(600)
        self.assertEqual(len(self.bot.sent_to("@alice")), 2)

    def test_configuration(self):
        """The configuration names the person on call."""
        self.bot.say("!plugin config Paging {'ON_CALL': '@carol'}")
        self.bot.say("!page the site is down")
        self.assertEqual(self.bot.sent_to("@carol"), ["@admin: the site is down"])

    def test_invalid_configuration(self):
        """An invalid configuration is rejected, and the old one stays."""
        replies = self.bot.say("!plugin config Paging {'REPEAT': 1}")
        self.assertIn("REPEAT must be 60 seconds or more", "".join(replies))
        self.assertEqual(self.bot.plugin("Paging").config["REPEAT"], 600)
