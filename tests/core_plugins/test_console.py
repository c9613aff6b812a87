"""Tests for `!console` and `!console end`."""

from __future__ import annotations

from typing import Any

from errklein.testing import PluginTestCase


class Links:
    """A console, as far as the commands use it."""

    given: tuple[Any, ...] = ()

    def link(self, name: str, network: str = "", person: Any = None) -> str:
        """Return a link."""
        self.given = name, network, person
        return "http://localhost:9142/enter/x"

    def end_all(self) -> int:
        """Return the number of sessions."""
        return 2


class ConsoleTests(PluginTestCase):
    """A bot with and without a console."""

    def test_closed(self) -> None:
        """Without a console, the reply names the setting."""
        for text in ("!console", "!console end"):
            self.assertEqual(
                self.command(text), "The console isn't open. Set CONSOLE, or start the bot with --console."
            )

    def test_link(self) -> None:
        """The link is for the person who asks, on the person's network."""
        links = self.bot.bot.console = Links()
        self.assertEqual(self.command("!console"), "http://localhost:9142/enter/x")
        self.assertEqual(links.given, ("@admin", "test", self.bot.backend.build_identifier("@admin")))

    def test_unstored(self) -> None:
        """The journal keeps no link, also if the network is away."""
        self.bot.bot.console = Links()
        sent: list[Any] = []
        self.patch(self.bot.backend, "send_message", sent.append)
        self.bot.say("!console")
        self.assertEqual([message.unstored for message in sent], [True])

    def test_strangers(self) -> None:
        """Others get no link, and end no sessions."""
        links = self.bot.bot.console = Links()
        for text in ("!console", "!console end"):
            self.assertNotIn("enter", self.command(text, frm="bob"))
            self.assertNotIn("Ended", self.command(text, frm="bob"))
        self.assertEqual(links.given, ())

    def test_end(self) -> None:
        """`!console end` says how many sessions it has ended."""
        self.bot.bot.console = Links()
        self.assertEqual(self.command("!console end"), "Ended 2 sessions.")
