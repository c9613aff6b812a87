"""A check of an IRC network: the bot registers with the server as it does at its start, and disconnects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from errklein.backends.irc._backend import IRCBackend
from errklein.backends.irc.connection import Backoff, Reconnector, endpoint_for

TIMEOUT = 30.0
"""Seconds that the server has to complete the registration."""


class ConnectionCheck(IRCBackend):
    """One connection with the identity of the configuration. It joins no rooms and sends no messages, also not to NickServ.

    If the nick is taken, for example by the running bot, it takes another one, as the bot does.
    """

    def __init__(self, reactor: Any, config: Any, *, endpoint: IStreamClientEndpoint | None = None) -> None:
        super().__init__(reactor, config, endpoint=endpoint)
        self.settings = replace(self.settings, nickserv_password="")
        self._signed_on: Deferred[str] = Deferred()
        self._reconnector = _SingleAttempt(
            reactor,
            self.settings,
            endpoint or endpoint_for(reactor, self.settings),
            Backoff(lambda: 0.0),
            self._make_protocol,
        )
        self._reconnector.failed = self._failed

    async def nick(self) -> str:
        """Return the nick that the server has registered; raise ConnectionError with the reason if there is none."""
        self._reconnector.connect()
        try:
            return await self._signed_on.addTimeout(TIMEOUT, self._reactor)
        except defer.TimeoutError:
            raise ConnectionError(
                f"the server didn't respond, or complete the registration, within {TIMEOUT:.0f} s"
            ) from None
        finally:
            await self.disconnect()

    def signed_on(self) -> None:
        """Fire the result instead of joining rooms."""
        if self._reconnector.protocol is not None and not self._signed_on.called:
            self._signed_on.callback(self._reconnector.protocol.nickname)

    def _failed(self, why: str) -> None:
        if not self._signed_on.called:
            self._signed_on.errback(ConnectionError(why + self._hint(why)))

    def _hint(self, why: str) -> str:
        if self.settings.tls:
            wrong = "wrong version number" in why or "record layer" in why
            return "; the port is one without TLS: correct BOT_IDENTITY['port'], usually 6697" if wrong else ""
        return "; port 6697 is usually one with TLS: set BOT_IDENTITY['ssl']" if self.settings.port == 6697 else ""


class _SingleAttempt(Reconnector):
    """Reports a failed or lost connection to `failed` instead of connecting again."""

    failed: Any

    def _try_later(self, why: str, longest: bool = False) -> None:
        self.failed(why)
