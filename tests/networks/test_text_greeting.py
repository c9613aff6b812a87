"""Greeting, hints and farewell on the operator's terminal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein._version import __version__
from errklein.networks.text import farewell, greeting, hint
from errklein.ports.chat import BotOverview
from errklein.text import sanitize
from tests.networks.test_text import facts


class GreetingTests(SynchronousTestCase):
    """The lines above the first prompt."""

    def greeting(self, overview: BotOverview, name: str = "@errbot") -> list[str]:
        """The lines without terminal sequences."""
        return sanitize(greeting(name, overview)).splitlines()

    def test_facts(self) -> None:
        """The greeting has name, version, addresses, log file, and how to give commands and stop the bot."""
        self.assertEqual(
            self.greeting(facts(addresses=("http://127.0.0.1:3141", "unix:/run/bot.sock"))),
            [
                f"errklein {__version__}: @errbot is ready",
                "  Webhooks  http://127.0.0.1:3141, unix:/run/bot.sock",
                "  Log       data/errklein.log",
                "  Commands  !help lists them, Tab completes them",
                "  Stop      Ctrl-C; Ctrl-D ends only this conversation",
            ],
        )

    def test_nothing_listens(self) -> None:
        """Without an address the greeting names the command that sets one, and Ctrl-D stops the bot too."""
        lines = self.greeting(facts(prefix="?", addresses=(), log_file="", remaining=()))
        self.assertEqual(
            lines[1], "  Webhooks  none; start with --web tcp:3141:interface=127.0.0.1, or use ?plugin config Webserver"
        )
        self.assertEqual(
            lines[2:], ["  Commands  ?help lists them, Tab completes them", "  Stop      Ctrl-C or Ctrl-D"]
        )

    def test_untrusted_names(self) -> None:
        """Terminal sequences in names and paths are removed."""
        shown = greeting("@a\x1b[2Jb", facts(log_file="c\x1b]0;title\x07d"))
        self.assertIn("@ab is ready", shown)
        self.assertIn("cd", shown)
        self.assertNotIn("title", shown)


class HintTests(SynchronousTestCase):
    """Replies to words without a prefix."""

    def test_help(self) -> None:
        """`help` without a prefix is explained."""
        for text in ("help", " HELP "):
            self.assertEqual(hint(text, facts()), "Commands begin with `!`; `!help` lists them.")
        self.assertEqual(hint("help", facts(prefix="")), "Commands: `help` lists them.")

    def test_quit(self) -> None:
        """`quit` and `exit` get the keys that stop the bot."""
        for text in ("quit", "exit"):
            self.assertEqual(hint(text, facts(remaining=())), "Ctrl-C or Ctrl-D stops the bot.")
            self.assertEqual(
                hint(text, facts(remaining=("webhooks", "libera"))),
                "Ctrl-C stops the bot. Ctrl-D ends the conversation; the bot continues with webhooks and libera.",
            )

    def test_other_text(self) -> None:
        """No other text gets one of these hints."""
        for text in ("help me", "hello", "", "quitting"):
            self.assertIsNone(hint(text, facts()))


class FarewellTests(SynchronousTestCase):
    """The line after Ctrl-D."""

    def test_farewell(self) -> None:
        """It states whether the bot continues, with what, and how to stop it."""
        self.assertEqual(farewell([]), "The conversation has ended, and the bot stops.")
        self.assertEqual(
            farewell(["webhooks", "a", "b"]),
            "The conversation has ended; the bot continues with webhooks, a and b. Ctrl-C stops it.",
        )
