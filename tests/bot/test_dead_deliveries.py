"""Tests for notices about dead deliveries."""

from __future__ import annotations

from errklein.bot._notices import WEBHOOK_INTERVAL, WebhookNotices
from errklein.testing import PluginTestCase
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery

DEAD = "The delivery 7 of Github:notification is dead after 3 attempts"


class AnnouncementTests(PluginTestCase):
    """Deliveries that are given up."""

    config = {"BOT_ADMINS_NOTIFICATIONS": ("@admin", "#ops")}

    def setUp(self) -> None:
        """Create the part that announces dead deliveries."""
        super().setUp()
        self.hooks = WebhookNotices(self.bot.bot.notices, self.bot.bot.plugin_manager.plugin, "!")

    def die(self, *ids: int, webhook: str = "Github:notification") -> None:
        """Give deliveries up."""
        for number in ids:
            delivery = StoredDelivery(number, webhook, DeliveryState.DEAD, 0.0, attempt=3)
            self.hooks.delivery_dead(delivery, Outcome(500, "ValueError: passphrase=abcdef *x*", 0.2))

    def test_announced_once(self) -> None:
        """Administrators get the webhook, the id and the reason; rooms don't get the reason."""
        self.die(7)
        self.assertEqual(
            self.bot.sent_to("@admin"),
            [f"{DEAD}: 500 after 0.2 s: ValueError: passphrase=••• *x*. See !delivery show 7"],
        )
        [notice] = self.bot.sent_to("#ops")
        self.assertRegex(
            notice,
            rf"^{DEAD}, see !delivery show 7 \(error \w{{8}}\)\.$",
        )
        self.bot.advance(3 * WEBHOOK_INTERVAL)
        self.assertEqual(len(self.bot.messages), 2)

    def test_thousand_dead_deliveries(self) -> None:
        """Further deliveries of a webhook are counted, and announced together each minute; those of another webhook at once."""
        self.die(*range(1000))
        self.die(5000, webhook="Builds:build")
        self.assertEqual(len(self.bot.sent_to("#ops")), 2)
        self.bot.advance(WEBHOOK_INTERVAL)
        self.die(1001)
        self.bot.advance(WEBHOOK_INTERVAL)
        self.die(1002)
        self.assertEqual(
            self.bot.sent_to("#ops")[2:],
            [
                "More dead deliveries of Github:notification: 999. See !delivery list Github:notification dead",
                "More dead deliveries of Github:notification: 1. See !delivery list Github:notification dead",
            ],
        )
        self.bot.advance(2 * WEBHOOK_INTERVAL)
        self.die(1003)
        self.assertIn("The delivery 1003 of", self.bot.sent_to("#ops")[-1])

    def test_stop(self) -> None:
        """When the bot stops, the number of deliveries that weren't announced is; no timer remains."""
        self.die(1, 2)
        self.bot.bot.notices.stop()
        self.assertIn("More dead deliveries of Github:notification: 1.", self.bot.sent_to("@admin")[-1])
        self.bot.advance(2 * WEBHOOK_INTERVAL)
        self.die(3)
        self.assertIn("The delivery 3 of", self.bot.sent_to("@admin")[-1])
        self.bot.bot.notices.stop()
