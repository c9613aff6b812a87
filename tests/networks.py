"""A bot on several networks in memory, for tests of what happens between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.botplugin import BotPlugin
from errklein.testing import TestBot


class NetworksCase(SynchronousTestCase):
    """Has `self.bot` with the networks, settings and plugins that the class names; no thread, no socket, no time."""

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
        """Somebody says something on a network; what is sent on that network by the time the bot is back."""
        before = len(self.backends[network].sent)
        self.backends[network].receive(text, frm=frm, to=to)
        return self.texts(network)[before:]

    def texts(self, network: str = "libera") -> list[str]:
        """All that was sent on the network, as it reads."""
        return [sent.text for sent in self.backends[network].sent]

    def sent(self, network: str = "libera") -> list[tuple[str, str]]:
        """All that was sent on the network, as addressee and text."""
        return [(str(sent.message.to), sent.text) for sent in self.backends[network].sent]

    def forget(self) -> None:
        """Forget what was sent."""
        for backend in self.backends.values():
            backend.sent.clear()
