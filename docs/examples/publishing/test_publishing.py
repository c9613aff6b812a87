from pathlib import Path

from errklein.testing import PluginTestCase


class PublishingTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def setUp(self):
        super().setUp()
        self.bot.say("!draft Summer")
        self.bot.advance(0)

    def test_published(self):
        """The button runs the command."""
        self.assertIn("Summer is published.", self.bot.press("publish"))

    def test_not_now(self):
        """The other one ends the flow."""
        self.bot.press("not now")
        self.assertEqual(self.bot.say("!flows status"), ["No Flow started."])
