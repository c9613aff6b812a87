"""Entering the console: links and sessions."""

from __future__ import annotations

from tests.console.kit import Browser, ConsoleCase


class EnteringTests(ConsoleCase):
    """Links and sessions."""

    def test_link(self) -> None:
        """A link shows a button, which starts a session. It works once."""
        link = self.link()
        self.assertIn("Enter the console", self.browser.get(link))
        self.assertIn("<h1>Overview</h1>", self.browser.press("Enter the console"))
        other = Browser(self)
        other.get(link)
        other.press("Enter the console")
        self.assertEqual(other.status, 401)
        self.assertEqual(other.cookies, {})

    def test_nobody(self) -> None:
        """Without a session, pages say how to get one."""
        self.assertIn("!console", self.browser.get("/deliveries"))
        self.assertEqual(self.browser.status, 401)
