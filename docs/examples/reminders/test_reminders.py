from pathlib import Path

from errklein.testing import PluginTestCase


class RemindersTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_an_hour_later(self):
        """What isn't done is said again each hour."""
        self.assertEqual(self.command("!remember water the plants"), "That makes 1.")
        self.bot.advance(3599)
        self.assertEqual(self.bot.sent_to("#todo"), [])
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#todo"), ["Still to be done: water the plants"])
        self.assertEqual(self.command("!done"), "Done: water the plants")
        self.bot.advance(7200)
        self.assertEqual(len(self.bot.sent_to("#todo")), 1)

    def test_reload_keeps_what_is_stored(self):
        """A reloaded plugin has what the old one has stored."""
        self.command("!remember water the plants")
        self.command("!plugin reload Reminders")
        self.assertEqual(self.command("!done 1"), "Done: water the plants")
