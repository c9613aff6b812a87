"""How a server is reached, and how long to wait when it isn't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet import ssl
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from errklein.backends.irc.settings import IRCSettings
from errklein.config import ConfigError


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
