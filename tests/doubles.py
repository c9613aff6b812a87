"""A bot on several networks in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.botplugin import BotPlugin
from errklein.testing import TestBot


class NetworksCase(SynchronousTestCase):
    """A test with the bot `self.bot`, on the networks and with the settings and plugins of the class.

    It uses no thread, no socket and no time.
    """

    networks: Mapping[str, Mapping[str, Any]] = {"libera": {"BOT_ADMINS": ("alice",)}, "console": {}}
    """Settings of each network."""

    settings: Mapping[str, Any] = {}
    """Settings of all networks."""

    plugins: Sequence[type[BotPlugin]] = ()

    def setUp(self) -> None:
        """Start the bot."""
        super().setUp()
        self.test_bot = TestBot(self.plugins, networks=self.networks, config=self.settings)
        self.reactor: Any = self.test_bot.reactor
        self.config = self.test_bot.config
        self.backends = self.test_bot.backends
        self.bot = self.test_bot.bot
        self.addCleanup(self.test_bot.stop)
        self.test_bot.start()

    def say(self, text: str, frm: str = "bob", to: str | None = None, network: str = "libera") -> list[str]:
        """Send a message to the bot on a network, and return its messages there."""
        before = len(self.backends[network].sent)
        self.backends[network].receive(text, frm=frm, to=to)
        return self.texts(network)[before:]

    def texts(self, network: str = "libera") -> list[str]:
        """Return the plain texts of all messages on the network."""
        return [sent.text for sent in self.backends[network].sent]

    def sent(self, network: str = "libera") -> list[tuple[str, str]]:
        """Return recipient and text of all messages on the network."""
        return [(str(sent.message.to), sent.text) for sent in self.backends[network].sent]

    def forget(self) -> None:
        """Discard the messages."""
        for backend in self.backends.values():
            backend.sent.clear()
