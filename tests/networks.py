"""A bot on several networks in memory, for tests of what happens between them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.test import TestBackend
from errklein.bot import Bot
from errklein.config import Config, load_config
from errklein.plugins.botplugin import BotPlugin
from errklein.running import Runner
from errklein.storage import MemoryStorage
from errklein.testing.pool import InlinePool
from errklein.testing.reactor import TestReactor
from errklein.web import WebServer


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
        registerAsIOThread()
        self.ended = 0
        self.reactor: Any = TestReactor()
        data = Path(self.mktemp())
        data.mkdir()
        networks = {name: {"BACKEND": "Test", **settings} for name, settings in self.networks.items()}
        given = {"BACKENDS": networks, "BOT_DATA_DIR": str(data), "STORAGE": "Memory", **self.settings}
        self.config: Config = load_config(None, given)
        self.backends = {name: TestBackend(self.reactor, view) for name, view in self.config.networks.items()}
        runner = Runner(self.reactor)
        web = WebServer(self.reactor, runner, InlinePool(self.reactor, "webhooks"))
        self.bot = Bot(
            self.reactor,
            self.config,
            storage=MemoryStorage(),
            web=web,
            runner=runner,
            command_pool=InlinePool(self.reactor, "commands"),
            plugin_pool=InlinePool(self.reactor, "plugins"),
            backends=self.backends,
            plugin_classes=self.plugins,
            ended=self._count_end,
        )
        self.successResultOf(Deferred.fromCoroutine(self.bot.start()))
        log = logging.getLogger("errbot")
        self.addCleanup(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop the bot, without waiting for what runs."""
        stopping = Deferred.fromCoroutine(self.bot.stop(0))
        self.reactor.advance(0)
        self.successResultOf(stopping)

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

    def _count_end(self) -> None:
        self.ended += 1
