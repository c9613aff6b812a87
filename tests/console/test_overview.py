"""The overview."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import fail

from errklein import BotPlugin, webhook
from errklein.ports.journal import JournalError
from tests.console.kit import ConsoleCase


class Shop(BotPlugin):
    """Has webhooks that fail, at once and later."""

    @webhook("/order", ack="now", attempts=1)
    def order(self, payload: Any) -> None:
        raise ValueError("no stock")

    @webhook("/bill")
    def bill(self, payload: Any) -> None:
        raise ValueError("no money")

    @webhook("/letter")
    def letter(self, payload: Any) -> None:
        pass


class Till(BotPlugin):
    """Can't be activated a second time."""

    times = 0

    def activate(self) -> None:
        """Fail, but not the first time."""
        Till.times += 1
        if Till.times > 1:
            raise RuntimeError("the till is shut")
        super().activate()


class OverviewTests(ConsoleCase):
    """The first page after entering."""

    plugins = (Shop, Till)

    def setUp(self) -> None:
        """Let requests arrive, and activate a plugin twice."""
        Till.times = 0
        super().setUp()
        self.bot.command("!plugin deactivate Till")
        self.bot.command("!plugin activate Till")
        for path, number in (("/order", 1), ("/bill", 2), ("/letter", 3)):
            for _ in range(number):
                self.bot.post(path, json={})
                self.bot.advance(1)
        self.flushLoggedErrors(ValueError, RuntimeError)
        self.browser = self.enter()

    def tile(self, name: str) -> str:
        """Return the text of the tile with a number."""
        found = re.search(rf"<dt>{name}</dt><dd>(.*?)</dd>", self.browser.get("/"), re.DOTALL)
        assert found is not None, self.browser.text
        return " ".join(re.sub("<.*?>", "", found[1]).split())

    def test_numbers(self) -> None:
        """It says how many deliveries came, failed, were given up and wait, and since when the oldest waits."""
        self.assertEqual(self.tile("Accepted"), "6 in 24 hours")
        self.assertEqual(self.tile("Failed"), "2 in 24 hours, not sent again")
        self.assertEqual(self.tile("Dead"), "1 given up, to be replayed")
        self.assertEqual(self.tile("Refused"), "0 in 24 hours")
        self.assertEqual(self.tile("Waiting"), "0")
        self.bot.command("!webhook pause Shop:order")
        self.bot.post("/order", json={})
        self.assertRegex(self.tile("Waiting"), r"^1 the oldest since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [-+]\d\d:\d\d$")
        self.assertEqual(self.tile("Paused webhooks"), "1")

    def test_plots(self) -> None:
        """An hour and a day are plotted, with the numbers as tables."""
        for title in ("The last hour", "The last day"):
            self.assertIn(f'aria-label="{title}: 6 accepted, 0 refused, 3 failed or dead', self.browser.text)
            self.assertIn(f"<caption>{title}: each", self.browser.text)

    def test_problems(self) -> None:
        """Plugins with a problem are named with it, and the others aren't; networks have their state."""
        self.assertRegex(self.browser.text, r">Till</a></th>.*broken.*the till is shut")
        self.assertNotIn(">Shop</a></th>", self.browser.text)
        self.assertRegex(self.browser.text, r'>\w+</a></th><td[^>]*><span class="state good">connected</span>')

    def test_errors(self) -> None:
        """The parts of the bot with errors in the last hour are named."""
        self.assertRegex(self.browser.text, r">Shop:bill</a></th><td[^>]*>2</td>")

    def test_journal_that_cannot_be_read(self) -> None:
        """If the journal can't be read, the overview says so, and shows the rest."""
        self.patch(self.bot.bot.journal, "depth", lambda: fail(JournalError("journal.sqlite: disk I/O error")))
        page = self.browser.get("/")
        self.assertEqual(self.browser.status, 200)
        self.assertIn("The journal can", page)
        self.assertIn("connected", page)
        self.assertNotIn("<svg", page)
