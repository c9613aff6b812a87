"""Where the web server listens, by Twisted's descriptions of endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from errklein.web.tls import ServerCertificate

_POSITIONS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain"),
    "tls": ("path", "port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index"),
}
_SSL_ARGUMENTS = frozenset(_POSITIONS["ssl"]) - {"sslmethod"}

Endpoint = tuple[str, frozenset[tuple[str, str]]]


class ListenError(Exception):
    """An endpoint can't be opened; str() is one line with the endpoint and the reason."""

    def __init__(self, description: str, reason: str) -> None:
        super().__init__(f"can't listen on {description}: {' '.join(reason.split())}")


class Listeners:
    """The endpoints that are open, each by the description it was opened with.

    `tcp:`, `unix:`, `systemd:`, `haproxy:` and `tls:` are as Twisted has them. `ssl:` takes Twisted's arguments too,
    but offers only what is good practice, and its certificate can be read again.
    """

    log = Logger()

    def __init__(self, reactor: Any, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._factory = factory
        self._ports: dict[Endpoint, tuple[str, IListeningPort]] = {}
        self._opening: dict[Endpoint, Deferred[None]] = {}
        self._certificates: dict[Endpoint, ServerCertificate] = {}
        self._paused = False

    @property
    def open_now(self) -> list[str]:
        """The descriptions of what is open, in the order of opening."""
        return [description for description, _ in self._ports.values()]

    def is_open(self, description: str) -> bool:
        """Whether the endpoint is open, by whatever description of it."""
        return identify(description) in self._ports

    def addresses(self, description: str) -> list[IAddress]:
        """The addresses that an open endpoint has, as when its port was left to the system; empty if it isn't open."""
        found = self._ports.get(identify(description))
        return [] if found is None else [found[1].getHost()]

    def open(self, description: str) -> Deferred[None]:
        """Listen there, unless it is open already. Fires when it is bound, or fails with ListenError."""
        try:
            endpoint = identify(description)
        except ValueError as error:
            return fail(ListenError(description, str(error)))
        if endpoint in self._ports:
            return succeed(None)
        result: Deferred[None] = Deferred()
        if endpoint in self._opening:
            self._opening[endpoint].addBoth(lambda _: self.open(description).chainDeferred(result))
            return result
        opening: Deferred[None] = Deferred()
        self._opening[endpoint] = opening

        def opened(port: IListeningPort) -> None:
            self._ports[endpoint] = (description, port)
            if self._paused:
                _accept(port, False)
            self.log.info("listening on {endpoint}", endpoint=description)

        def failed(failure: Failure) -> Failure:
            self._certificates.pop(endpoint, None)
            return Failure(ListenError(description, _reason(failure.value)))

        def settled(outcome: Any) -> Any:
            del self._opening[endpoint]
            opening.callback(None)
            return outcome

        attempt = maybeDeferred(lambda: self._endpoint(description, endpoint).listen(self._factory))
        attempt.addCallback(opened).addErrback(failed).addBoth(settled).chainDeferred(result)
        return result

    def close(self, description: str) -> Deferred[None]:
        """Listen there no more; connections that are open stay. Does nothing if it isn't open."""
        endpoint = identify(description)
        self._certificates.pop(endpoint, None)
        found = self._ports.pop(endpoint, None)
        if found is None:
            return succeed(None)
        self.log.info("no longer listening on {endpoint}", endpoint=description)
        return maybeDeferred(found[1].stopListening).addCallback(lambda _: None)

    def close_all(self) -> Deferred[None]:
        """Listen nowhere any more."""
        return gatherResults([self.close(description) for description in self.open_now]).addCallback(lambda _: None)

    def pause(self) -> None:
        """Let new connections wait in the system's queue until `resume`, those to endpoints opened meanwhile too."""
        self._paused = True
        for _, port in self._ports.values():
            _accept(port, False)

    def resume(self) -> None:
        """Take the connections that wait, and new ones as they come."""
        self._paused = False
        for _, port in self._ports.values():
            _accept(port, True)

    def expiries(self) -> list[tuple[str, datetime]]:
        """The `ssl:` endpoints that are open, each with the time at which its certificate expires."""
        return [
            (self._ports[endpoint][0], certificate.expires)
            for endpoint, certificate in self._certificates.items()
            if endpoint in self._ports
        ]

    def reload_certificates(self) -> None:
        """Read the certificates of `ssl:` endpoints again; what can't be used is logged, and the old one stays.

        `tls:` endpoints notice changes in their directories by themselves.
        """
        from errklein.web.tls import CertificateError

        for endpoint, certificate in self._certificates.items():
            description = self._ports[endpoint][0] if endpoint in self._ports else endpoint[0]
            try:
                certificate.reload()
                self.log.info("read the certificate of {endpoint} again", endpoint=description)
            except CertificateError as error:
                self.log.error("{endpoint} keeps its certificate: {error}", endpoint=description, error=str(error))

    def _endpoint(self, description: str, endpoint: Endpoint) -> IStreamServerEndpoint:
        kind, named = endpoint
        if kind == "tls" and not any(Path(dict(named).get("path", "")).glob("*.pem")):
            # Twisted would listen, and fail each handshake.
            raise ValueError("tls: needs a directory with .pem files, each a certificate and its key")
        if kind != "ssl":
            made: IStreamServerEndpoint = serverFromString(self._reactor, description)
            return made
        # TLS takes its time to import, and is needed here alone.
        from errklein.web.tls import ServerCertificate, TLSEndpoint

        arguments = dict(named)
        unknown = sorted(set(arguments) - _SSL_ARGUMENTS)
        if unknown:
            raise ValueError(f"ssl: has no argument {unknown[0]}")
        if "port" not in arguments:
            raise ValueError("ssl: needs a port")
        key = arguments.get("privateKey", "server.pem")
        chain = arguments.get("extraCertChain")
        certificate = ServerCertificate(
            Path(key), Path(arguments.get("certKey", key)), None if chain is None else Path(chain)
        )
        self._certificates[endpoint] = certificate
        return TLSEndpoint(
            self._reactor,
            int(arguments["port"]),
            certificate,
            int(arguments.get("backlog", "50")),
            arguments.get("interface", ""),
        )


def _accept(port: object, accept: bool) -> None:
    """Take new connections or leave them waiting; ports without a socket, as tests have them, have nothing to leave."""
    if isinstance(port, FileDescriptor):
        if accept:
            port.startReading()
        else:
            port.stopReading()


def identify(description: str) -> Endpoint:
    """What a description means, the same for each way to write it. Raises ValueError for what is no description."""
    kind, *arguments = _split(description)
    kind = kind.strip().lower()
    if not kind or not arguments:
        raise ValueError("an endpoint is written like tcp:3141:interface=127.0.0.1")
    if kind == "haproxy":
        return kind, frozenset({("endpoint", description.partition(":")[2])})
    named = {}
    positions = iter(_POSITIONS.get(kind, ()))
    for number, argument in enumerate(arguments):
        name, separator, value = argument.partition("=")
        if separator and name.isidentifier():
            named[name] = _unescape(value)
        else:
            named[next(positions, str(number))] = _unescape(argument)
    return kind, frozenset(named.items())


def _split(description: str) -> Sequence[str]:
    return list(_parts(description))


def _parts(description: str) -> Iterator[str]:
    part = ""
    characters = iter(description)
    for character in characters:
        if character == "\\":
            part += character + next(characters, "")
        elif character == ":":
            yield part
            part = ""
        else:
            part += character
    yield part


def _unescape(value: str) -> str:
    result = ""
    characters = iter(value)
    for character in characters:
        result += next(characters, "") if character == "\\" else character
    return result


def _reason(error: BaseException | None) -> str:
    if isinstance(error, CannotListenError):
        cause = error.socketError
        return str(getattr(cause, "strerror", None) or cause)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
