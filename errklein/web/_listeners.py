"""Where the web server listens, by Twisted's descriptions of endpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
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
    from errklein.web._certificates import CertificateStore

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


@dataclass(frozen=True)
class _Listener:
    description: str
    port: IListeningPort
    certificates: CertificateStore | None

    def accept(self, accept: bool) -> None:
        """Take new connections, or leave them waiting. Ports without a socket, as tests have them, have none to leave."""
        if isinstance(self.port, FileDescriptor):
            (self.port.startReading if accept else self.port.stopReading)()  # type: ignore[no-untyped-call]


class Listeners:
    """The endpoints that are open, each by the description it was opened with.

    `tcp:`, `unix:`, `systemd:` and `haproxy:` are Twisted's. `ssl:` and `tls:` take Twisted's arguments, but offer only secure
    versions and cipher suites, and read their certificates again when the files change.
    """

    log = Logger()

    def __init__(self, reactor: Any, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._factory = factory
        self._open: dict[Endpoint, _Listener] = {}
        self._opening = DeferredLock()
        self._checking = LoopingCall(self._check_certificates)
        self._checking.clock = reactor
        self._paused = False

    @property
    def open_now(self) -> list[str]:
        """The descriptions of what is open, in the order of opening."""
        return [listener.description for listener in self._open.values()]

    def is_open(self, description: str) -> bool:
        """Whether the endpoint is open, by whatever description of it."""
        return identify(description) in self._open

    def open(self, description: str) -> Deferred[None]:
        """Listen there, unless it is open already. Fires when it is bound, or fails with ListenError."""
        return self._opening.run(self._listen, description)

    async def _listen(self, description: str) -> None:
        try:
            if self.is_open(description):
                return
            endpoint, certificates = server_endpoint(self._reactor, description)
            port = await maybeDeferred(endpoint.listen, self._factory)
        except Exception as error:
            raise ListenError(description, _reason(error)) from None
        listener = self._open[identify(description)] = _Listener(description, port, certificates)
        if self._paused:
            listener.accept(False)
        self.log.info("listening on {endpoint}", endpoint=description)
        if certificates is not None:
            self._log_problems(description, certificates.problems)
            if not self._checking.running:
                self._checking.start(_SECONDS_BETWEEN_CHECKS, now=False)

    def close(self, description: str) -> Deferred[None]:
        """Listen there no more; connections that are open stay. Does nothing if it isn't open."""
        listener = self._open.pop(identify(description), None)
        if listener is None:
            return succeed(None)
        if self._checking.running and not self._with_certificates():
            self._checking.stop()
        self.log.info("no longer listening on {endpoint}", endpoint=description)
        return maybeDeferred(listener.port.stopListening).addCallback(lambda _: None)

    def close_all(self) -> Deferred[None]:
        """Listen nowhere any more."""
        return gatherResults([self.close(description) for description in self.open_now]).addCallback(lambda _: None)

    def pause(self) -> None:
        """Let new connections wait in the system's queue until `resume`, those to endpoints opened meanwhile too."""
        self._paused = True
        for listener in self._open.values():
            listener.accept(False)

    def resume(self) -> None:
        """Take the connections that wait, and new ones as they come."""
        self._paused = False
        for listener in self._open.values():
            listener.accept(True)

    def expiries(self) -> list[tuple[str, datetime]]:
        """Pairs of file and endpoint, as text, and expiry for each certificate that open endpoints serve."""
        return [
            (f"{path} ({description})", expires)
            for description, store in self._with_certificates()
            for path, expires in store.expiries
        ]

    def reload_certificates(self) -> None:
        """Read all certificates again, changed or not. Errors are logged; a certificate that can't be replaced stays in use."""
        for description, store in self._with_certificates():
            problems = store.reload()
            self._log_problems(description, problems)
            if not problems:
                self.log.info("read the certificates of {endpoint} again", endpoint=description)

    def _check_certificates(self) -> None:
        """Read the certificates again whose files have changed."""
        for description, store in self._with_certificates():
            try:
                problems = store.refresh()
            except Exception:
                # An exception would end the LoopingCall, and renewed certificates would no longer be served.
                self.log.failure("the certificates of {endpoint} can't be checked", endpoint=description)
                continue
            if problems is not None:
                self.log.info("certificate files of {endpoint} have changed", endpoint=description)
                self._log_problems(description, problems)

    def _with_certificates(self) -> list[tuple[str, CertificateStore]]:
        listeners = self._open.values()
        return [(one.description, one.certificates) for one in listeners if one.certificates is not None]

    def _log_problems(self, description: str, problems: Sequence[str]) -> None:
        for problem in problems:
            self.log.error("{endpoint}: {problem}", endpoint=description, problem=problem)


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
        if not separator or not name.isidentifier():
            name, value = next(positions, str(number)), argument
        named[name] = _ESCAPE.sub(r"\1", value)
    return kind, frozenset(named.items())


def _reason(error: BaseException | None) -> str:
    if isinstance(error, CannotListenError):
        cause = error.socketError
        return str(getattr(cause, "strerror", None) or cause)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
