"""Tests for notices about dropped messages."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._drop_notices import DropNotices


class DropNoticesTests(SynchronousTestCase):
    """Messages that are dropped one by one."""

    def setUp(self) -> None:
        """Create the notices."""
        self.clock = Clock()
        self.sent: list[str] = []
        self.notices = DropNotices(self.clock, self.sent.append)

    def test_few_notices(self) -> None:
        """The first one is reported at once, and the others of ten minutes together, for each network."""
        for _ in range(1_200):
            self.notices.add("irc", 1, "they are too old")
            self.clock.advance(1)
        self.notices.add("chat", 2, "they are too old")
        self.assertEqual(
            [text.partition(",")[0] for text in self.sent],
            [
                "A message was not sent on irc",
                "599 messages were not sent on irc",
                "600 messages were not sent on irc",
                "2 messages were not sent on chat",
            ],
        )

    def test_after_a_pause(self) -> None:
        """After an interval without dropped messages, the next one is reported at once."""
        self.notices.add("irc", 1, "they are too old")
        self.clock.advance(600)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.notices.add("irc", 3, "they are too old")
        self.assertEqual(len(self.sent), 2)

    def test_stop(self) -> None:
        """The end of the bot doesn't keep a number from administrators."""
        self.notices.add("irc", 1, "they are too old")
        self.notices.add("irc", 2, "they are too old")
        self.notices.stop()
        self.assertEqual(
            self.sent[-1],
            "2 messages were not sent on irc, since they are too old. The log has the recipients and texts.",
        )
        self.notices.add("irc", 1, "the bot stops")
        self.assertEqual(len(self.sent), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
