from pathlib import Path

from errklein.testing import PluginTestCase


class DeployTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_names(self):
        """The command has other names."""
        for given in ("!deploy main", "!d main", "!ship it main"):
            self.assertEqual(self.command(given), "Deploying main.")

    def test_question(self):
        """Without a branch it asks, and waits for the answer."""
        self.assertEqual(self.command("!deploy"), "Which branch?")
        self.assertEqual(self.command("main"), "Deploying main.")

    def test_no_answer(self):
        """Without an answer it gives up after a minute."""
        self.command("!deploy")
        self.bot.advance(60)
        self.assertEqual(self.bot.messages[-1].text, "There was no answer in 60 s.")

    def test_arguments(self):
        """Arguments are named; mistakes are answered with the usage."""
        self.assertEqual(self.command("!scale web --count 3"), "web runs 3 times.")
        self.assertIn("usage: scale [-h] [--count COUNT] service", self.bot.say("!scale")[1])

    def test_pattern(self):
        """What somebody says is looked at."""
        self.assertEqual(self.command("see #12"), "https://example.com/tickets/12")

    def test_filter(self):
        """While nothing may change, nothing is deployed."""
        self.bot.plugin("Deploy").frozen = True
        self.assertEqual(self.command("!d main"), "Nothing is deployed now.")
