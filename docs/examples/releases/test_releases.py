from pathlib import Path

from errklein.testing import PluginTestCase


class ReleasesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def all_said(self, text):
        """What the bot says, also when it has taken the steps that it takes by itself."""
        before = len(self.bot.messages)
        self.bot.say(text)
        self.bot.advance(0)
        return [message.text for message in self.bot.messages[before:]]

    def test_main(self):
        """The main branch is tested by itself, and may be shipped then."""
        said, hint = self.all_said("!build main")
        self.assertEqual(said, "main is built.")
        self.assertIn("!ship", hint)
        self.assertEqual(self.all_said("!ship"), ["main is shipped."])

    def test_branch(self):
        """Another branch isn't tested unless somebody says so."""
        self.assertIn("!run tests", self.all_said("!build mine")[-1])

    def test_outside(self):
        """Nothing is shipped outside of a release."""
        self.assertNotIn("shipped", "".join(self.bot.say("!ship")))
