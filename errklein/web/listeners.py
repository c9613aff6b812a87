"""Where the web server listens, by Twisted's descriptions of endpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, DeferredLock, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.haproxy import proxyEndpoint

if TYPE_CHECKING:
    from errklein.web.certificates import CertificateStore

_POSITIONS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain"),
    "tls": ("path", "port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index"),
}
_PART = re.compile(r"((?:\\.|[^:\\])*\\?):", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_SECONDS_BETWEEN_CHECKS = 2.0

Endpoint = tuple[str, frozenset[tuple[str, str]]]


class ListenError(Exception):
    """An endpoint can't be opened; str() is one line with the endpoint and the reason."""

    def __init__(self, description: str, reason: str) -> None:
        super().__init__(f"can't listen on {description}: {' '.join(reason.split())}")


class Listeners:
    """The endpoints that are open, each by the description it was opened with.

    `tcp:`, `unix:`, `systemd:` and `haproxy:` are Twisted's. `ssl:` and `tls:` take Twisted's arguments, but offer only secure
    versions and cipher suites, and read their certificates again when the files change.
    """

    log = Logger()

    def __init__(self, reactor: Any, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._factory = factory
        self._ports: dict[Endpoint, tuple[str, IListeningPort]] = {}
        self._opening = DeferredLock()
        self._certificates: dict[Endpoint, CertificateStore] = {}
        self._checking = LoopingCall(self._check_certificates)
        self._checking.clock = reactor
        self._paused = False

    @property
    def open_now(self) -> list[str]:
        """The descriptions of what is open, in the order of opening."""
        return [description for description, _ in self._ports.values()]

    def is_open(self, description: str) -> bool:
        """Whether the endpoint is open, by whatever description of it."""
        return identify(description) in self._ports

    def open(self, description: str) -> Deferred[None]:
        """Listen there, unless it is open already. Fires when it is bound, or fails with ListenError."""
        return Deferred.fromCoroutine(self._open(description))

    async def _open(self, description: str) -> None:
        await self._opening.acquire()
        endpoint = None
        try:
            endpoint = identify(description)
            if endpoint in self._ports:
                return
            port = await maybeDeferred(self._endpoint(description, endpoint).listen, self._factory)
            self._ports[endpoint] = (description, port)
        except Exception as error:
            if endpoint is not None:
                self._forget_certificates(endpoint)
            raise ListenError(description, _reason(error)) from None
        finally:
            self._opening.release()
        if self._paused:
            _accept(port, False)
        self.log.info("listening on {endpoint}", endpoint=description)
        if endpoint in self._certificates:
            self._log_problems(endpoint, self._certificates[endpoint].problems)

    def close(self, description: str) -> Deferred[None]:
        """Listen there no more; connections that are open stay. Does nothing if it isn't open."""
        endpoint = identify(description)
        self._forget_certificates(endpoint)
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
        """Pairs of file and endpoint, as text, and expiry for each certificate that open endpoints serve."""
        return [
            (f"{path} ({self._ports[endpoint][0]})", expires)
            for endpoint, store in self._certificates.items()
            if endpoint in self._ports
            for path, expires in store.expiries
        ]

    def reload_certificates(self) -> None:
        """Read all certificates again, changed or not. Errors are logged; a certificate that can't be replaced stays in use."""
        for endpoint, store in self._certificates.items():
            problems = store.reload()
            self._log_problems(endpoint, problems)
            if not problems:
                self.log.info("read the certificates of {endpoint} again", endpoint=self._name(endpoint))

    def _check_certificates(self) -> None:
        """Read the certificates again whose files have changed."""
        for endpoint, store in self._certificates.items():
            try:
                problems = store.refresh()
            except Exception:
                # An exception would end the LoopingCall, and renewed certificates would no longer be served.
                self.log.failure("the certificates of {endpoint} can't be checked", endpoint=self._name(endpoint))
                continue
            if problems is not None:
                self.log.info("certificate files of {endpoint} have changed", endpoint=self._name(endpoint))
                self._log_problems(endpoint, problems)

    def _log_problems(self, endpoint: Endpoint, problems: Sequence[str]) -> None:
        for problem in problems:
            self.log.error("{endpoint}: {problem}", endpoint=self._name(endpoint), problem=problem)

    def _name(self, endpoint: Endpoint) -> str:
        return self._ports[endpoint][0] if endpoint in self._ports else endpoint[0]

    def _endpoint(self, description: str, endpoint: Endpoint) -> IStreamServerEndpoint:
        made, store = server_endpoint(self._reactor, description)
        if store is not None:
            self._certificates[endpoint] = store
            if not self._checking.running:
                self._checking.start(_SECONDS_BETWEEN_CHECKS, now=False)
        return made

    def _forget_certificates(self, endpoint: Endpoint) -> None:
        self._certificates.pop(endpoint, None)
        if not self._certificates and self._checking.running:
            self._checking.stop()


def server_endpoint(reactor: Any, description: str) -> tuple[IStreamServerEndpoint, CertificateStore | None]:
    """The endpoint for a description, and its certificates; None for an endpoint without TLS.

    Raises ValueError, of which CertificateError is a subclass, and the errors of Twisted's parsers.
    """
    kind, named = identify(description)
    if kind == "haproxy":
        inner, store = server_endpoint(reactor, dict(named)["endpoint"])
        return proxyEndpoint(inner), store
    if kind not in ("ssl", "tls"):
        return serverFromString(reactor, description), None
    # Imported late, since importing TLS is slow and only needed here.
    from errklein.web.tls import tls_endpoint

    endpoint = tls_endpoint(reactor, kind, dict(named))
    return endpoint, endpoint.certificates


def _accept(port: object, accept: bool) -> None:
    """Take new connections or leave them waiting; ports without a socket, as tests have them, have nothing to leave."""
    if isinstance(port, FileDescriptor):
        if accept:
            port.startReading()
        else:
            port.stopReading()


def identify(description: str) -> Endpoint:
    """What a description means, the same for each way to write it. Raises ValueError for what is no description."""
    kind, *arguments = _PART.findall(f"{description}:")
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


def _unescape(value: str) -> str:
    return _ESCAPE.sub(r"\1", value)


def _reason(error: BaseException | None) -> str:
    if isinstance(error, CannotListenError):
        cause = error.socketError
        return str(getattr(cause, "strerror", None) or cause)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
