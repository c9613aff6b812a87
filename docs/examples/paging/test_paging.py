from pathlib import Path

from errklein.testing import PluginTestCase


class PagingTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_call(self):
        """Whoever is on call is told at once, and reminded until somebody has done with it."""
        self.bot.say("who is on call?", frm="bob")
        self.assertEqual(self.bot.sent_to("@alice"), ["bob: who is on call?"])
        self.bot.advance(600)
        self.assertEqual(self.bot.sent_to("@alice")[1:], ["There are 1 calls."])
        self.assertEqual(self.command("!calls done"), "Good.")
        self.bot.advance(600)
        self.assertEqual(len(self.bot.sent_to("@alice")), 2)

    def test_configuration(self):
        """Somebody else may be on call."""
        self.bot.say("!plugin config Paging {'ON_CALL': '@carol'}")
        self.bot.say("are you on call?", frm="bob")
        self.assertEqual(len(self.bot.sent_to("@carol")), 1)

    def test_wrong_configuration(self):
        """What can't be is refused, and the old configuration stays."""
        said = self.bot.say("!plugin config Paging {'REMIND_AFTER': 1}")
        self.assertIn("expected 60 seconds or more", "".join(said))
        self.assertEqual(self.bot.plugin("Paging").config["REMIND_AFTER"], 600)
