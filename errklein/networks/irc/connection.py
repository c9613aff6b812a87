"""Connecting to a server, with TLS, and reconnecting with growing delays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.config import ConfigError
from errklein.networks._connection import Backoff, describe_failure
from errklein.networks.irc.settings import IRCSettings
from errklein.running import cancel_timers

if TYPE_CHECKING:
    from errklein.networks.irc._protocol import IRCProtocol

_CERTIFICATES = "BOT_IDENTITY['ssl_ca']"


def endpoint_for(reactor: Any, settings: IRCSettings) -> IStreamClientEndpoint:
    """Return the endpoint to connect to. With TLS, the certificate and its name are verified. Raises ConfigError for an
    invalid `ssl_ca`."""
    connect: Callable[..., IStreamClientEndpoint] = TCP6ClientEndpoint if settings.ipv6 else HostnameEndpoint
    endpoint = connect(reactor, settings.server, settings.port, bindAddress=settings.bind_address)
    if not settings.tls:
        return endpoint
    return wrapClientTLS(ssl.optionsForClientTLS(settings.server, trustRoot=trusted(settings)), endpoint)


def trusted(settings: IRCSettings) -> Any:
    """Return the certificates in the file `ssl_ca`; None for those of the system. Raises ConfigError if it is invalid."""
    if settings.tls_ca is None:
        return None
    end = b"-----END CERTIFICATE-----"
    try:
        certificates = [block + end for block in settings.tls_ca.read_bytes().split(end)[:-1]]
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(certificate) for certificate in certificates])
    except (OSError, SSL.Error, crypto.Error):
        raise ConfigError(
            f"BOT_IDENTITY: 'ssl_ca' must be a readable file with certificates in PEM format; {settings.tls_ca} isn't one"
        ) from None


class Reconnector:
    """Keeps one bot connected to its server. `protocol` is the current connection, or None.

    :param endpoint: The endpoint to connect to.
    :param backoff: The delays between attempts.
    :param make_protocol: Returns a new protocol. The protocol's end must be reported to `connection_lost`.
    """

    log = Logger()

    STABLE_AFTER = 30.0
    """Seconds from the server's welcome after which a connection counts as stable, and the backoff is reset."""

    QUIT_TIMEOUT = 0.4
    """Seconds that the server has to close the connection after QUIT."""

    def __init__(
        self,
        reactor: Any,
        settings: IRCSettings,
        endpoint: IStreamClientEndpoint,
        backoff: Backoff,
        make_protocol: Callable[[], IRCProtocol],
    ) -> None:
        self.protocol: IRCProtocol | None = None
        self.problem = ""
        """Why the last connection was lost or could not be established."""
        self.failed: Callable[[str], object] | None = None
        """Gets the reason, instead of a further attempt to connect."""
        self._reactor = reactor
        self._settings = settings
        self._make_protocol = make_protocol
        self._endpoint = endpoint
        self._backoff = backoff
        self._attempt: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._disconnected: Deferred[None] | None = None  # fires when the connection is closed, after `quit`

    def connect(self) -> None:
        """Start an attempt to connect. Further attempts follow if it fails."""
        factory = Factory.forProtocol(self._make_protocol)
        factory.noisy = False
        self._attempt = self._endpoint.connect(factory)
        self._attempt.addCallbacks(self._connected, self._failed)

    def will_connect_within(self, seconds: float) -> bool:
        """Return whether the network is connected, or an attempt to connect is running or starts within `seconds`."""
        wait = self.next_attempt_in
        return self.protocol is not None or self._attempt is not None or (wait is not None and wait < seconds)

    @property
    def next_attempt_in(self) -> float | None:
        """The seconds until the next attempt to connect; None if none is scheduled."""
        if self._timer is None or not self._timer.active() or self.protocol is not None:
            return None
        seconds: float = self._timer.getTime() - self._reactor.seconds()
        return max(0.0, seconds)

    def quit(self) -> Deferred[None]:
        """Disconnect with QUIT, and return a Deferred that fires when the connection is closed."""
        cancel_timers(self._timer)
        gone = self._disconnected = Deferred()
        if self._attempt is not None:
            self._attempt.cancel()
        elif self.protocol is not None:
            self.protocol.sendLine("QUIT :good-bye")
            self._timer = self._reactor.callLater(self.QUIT_TIMEOUT, self.protocol.abort, "the bot disconnects")
        else:
            gone.callback(None)
        return gone

    def connection_lost(self, reason: Failure) -> str | None:
        """Schedule the next attempt, and return the reason of the loss; None if the bot itself has disconnected."""
        protocol, self.protocol = self.protocol, None
        cancel_timers(self._timer)
        if protocol is None or self._disconnected is not None:
            self._report_disconnected()
            return None
        why = protocol.reason or describe_failure(reason, _CERTIFICATES)
        let_in = protocol.signed_on_at
        if let_in is not None and self._reactor.seconds() - let_in >= self.STABLE_AFTER:
            self._backoff.reset()
        self._try_later(why, longest=protocol.banned)
        return why

    def _connected(self, protocol: IRCProtocol) -> None:
        self._attempt = None
        self.protocol = protocol
        if self._disconnected is not None:
            protocol.abort("the bot disconnects")

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        if self._disconnected is not None:
            self._report_disconnected()
        else:
            self._try_later(describe_failure(failure, _CERTIFICATES))

    def _try_later(self, why: str, longest: bool = False) -> None:
        self.problem = why
        if self.failed is not None:
            self.failed(why)
            return
        delay = self._backoff.delay(longest)
        self.log.warn(
            "{network}: not connected to {server}:{port} ({reason}); next try in {delay:.0f} s",
            network=self._settings.network,
            server=self._settings.server,
            port=self._settings.port,
            reason=why,
            delay=delay,
        )
        self._timer = self._reactor.callLater(delay, self.connect)

    def _report_disconnected(self) -> None:
        if self._disconnected is not None and not self._disconnected.called:
            self._disconnected.callback(None)
