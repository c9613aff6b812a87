"""The notes of those who act on the console."""

from __future__ import annotations

import re

from errklein.webhooks.deliveries import Action
from tests.console.kit import ConsoleCase


class NoteTests(ConsoleCase):
    """Actions, for the page of who did what."""

    def test_way(self) -> None:
        """The note says who has done it, and that it was on the console. A page that only shows something notes nothing."""
        notes: list[Action] = []
        self.patch(self.bot.bot.journal, "note", notes.append)
        browser = self.enter()
        browser.get("/deliveries")
        [token] = {*re.findall(r'name="form_token" value="([^"]*)"', browser.text)}
        browser.post("/do/webhooks.replay", {"form_token": token, "words": "1 2", "back": "/"})
        self.assertIn("Replaying 0 deliveries", browser.text)
        self.bot.command("!console end")
        found = [(one.way, one.operation, one.arguments) for one in notes]
        acted = ("console", "delivery_replay", "1 2")
        self.assertEqual(found, [("chat", "console", ""), acted, ("chat", "console_end", "")])
