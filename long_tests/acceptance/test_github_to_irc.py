"""The scenario GitHub to IRC with a tenth of GitHub's documented webhooks."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from long_tests.acceptance.github_to_irc import github_to_irc, repeated
from long_tests.acceptance.payloads import Delivery, compare, deliveries, require_package


class GitHubToIRCTests(TestCase):
    """A real bot and a real IRC server with its default limits."""

    timeout = 120

    async def test_each_webhook_becomes_a_line(self) -> None:
        """Each webhook, as JSON or form, becomes one line, in order, although the server crashes."""
        from twisted.internet import reactor

        expected = deliveries(require_package(), every=10)
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        figures = await github_to_irc(reactor, directory, expected)
        self.assertEqual(figures.problems(), [], figures.report())


class CompareTests(SynchronousTestCase):
    """The comparison of lines and webhooks."""

    def assert_compared(self, heard: str, lost: int, twice: int, strange: int) -> None:
        """Compare the lines, given as letters, with the webhooks "aabc"."""
        posted = [Delivery(letter, {}, as_form=False) for letter in "aabc"]
        found = compare(posted, list(heard))
        self.assertEqual((found[0], found[1], len(found[2])), (lost, twice, strange))

    def test_as_posted(self) -> None:
        """Lines in the order of the webhooks have no errors."""
        self.assert_compared("aabc", 0, 0, 0)

    def test_sent_again(self) -> None:
        """The first lines after a crash may be the last ones before it."""
        for before, after, again in (
            ("abc", "cde", 1),
            ("abc", "bcd", 2),
            ("abc", "de", 0),
            ("", "a", 0),
            ("abc", "abcd", 3),
        ):
            self.assertEqual(repeated(list(before), list(after)), again)

    def test_wrong(self) -> None:
        """Missing, duplicate and misplaced lines are counted."""
        self.assert_compared("abc", 1, 0, 0)
        self.assert_compared("aaabc", 0, 1, 0)
        self.assert_compared("aab", 1, 0, 0)
        self.assert_compared("aabcc", 0, 1, 0)
        self.assert_compared("aacb", 1, 0, 1)
        self.assert_compared("", 4, 0, 0)
