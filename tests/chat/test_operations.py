"""Tests of what is wanted besides a text."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.handles import MessageRef
from errklein.chat.operations import Kind, Wanted

TEXTS = st.text(max_size=5)
WANTED = st.builds(
    Wanted,
    st.sampled_from(Kind),
    TEXTS | st.builds(MessageRef, TEXTS, TEXTS, TEXTS, TEXTS),
    TEXTS,
    TEXTS,
    TEXTS,
    TEXTS,
    st.lists(TEXTS, max_size=2).map(tuple),
)


class WantedTests(SynchronousTestCase):
    """Stored as JSON."""

    @given(WANTED)
    def test_json(self, wanted: Wanted) -> None:
        """It is the same after it was stored."""
        self.assertEqual(Wanted.from_json(wanted.as_json()), wanted)

    def test_plain_text(self) -> None:
        """Nothing is stored for a plain text."""
        self.assertEqual(Wanted().as_json(), "")

    def test_later_version(self) -> None:
        """A field that is unknown doesn't keep the message from being sent."""
        self.assertEqual(Wanted.from_json('{"thread": "t", "colour": "red"}'), Wanted(thread="t"))

    def test_unreadable(self) -> None:
        """What another program has written wrongly raises an error."""
        for text in ("x", "5", '{"kind": "dance"}', '{"target": 5}'):
            self.assertRaises((ValueError, TypeError), Wanted.from_json, text)
