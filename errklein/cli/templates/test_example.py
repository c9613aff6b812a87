"""Tests of the example: `trial plugins/example/test_example.py`."""

from pathlib import Path

from errklein.testing import PluginTestCase


class ExampleTests(PluginTestCase):
    """A bot with the plugin, in memory, for each test."""

    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def test_hello(self):
        """Whoever asks is greeted, or whoever is named."""
        self.assertEqual(self.command("!hello", frm="@alice"), "Hello, @alice!")
        self.assertEqual(self.command("!hello somebody"), "Hello, somebody!")

    def test_example(self):
        """What is posted is said in the room."""
        answer = self.post("/example", data={"text": "hello"})
        self.assertEqual(answer.text, "OK\n")
        self.assertEqual(self.bot.sent_to("#builds"), ["Somebody posted hello"])
