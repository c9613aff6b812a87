"""The endpoint of a server, with TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from errklein.config import ConfigError
from errklein.networks._connection import Backoff
from errklein.networks.irc.settings import IRCSettings
from errklein.networks.outbox import RetryLater


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


class Banned(RetryLater):
    """The server has banned the bot, which tries again rarely."""

    def __init__(self, reason: str) -> None:
        super().__init__(Backoff.LONGEST)
        self.args = (reason,)
