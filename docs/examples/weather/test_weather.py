from pathlib import Path

from errklein.testing import PluginTestCase


class WeatherTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_week(self):
        """The template is rendered; a tag in a value is shown as text."""
        answer = self.command("!weather <here>")
        self.assertTrue(answer.startswith("The weather <here>\n"), answer)
        self.assertIn("│ Tuesday │ rain & wind │", answer)

    def test_warning(self):
        """On a network without cards, a card is text."""
        self.bot.say("!weather warning")
        [card] = self.bot.sent_to("#outside")
        self.assertIn("Storm (https://weather.example/storm)", card)
        self.assertIn("│ 10:00 │ 14:00 │", card)
