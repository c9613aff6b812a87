import json

from errklein_kiln import SOURCE
from twisted.trial.unittest import SynchronousTestCase

from errklein.testing.source_contract import SourceContract

BUILD = {
    "project": "shop",
    "number": 17,
    "state": "failed",
    "url": "https://kiln.example.net/shop/17",
    "change": {"title": "Show the basket\n\nIt was hidden.", "author": "Ada"},
}


class KilnTests(SourceContract, SynchronousTestCase):
    source = SOURCE

    def samples(self):
        return [({"X-Kiln-Build": "17"}, json.dumps(BUILD).encode())]

    def test_message(self):
        """A failed build has a link, and the change that was built."""
        [sample] = self.samples()
        event = SOURCE.read(self.received(*sample))
        self.assertEqual(event.name, "build.failed")
        self.assertEqual(
            event.text(), "❌ [shop #17](https://kiln.example.net/shop/17): failed\n> Show the basket (Ada)"
        )
