"""Tests of the example: `trial plugins/example/test_example.py`."""

from pathlib import Path

from errklein.testing import PluginTestCase


class ExampleTests(PluginTestCase):
    """Each test starts a bot with the plugin, in memory."""

    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def test_hello(self):
        """The command greets the sender, or the name given."""
        self.assertEqual(self.command("!hello", frm="@alice"), "Hello, @alice!")
        self.assertEqual(self.command("!hello Bob"), "Hello, Bob!")

    def test_example(self):
        """The webhook sends the text to the room."""
        response = self.post("/example", data={"text": "hello"})
        self.assertEqual(response.text, "OK\n")
        self.assertEqual(self.bot.sent_to("#builds"), ["Received hello"])
