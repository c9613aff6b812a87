"""What plugin authors test with: a bot in memory, a webhook client, and test cases for trial."""

from errklein.testing.bot import ADMIN, LeftOver, Sent, TestBot
from errklein.testing.case import PluginTestCase
from errklein.testing.client import WebhookClient
from errklein.testing.reactor import TestReactor

__all__ = ["ADMIN", "LeftOver", "PluginTestCase", "Sent", "TestBot", "TestReactor", "WebhookClient"]
