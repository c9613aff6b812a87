"""A tenth of GitHub's documented webhooks; all of them are for benchmarks/github_to_irc.py."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.acceptance.github_to_irc import github_to_irc
from tests.acceptance.payloads import Delivery, compare, deliveries, require_package


class GitHubToIRCTests(TestCase):
    """A real bot, a real IRC server with its usual limits, and somebody else in the room."""

    timeout = 120

    async def test_each_webhook_becomes_a_line(self) -> None:
        """As JSON and as form, one line for each, in order, although the server crashes and comes back in between."""
        from twisted.internet import reactor

        expected = deliveries(require_package(), every=10)
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        figures = await github_to_irc(reactor, directory, expected)
        self.assertEqual(figures.problems(), [], figures.report())


class CompareTests(SynchronousTestCase):
    """What was heard is compared with what was posted, also when that is several times the same."""

    def assert_compared(self, heard: str, lost: int, twice: int, strange: int) -> None:
        """Letters stand for events; "aabc" was posted."""
        posted = [Delivery(letter, {}, as_form=False) for letter in "aabc"]
        found = compare(posted, list(heard))
        self.assertEqual((found[0], found[1], len(found[2])), (lost, twice, strange))

    def test_as_posted(self) -> None:
        """Nothing is wrong."""
        self.assert_compared("aabc", 0, 0, 0)

    def test_wrong(self) -> None:
        """What is lost, told twice, or in the wrong place is counted."""
        self.assert_compared("abc", 1, 0, 0)
        self.assert_compared("aaabc", 0, 1, 0)
        self.assert_compared("aab", 1, 0, 0)
        self.assert_compared("aabcc", 0, 1, 0)
        self.assert_compared("aacb", 1, 0, 1)
        self.assert_compared("", 4, 0, 0)
