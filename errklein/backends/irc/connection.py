"""The connection to a server: how it is made, and made again after growing delays when it is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet import ssl
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.backends.irc.settings import IRCSettings
from errklein.config import ConfigError

if TYPE_CHECKING:
    from errklein.backends.irc._protocol import IRCProtocol


class Backoff:
    """Delays that double from `first` to 5 minutes, each up to half longer, so that bots don't return together."""

    FIRST = 1.0
    LONGEST = 300.0

    def __init__(self, chance: Callable[[], float], first: float | None = None) -> None:
        self._chance = chance
        self._first = self._next = self.FIRST if first is None else first

    def delay(self, longest: bool = False) -> float:
        """How many seconds to wait before the next try."""
        base = self.LONGEST if longest else self._next
        self._next = min(max(self._next * 2, self.FIRST), self.LONGEST)
        return min(base * (1 + self._chance() / 2), self.LONGEST)

    def reset(self) -> None:
        """It worked: begin with the shortest delay again."""
        self._next = self._first


def endpoint_for(reactor: Any, settings: IRCSettings) -> IStreamClientEndpoint:
    """Where to connect. With TLS the certificate and its name are verified. Raises ConfigError for a bad `ssl_ca`."""
    endpoint: IStreamClientEndpoint
    if settings.ipv6:
        endpoint = TCP6ClientEndpoint(reactor, settings.server, settings.port, bindAddress=settings.bind_address)
    else:
        endpoint = HostnameEndpoint(reactor, settings.server, settings.port, bindAddress=settings.bind_address)
    if settings.tls:
        options = ssl.optionsForClientTLS(settings.server, trustRoot=trusted(settings))
        endpoint = wrapClientTLS(options, endpoint)
    return endpoint


def trusted(settings: IRCSettings) -> Any:
    """The certificates of `ssl_ca`, None for the system's. Raises ConfigError if they can't be read."""
    if settings.tls_ca is None:
        return None
    end = b"-----END CERTIFICATE-----"
    try:
        certificates = [block + end for block in settings.tls_ca.read_bytes().split(end)[:-1]]
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(certificate) for certificate in certificates])
    except (OSError, SSL.Error, crypto.Error):
        raise ConfigError("BOT_IDENTITY: 'ssl_ca' can't be read; expected certificates in PEM format") from None


def describe_failure(failure: Failure) -> str:
    """Why a connection could not be made or was lost, in one line."""
    error = failure.value
    if isinstance(error, VerificationError):
        return "its TLS certificate is for another name"
    if isinstance(error, SSL.Error):
        reasons = ", ".join(str(entry[-1]) for entry in error.args[0]) if error.args and error.args[0] else "TLS failed"
        if "certificate verify failed" in reasons:
            return f"its TLS certificate is not trusted: {reasons} (a CA of your own goes to BOT_IDENTITY['ssl_ca'])"
        return f"TLS failed: {reasons}"
    return " ".join(failure.getErrorMessage().split()) or type(error).__name__


class Reconnector:
    """The connection of one bot to its server, there or not. `protocol` is None while it isn't.

    `connection_lost` must be called when a connection that `make_protocol` returned has ended.
    """

    log = Logger()

    STABLE_AFTER = 30.0
    """How many seconds the bot must have been let in for a connection to count as a success."""

    QUIT_TIMEOUT = 0.4
    """How many seconds the server has to answer QUIT."""

    def __init__(
        self,
        reactor: Any,
        settings: IRCSettings,
        endpoint: IStreamClientEndpoint,
        backoff: Backoff,
        make_protocol: Callable[[], IRCProtocol],
    ) -> None:
        self.protocol: IRCProtocol | None = None
        self._reactor = reactor
        self._settings = settings
        self._make_protocol = make_protocol
        self._endpoint = endpoint
        self._backoff = backoff
        self._attempt: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._disconnecting = False
        self._disconnected: Deferred[None] | None = None

    def connect(self) -> None:
        """Connect, as often as it takes."""
        factory = Factory.forProtocol(self._make_protocol)
        factory.noisy = False
        self._attempt = self._endpoint.connect(factory)
        self._attempt.addCallbacks(self._connected, self._failed)

    def will_connect_within(self, seconds: float) -> bool:
        """Whether the network is connected, or an attempt to connect is running or begins within `seconds`."""
        if self.protocol is not None or self._attempt is not None:
            return True
        return (
            self._timer is not None
            and self._timer.active()
            and self._timer.getTime() - self._reactor.seconds() < seconds
        )

    def quit(self) -> Deferred[None]:
        """Leave the server; fires when the connection is gone."""
        self._disconnecting = True
        self._stop_timer()
        if self._attempt is None and self.protocol is None:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._disconnected = gone
        if self._attempt is not None:
            self._attempt.cancel()
        elif self.protocol is not None:
            self.protocol.sendLine("QUIT :good-bye")
            self._timer = self._reactor.callLater(self.QUIT_TIMEOUT, self.protocol.abort, "the bot is leaving")
        return gone

    def connection_lost(self, reason: Failure) -> str | None:
        """The connection is gone: plan the next one. Returns why, or None if it was the bot that left."""
        protocol, self.protocol = self.protocol, None
        self._stop_timer()
        if protocol is None or self._disconnecting:
            self._report_disconnected()
            return None
        why = protocol.reason or describe_failure(reason)
        let_in = protocol.signed_on_at
        if let_in is not None and self._reactor.seconds() - let_in >= self.STABLE_AFTER:
            self._backoff.reset()
        self._try_later(why, longest=protocol.banned)
        return why

    def _connected(self, protocol: IRCProtocol) -> None:
        self._attempt = None
        self.protocol = protocol
        if self._disconnecting:
            protocol.abort("the bot is leaving")

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        if self._disconnecting:
            self._report_disconnected()
        else:
            self._try_later(describe_failure(failure))

    def _try_later(self, why: str, longest: bool = False) -> None:
        delay = self._backoff.delay(longest)
        self.log.warn(
            "{network}: no connection to {server}:{port}: {reason}; next try in {delay:.0f} s",
            network=self._settings.network,
            server=self._settings.server,
            port=self._settings.port,
            reason=why,
            delay=delay,
        )
        self._timer = self._reactor.callLater(delay, self.connect)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _report_disconnected(self) -> None:
        if self._disconnected is not None and not self._disconnected.called:
            self._disconnected.callback(None)
