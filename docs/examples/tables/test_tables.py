import io
import threading
from pathlib import Path

from errklein import Stream
from errklein.testing import PluginTestCase


class TablesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def offer(self, name):
        """Offer a file as alice would, and wait until the plugin has read it."""
        network = self.bot.backend
        stream = Stream(network.build_identifier("alice"), io.BytesIO(b"a,1\nb,2\n"), name, 8)
        before = set(threading.enumerate())
        self.bot.bot.events.stream_offered(network, stream)
        while left := [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]:
            left[0].join(10)
        return stream

    def test_table(self):
        """A CSV file is stored."""
        self.assertEqual(self.offer("tables.csv").status, "success")
        self.assertEqual(self.command("!rows"), "2")

    def test_other_file(self):
        """Other files are rejected."""
        self.assertEqual(self.offer("picture.png").status, "rejected")
        self.assertEqual(self.command("!rows"), "0")
