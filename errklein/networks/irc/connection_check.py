"""A check of an IRC network: the bot registers with the server as it does at its start, and disconnects."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet import defer
from twisted.internet.interfaces import IStreamClientEndpoint

from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import IRCBackend

TIMEOUT = 30.0  # Seconds that the server has to complete the registration


class ConnectionCheck(IRCBackend):
    """One connection with the identity of the configuration. It joins no rooms and sends no messages, also not to
    NickServ. If the nick is taken, for example by the running bot, it takes another one, as the bot does."""

    def __init__(self, context: NetworkContext, endpoint: IStreamClientEndpoint | None = None) -> None:
        super().__init__(context, endpoint)
        self._has_nickserv_password = bool(self.settings.nickserv_password)
        self.settings = replace(self.settings, nickserv_password="")
        self._nick: defer.Deferred[str] = defer.Deferred()

    async def result(self, is_running: bool) -> str:
        """Return a sentence about a server that accepts the bot; raise ConnectionError with the reason if it doesn't.

        :param is_running: Whether the bot runs, perhaps with its nick.
        """
        settings = self.settings
        server = f"{settings.server}:{settings.port}{' with TLS' if settings.tls else ''}"
        try:
            nick = await self.nick()
        except ConnectionError as error:
            raise ConnectionError(f"{server}: {error}") from None
        text = f"{server} accepts the bot as {nick}"
        if self._has_nickserv_password:
            text += "; its password for NickServ isn't checked, since that takes a message"
        if nick.lower() != settings.nickname.lower():
            text += f", since the nick {settings.nickname} is in use, or too long for the server"
            if not is_running:
                raise ConnectionError(text)
            text += "; a bot runs, perhaps with this nick"
        return text

    async def nick(self) -> str:
        """Return the nick that the server has registered; raise ConnectionError with the reason if there is none."""
        session = defer.Deferred.fromCoroutine(self.session())
        session.addErrback(lambda failure: self._failed(failure.getErrorMessage()))
        try:
            return await self._nick.addTimeout(TIMEOUT, self.reactor)
        except defer.TimeoutError:
            reason = f"the server didn't respond, or complete the registration, within {TIMEOUT:.0f} s"
            raise ConnectionError(reason) from None
        finally:
            if not session.called:
                session.cancel()
                await session

    def signed_on(self) -> None:
        """Return the nick instead of joining rooms."""
        if self.protocol is not None and not self._nick.called:
            self._nick.callback(self.protocol.nickname)

    def _failed(self, why: str) -> None:
        if not self.settings.tls and self.settings.port == 6697:
            why += "; port 6697 is usually one with TLS: set BOT_IDENTITY['ssl']"
        elif self.settings.tls and any(sign in why for sign in ("wrong version", "record layer", "non-clean")):
            why += "; the port may be one without TLS: correct BOT_IDENTITY['port'], usually 6697"
        if not self._nick.called:
            self._nick.errback(ConnectionError(why))
