"""The pages of deliveries."""

from __future__ import annotations

import re
from typing import Any

from errklein import BotPlugin, webhook
from tests.console.kit import ConsoleCase


class Shop(BotPlugin):
    """Fails while `broken`."""

    broken = True

    @webhook("/order", ack="now", attempts=1)
    def order(self, payload: Any) -> None:
        if self.broken:
            raise ValueError("no stock")


class DeliveryPagesTests(ConsoleCase):
    """Deliveries are found, opened and replayed."""

    plugins = (Shop,)

    def test_replay(self) -> None:
        """A failed delivery is listed with its reason, and is done after a replay."""
        self.successResultOf(self.bot.post("/order", json={"id": 7}))
        self.bot.advance(1)
        self.flushLoggedErrors(ValueError)
        browser = self.enter()
        self.assertIn("no stock", browser.get("/deliveries"))
        [number] = {int(one) for one in re.findall(r"/deliveries/(\d+)", browser.text)}
        Shop.broken = False
        self.addCleanup(setattr, Shop, "broken", True)
        browser.get(f"/deliveries/{number}")
        self.assertIn("Replaying 1 delivery.", browser.press("Replay"))
        self.bot.advance(1)
        self.assertIn("done", browser.get(f"/deliveries/{number}"))
