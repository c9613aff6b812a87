"""Tests of handles and of the addresses of messages."""

import json
import pickle

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.chat.handles import Handle, MessageRef, target_of, thread_of, without_handle


class HandleTests(SynchronousTestCase):
    """What names a message, also after a restart."""

    def test_text(self) -> None:
        """A handle is text that JSON and pickles keep, with the network and the key."""
        handle = Handle("matrix/5f0c-1c")
        self.assertEqual((handle.network, handle.key), ("matrix", "5f0c-1c"))
        self.assertEqual(json.loads(json.dumps({"sent": handle})), {"sent": "matrix/5f0c-1c"})
        self.assertEqual(pickle.loads(pickle.dumps(handle)), handle)

    def test_targets(self) -> None:
        """A handle, its text, the address of a message, the address from JSON, and a received message name one."""
        handle, ref = Handle("matrix/5f0c-1c"), MessageRef("matrix", "!ops", "$1", "$0")
        received = Message("hi")
        received.ref = ref
        given = [handle, str(handle), ref, json.loads(json.dumps(ref)), received]
        self.assertEqual([target_of(one) for one in given], [handle, handle, ref, ref, ref])
        self.assertIsInstance(target_of("matrix/5f0c-1c"), Handle)

    def test_threads(self) -> None:
        """The text of what was sent, which a plugin has stored, names the thread that begins with it; other text is an id."""
        sent = Handle("matrix/5f0c5f0c5f0c5f0c-1c")
        for given in (sent, str(sent)):
            self.assertIsInstance(thread_of(given), Handle)
            self.assertEqual(thread_of(given), sent)
        for number in ("$a/b-1", "1503435956.000247", ""):
            self.assertEqual((thread_of(number), isinstance(thread_of(number), Handle)), (number, False))

    def test_no_targets(self) -> None:
        """Anything else is refused with what it is."""
        for value in (None, "", "matrix", "/1", "matrix/", 5, ["matrix", "!ops", "$1"], ["a", "b", "c", 1]):
            self.assertIn(repr(value), str(self.assertRaises(ValueError, target_of, value)))
        self.assertIn("no id", str(self.assertRaises(ValueError, target_of, Message("hi"))))

    def test_results(self) -> None:
        """A handle in place of a reply is none; every other result stays."""
        self.assertEqual([without_handle(one) for one in (Handle("n/1"), "n/1", "", None)], [None, "n/1", "", None])
