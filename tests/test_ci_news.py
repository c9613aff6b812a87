"""The move of news to the changelog."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path

from twisted.trial.unittest import SynchronousTestCase

added = run_path(str(Path(__file__).parent.parent / ".ci" / "news.py"))["added"]

BEGINNING = "# Changelog\n\n<!-- towncrier release notes start -->\n\n"
FIRST = "## 0.1.0 (2026-11-26)\n\nFirst release.\n"
SECOND = "## 0.2.0 (2026-11-30)\n\n### Features\n\n- One.\n\n### Removed\n\n- Two.\n\n"


class NewsTests(SynchronousTestCase):
    """A changelog to which news is added."""

    def test_first_news(self) -> None:
        """The first news of a version is a new entry."""
        self.assertEqual(added(BEGINNING + FIRST, f"{SECOND}\n"), BEGINNING + SECOND + FIRST)

    def test_more_news(self) -> None:
        """Later news of the version is added to its entry, below the same headings, and the date is the later one."""
        draft = "## 0.2.0 (2026-12-01)\n\n### Features\n\n- Three, which\n  is long.\n- Four.\n\n### Bug fixes\n\n- Five.\n\n\n"
        expected = (
            "## 0.2.0 (2026-12-01)\n\n### Features\n\n- Three, which\n  is long.\n- Four.\n- One.\n\n"
            "### Removed\n\n- Two.\n\n### Bug fixes\n\n- Five.\n\n"
        )
        self.assertEqual(added(BEGINNING + SECOND + FIRST, draft), BEGINNING + expected + FIRST)
