from pathlib import Path

from errklein.testing import PluginTestCase


class RemindersTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_reminder(self):
        """A task is posted each hour until it is done."""
        self.assertEqual(self.command("!remember water the plants"), "1 to do.")
        self.bot.advance(3599)
        self.assertEqual(self.bot.sent_to("#todo"), [])
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#todo"), ["To do: water the plants"])
        self.assertEqual(self.command("!done water the plants"), "Done.")
        self.bot.advance(7200)
        self.assertEqual(len(self.bot.sent_to("#todo")), 1)

    def test_reload(self):
        """Stored values survive a reload."""
        self.command("!remember water the plants")
        self.command("!plugin reload Reminders")
        self.assertEqual(self.command("!done water the plants"), "Done.")

    def test_unknown_task(self):
        """A task that isn't stored can't be removed."""
        self.assertEqual(self.command("!done nothing"), "There is no such task.")
