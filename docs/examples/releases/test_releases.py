from pathlib import Path

from errklein.testing import PluginTestCase


class ReleasesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def replies(self, text):
        """Return the bot's messages, including those of automatic steps."""
        before = len(self.bot.messages)
        self.bot.say(text)
        self.bot.advance(0)
        return self.bot.messages[before:]

    def test_main(self):
        """The main branch is tested automatically; then it can be shipped."""
        built, hint = self.replies("!build main")
        self.assertEqual(built, "main is built.")
        self.assertIn("!ship", hint)
        self.assertEqual(self.replies("!ship"), ["main is shipped."])

    def test_other_branch(self):
        """Another branch waits for the command to test it."""
        self.assertIn("!run tests", self.replies("!build docs")[-1])

    def test_outside_of_flow(self):
        """Outside of a flow nothing is shipped."""
        self.assertNotIn("shipped", "".join(self.bot.say("!ship")))
