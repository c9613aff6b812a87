"""Tests for templates and cards of plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.chat import Card, Message
from errklein.plugins.loading import broken_templates
from errklein.ports.receipts import Receipt
from errklein.testing import PluginTestCase, TestBot
from errklein.text.templating import BrokenTemplate
from tests.plugin_files import PluginFilesTestCase

GREETER = """
    from errbot import BotPlugin, botcmd

    class Greeter(BotPlugin):
        @botcmd
        def greet(self, msg, args):
            self.send_templated(msg.frm, "hello", {"who": args}, in_reply_to=msg)
"""


class TemplateTests(PluginFilesTestCase):
    """A plugin with a directory of templates beside its .plug file."""

    def setUp(self) -> None:
        """Write the plugin, and start a bot with it."""
        super().setUp()
        self.plugin("Greeter", GREETER)
        self.write("greeter/templates/hello.md", "**Hello** {{ who }}")
        self.bot = TestBot(plugin_dirs=[self.directory])
        self.addCleanup(self.bot.stop)
        self.bot.start()

    def test_reloaded(self) -> None:
        """A reload takes the template's new text."""
        self.bot.command("!greet x")
        self.write("greeter/templates/hello.md", "Bye {{ who }}")
        self.bot.command("!plugin reload Greeter")
        self.assertEqual("Bye x", self.bot.command("!greet x"))

    def test_broken(self) -> None:
        """A broken template is reported in one line with its place, and other commands of the plugin work."""
        self.write("greeter/templates/hello.md", "a\n{{ who")
        self.bot.command("!plugin reload Greeter")
        answer = self.bot.command("!greet x")
        self.assertIn("the template hello.md, line 2, can't be rendered for the plugin Greeter", answer)
        self.assertEqual(1, len(self.flushLoggedErrors(BrokenTemplate)))


class Dealer(BotPlugin):
    """Sends cards."""


class CardTests(PluginTestCase):
    """`send_card`."""

    plugins = (Dealer,)

    def setUp(self) -> None:
        """Have the plugin and somebody at hand."""
        super().setUp()
        self.dealer: Dealer = self.bot.plugin("Dealer")
        self.alice = self.dealer.build_identifier("@alice")

    def test_network_with_cards(self) -> None:
        """A network with cards gets the card itself."""
        cards: list[Card] = []
        backend: Any = self.bot.backend

        def send_card(card: Card) -> Receipt:
            cards.append(card)
            return Receipt("test/1")

        backend.send_card = send_card
        self.dealer.send_card("body", to=self.alice, title="T")
        self.assertEqual(["T"], [card.title for card in cards])
        self.assertEqual([], self.bot.sent_to("@alice"))

    def test_made_by_hand(self) -> None:
        """A message that a plugin has created is sent unchanged."""
        self.bot.bot.split_and_send_message(Message("text", to=self.alice))
        self.assertEqual(["text"], self.bot.sent_to("@alice"))


class TemplateChecksTests(SynchronousTestCase):
    """One directory of templates."""

    def setUp(self) -> None:
        """Make the directory."""
        self.root = Path(self.mktemp()).absolute()
        (self.root / "templates" / "deep").mkdir(parents=True)

    def write(self, name: str, data: bytes) -> Path:
        """Write a template."""
        path = self.root / "templates" / name
        path.write_bytes(data)
        return path

    def test_good_ones(self) -> None:
        """There is no report about valid templates, or without templates."""
        self.write("a.md", b"{{ a }} {% include 'elsewhere.md' %}")
        self.assertEqual(broken_templates(self.root), [])
        self.assertEqual(broken_templates(self.root / "none"), [])

    def test_broken_ones(self) -> None:
        """Each invalid template has a line with its file and line number."""
        syntax = self.write("deep/b.md", b"fine\n{% if %}\n")
        unknown = self.write("c.md", b"{{ a|nosuchfilter }}")
        letters = self.write("d.md", b"\xff")
        lines = sorted(broken_templates(self.root))
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[0].startswith(f"{unknown}, line 1: "), lines[0])
        self.assertIn("nosuchfilter", lines[0])
        self.assertTrue(lines[1].startswith(f"{letters}: the template can't be read"), lines[1])
        self.assertTrue(lines[2].startswith(f"{syntax}, line 2: "), lines[2])
