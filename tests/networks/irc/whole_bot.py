"""A whole bot in memory on an IRC network whose server a test plays by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import IRCBackend
from errklein.testing import TestBot
from tests.networks.irc.played import PlayedServer


class _PlayedBackend(IRCBackend):
    def watch(self, _: Any) -> None:
        """Do nothing: the test reads sent lines at the server."""


class WholeBotCase(SynchronousTestCase):
    """Has `self.bot`, which is in #ops on `self.server`. The server has announced no case mapping."""

    settings: Mapping[str, Any] = {}
    """Settings of the bot."""

    plugins: Sequence[type[BotPlugin]] = ()

    def setUp(self) -> None:
        """Start the bot and welcome it."""
        super().setUp()
        self.server = PlayedServer()

        def make(reactor: Any, view: Any, **services: Any) -> IRCBackend:
            self.server.clock = reactor
            return _PlayedBackend(NetworkContext(reactor, view, chance=lambda: 0.0), self.server)

        settings = {
            "BACKEND": "IRC",
            "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.example"},
            "BOT_ADMINS": ("boss!*@*",),
            "CHATROOM_PRESENCE": ("#ops",),
            "IRC_CHANNEL_RATE": 0,
            "IRC_PRIVATE_RATE": 0,
            **self.settings,
        }
        with mock.patch("errklein.wiring.make_backend", make):
            self.test_bot = TestBot(self.plugins, config=settings)
        self.bot = self.test_bot.bot
        self.test_bot.start()
        self.addCleanup(self.stop)
        self.log_in()

    def log_in(self, *more: str) -> None:
        """Welcome the bot with further lines `more`, and let it join #ops."""
        self.server.welcome()
        self.server.say(*more)
        self.server.enter("#ops")
        self.server.take()

    def stop(self) -> None:
        """Close the connection after QUIT, as a real server does."""
        self.test_bot.backends["irc"].disconnect()
        self.server.close()
        self.test_bot.stop()

    def announce(self, casemapping: str) -> None:
        """Announce the case mapping."""
        self.server.say(f":irc.example 005 errklein CASEMAPPING={casemapping} NICKLEN=30 :are supported by this server")

    def plugin(self, kind: type[BotPlugin]) -> Any:
        """Return the active instance of the plugin."""
        return self.bot.plugin_manager.get_plugin_obj_by_name(kind.__name__)

    def replies_to(self, *lines: str | bytes) -> list[str]:
        """Send lines to the bot, and return the texts of its replies to any recipient."""
        self.server.say(*lines)
        self.test_bot.reactor.advance(0)
        self.server.answer()
        return [line.split(" :", 1)[1] for line in self.server.take() if line.startswith("PRIVMSG")]
