"""The endpoints on which the web server listens, given by Twisted's endpoint descriptions, and the reasons why one can't be opened."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, DeferredLock, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein.listening._connections import ProxiedFactory, use_event_loop

if TYPE_CHECKING:
    from errklein.listening.tls import CertificateStore

SOCKETS = "ERRKLEIN_SOCKETS"
"""The variable of the environment in which a supervisor names sockets that it has opened: an object of JSON with the
descriptor of each, by the description of its endpoint."""

_PRIVILEGED = 1024


def listen_problem(error: BaseException, port: int | None = None, interface: str = "") -> str:
    """Return the reason why a TCP port or another endpoint can't be opened, in one line with the remedy."""
    if isinstance(error, CannotListenError):
        if isinstance(error.port, int):
            port, interface = error.port, error.interface
        elif isinstance(error.socketError, str):
            # Twisted could not lock the socket's file.
            path = os.fsdecode(error.port)
            return f"another program listens on {path}; stop it (`ss -lxp` shows it), or choose another path"
        error = error.socketError
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return f"{interface} is neither an address nor a known host name; use an address of this machine, such as 127.0.0.1"
    if not isinstance(error, OSError):
        return text
    of_port = _of_port(error, port, interface) if port is not None else ""
    file = f"{error.filename}: " if error.filename else ""
    return of_port or f"{file}{error.strerror or text}"


def _of_port(error: OSError, port: int, interface: str) -> str:
    of_address = f" of {interface}" if interface else ""
    if error.errno == errno.EADDRINUSE:
        remedy = f"stop it (`ss -ltnp 'sport = :{port}'` shows it), or choose another port"
        return f"port {port}{of_address} is in use by another program, perhaps another errklein; {remedy}"
    if error.errno == errno.EACCES and port < _PRIVILEGED:
        remedy = f"choose another port, such as {port + 8000}, or let systemd or a proxy open this one"
        needed = "root or the capability CAP_NET_BIND_SERVICE"
        return f"port {port}{of_address} is below {_PRIVILEGED}, which requires {needed}; {remedy}"
    if error.errno == errno.EADDRNOTAVAIL:
        remedy = "`ip address` lists its addresses, 127.0.0.1 is for local clients only, and 0.0.0.0 is for all"
        return f"this machine has no address {interface}; {remedy}"
    return ""


def unix_problem(path: Path) -> str:
    """Return the reason why a UNIX socket can't be created in the directory of the path, with the remedy; "" if it can."""
    directory = path.parent
    if not directory.exists():
        return f"the directory {directory} is missing; create it with `mkdir -p {directory}`, or choose another path"
    if not directory.is_dir():
        return f"{directory} isn't a directory; choose another path"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"this user can't write to the directory {directory}; change its owner or mode, or choose another path"
    if path.exists() and not path.is_socket():
        return f"the file {path} exists and isn't a socket; remove it, or choose another path"
    return ""


_POSITIONS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain"),
    "tls": ("path", "port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index"),
}
_SCHEMES = {"tcp": "http", "tcp6": "http", "ssl": "https", "tls": "https"}
_PART = re.compile(r"((?:\\.|[^:\\])*\\?):", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_EXAMPLE = "tcp:3141:interface=127.0.0.1"
_SECONDS_BETWEEN_CHECKS = 2.0

Endpoint = tuple[str, frozenset[tuple[str, str]]]


class ListenError(Exception):
    """An endpoint can't be opened. `str()` is one line with the endpoint's description and the reason."""

    def __init__(self, description: str, reason: str) -> None:
        super().__init__(f"can't listen on {description}: {' '.join(reason.split())}")


class _Listener(NamedTuple):
    description: str
    port: IListeningPort
    certificates: CertificateStore | None


class Listeners:
    """The open endpoints, each with the description that opened it. `tcp:`, `unix:` and `systemd:` are Twisted's. `ssl:` and `tls:`
    take Twisted's arguments, but offer only secure versions and cipher suites, and reload certificates that change. `haproxy:`
    accepts all valid PROXY headers, before TLS. `guard` is called with each new port."""

    log = Logger()

    def __init__(
        self, reactor: Any, factory: IProtocolFactory, guard: Callable[[IListeningPort], None] = lambda port: None
    ) -> None:
        self._reactor, self._factory, self._guard = reactor, factory, guard
        self._open: dict[Endpoint, _Listener] = {}
        self._opening = DeferredLock()
        self._checking = LoopingCall(self._check_certificates)
        self._checking.clock = reactor
        self._paused = False
        self.note_others(None, ())

    def note_others(self, node: str | None, elsewhere: Sequence[str]) -> None:
        """Note the endpoint that only other processes of the bot use, and those that only they open."""
        self.node, self.elsewhere = node, elsewhere

    @property
    def public(self) -> list[str]:
        """The endpoints for webhooks, also those of other processes of the bot, as far as they are known here."""
        return [*self.elsewhere, *(endpoint for endpoint in self.open_now if endpoint != self.node)]

    @property
    def open_now(self) -> list[str]:
        return [listener.description for listener in self._open.values()]

    def is_open(self, description: str) -> bool:
        """Return whether the endpoint is open, also under another spelling of its description."""
        return identify(description) in self._open

    def open(self, description: str) -> Deferred[None]:
        """Listen on an endpoint, unless it is open already. The Deferred fires when it is bound, or fails with ListenError."""
        return self._opening.run(self._listen, description)

    async def _listen(self, description: str) -> None:
        try:
            if self.is_open(description):
                return
            sockets, is_proxied, certificates = server_endpoint(self._reactor, description)
            factory = self._factory
            if certificates is not None:
                from twisted.protocols.tls import TLSMemoryBIOFactory

                # Without `clock`, small writes would wait for the global reactor, which may be another one in tests, or not run.
                factory = TLSMemoryBIOFactory(certificates, False, factory, clock=self._reactor)
            factory = ProxiedFactory(self._reactor, factory) if is_proxied else factory
            port = await maybeDeferred((self._shared(description) or sockets).listen, factory)
        except Exception as error:
            raise ListenError(description, _reason(description, error)) from None
        use_event_loop(port)
        self._guard(port)
        self._open[identify(description)] = _Listener(description, port, certificates)
        if self._paused:
            self.pause()
        self.log.info("Listening on {endpoint}", endpoint=description)
        if certificates is not None:
            self._log_problems(description, certificates.problems)
            if not self._checking.running:
                self._checking.start(_SECONDS_BETWEEN_CHECKS, now=False)

    def _shared(self, description: str) -> IStreamServerEndpoint | None:
        """Return an endpoint with the socket that a supervisor has opened for several processes; None without one."""
        number = json.loads(os.environ.get(SOCKETS, "{}")).get(description)
        if number is None:
            return None
        with socket.socket(fileno=os.dup(number)) as shared:
            return AdoptedStreamServerEndpoint(self._reactor, os.dup(number), shared.family)

    def address(self, description: str) -> str:
        """Return where other machines reach an open endpoint with TCP, as host and port; "" if it isn't one."""
        found = self._open.get(identify(description))
        own: Any = None if found is None else found.port.getHost()
        host = getattr(own, "host", "")
        name = socket.getfqdn() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        return f"{name}:{own.port}" if host else ""

    def close(self, description: str) -> Deferred[None]:
        listener = self._open.pop(identify(description), None)
        if listener is None:
            return succeed(None)
        if self._checking.running and not self._with_certificates():
            self._checking.stop()
        self.log.info("Stopped listening on {endpoint}", endpoint=description)
        return maybeDeferred(listener.port.stopListening).addCallback(lambda _: None)

    def close_all(self) -> Deferred[None]:
        return gatherResults([self.close(description) for description in self.open_now]).addCallback(lambda _: None)

    def pause(self) -> None:
        """Leave new connections in the system's queue until `resume`, including those to endpoints opened meanwhile."""
        self._accept(False)

    def resume(self) -> None:
        self._accept(True)

    def _accept(self, accept: bool) -> None:
        self._paused = not accept
        for _, port, _ in self._open.values():
            # Ports without a socket, as in tests, have no queue.
            if isinstance(port, FileDescriptor):
                (port.startReading if accept else port.stopReading)()  # type: ignore[no-untyped-call]

    def expiry_warnings(self, now: datetime | None = None) -> Iterator[tuple[tuple[object, ...], str]]:
        """Yield a warning for each certificate in use that has less than 30, 7 or 1 days left, or has expired. Each is
        a pair of a key, which is another one at the next stage, and a sentence."""
        for endpoint, file, expires in self.expiries():
            left = expires - (now or datetime.now(UTC))
            stage = 0 if left.total_seconds() <= 0 else next((days for days in (1, 7, 30) if left.days < days), None)
            if stage is not None:
                when = "has expired" if stage == 0 else f"expires on {expires:%Y-%m-%d}, in less than {stage} day"
                sentence = f"The certificate in {file} ({endpoint}) {when}{'s' if stage > 1 else ''}; replace it."
                yield ("certificate", endpoint, file, expires, stage), sentence

    def expiries(self) -> list[tuple[str, str, datetime]]:
        stores = self._with_certificates()
        return [(endpoint, str(path), expires) for endpoint, store in stores for path, expires in store.expiries]

    def reload_certificates(self) -> None:
        """Reload all certificates, changed or not. Errors are logged, and all stay in use if one can't be replaced."""
        for description, store in self._with_certificates():
            problems = store.reload()
            self._log_problems(description, problems)
            if not problems:
                self.log.info("Reloaded the certificates of {endpoint}", endpoint=description)

    def _check_certificates(self) -> None:
        for description, store in self._with_certificates():
            try:
                problems = store.refresh()
            except Exception:
                # An exception would end the LoopingCall, and renewed certificates would no longer be served.
                self.log.failure("Could not check the certificates of {endpoint}", endpoint=description)
                continue
            if problems is not None:
                self.log.info("Certificate files of {endpoint} have changed", endpoint=description)
                self._log_problems(description, problems)

    def _with_certificates(self) -> list[tuple[str, CertificateStore]]:
        listeners = self._open.values()
        return [(one.description, one.certificates) for one in listeners if one.certificates is not None]

    def _log_problems(self, description: str, problems: Sequence[str]) -> None:
        for problem in problems:
            self.log.error("{endpoint}: {problem}", endpoint=description, problem=problem)


def server_endpoint(reactor: Any, description: str) -> tuple[IStreamServerEndpoint, bool, CertificateStore | None]:
    """Return the endpoint for a description, whether connections begin with a PROXY header, and the certificates, if any. Raises
    ValueError."""
    kind, named = identify(description)
    if kind == "haproxy":
        sockets, _, certificates = server_endpoint(reactor, dict(named)["endpoint"])
        return sockets, True, certificates
    if kind not in ("ssl", "tls"):
        return serverFromString(reactor, description), False, None
    # Imported late, since importing TLS is slow and only needed here.
    from errklein.listening.tls import tls_endpoint

    sockets, certificates = tls_endpoint(reactor, kind, dict(named))
    return sockets, False, certificates


def shared_address(description: str) -> tuple[str, int] | None:
    """Return host and port of an endpoint whose socket several processes can share; None for others. Raises ValueError."""
    kind, arguments = identify(description)
    named = dict(arguments)
    if kind == "haproxy":
        return shared_address(named["endpoint"])
    if kind not in ("tcp", "ssl", "tls"):
        return None
    defaults = {"port": "443", "interface": "::"} if kind == "tls" else {"interface": ""}
    named = {**defaults, **named}
    return (named["interface"], int(named["port"])) if named["port"].isdecimal() else None


def identify(description: str) -> Endpoint:
    """Return the kind and the arguments of an endpoint description, the same for all spellings. Raises ValueError."""
    kind, *arguments = _PART.findall(f"{description}:")
    kind = kind.strip().lower()
    if not kind or not arguments:
        raise ValueError(f"an endpoint description has a kind and arguments, such as {_EXAMPLE}")
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


def endpoint_url(description: str) -> str:
    """Return the URL of a Twisted endpoint string, such as `http://127.0.0.1:3141`. Endpoints without a fixed port, and
    those of kinds other than TCP and TLS, are returned as they are."""
    kind, arguments = identify(description)
    named = dict(arguments)
    scheme, port, host = _SCHEMES.get(kind), named.get("port", "0"), named.get("interface", "")
    if scheme is None or not port.isdecimal() or int(port) == 0:
        return description
    if host in ("", "0.0.0.0", "::"):
        return f"{scheme}://localhost:{port} (all interfaces)"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def description_problem(description: str) -> str:
    """Return the reason why an endpoint description is invalid, or its certificates can't be used; "" if there is none.
    Nothing is opened, and what another process has, or only another user may read, isn't a problem."""
    try:
        server_endpoint(None, description)
    except Exception as error:
        is_of_others = _is_inherited(description, error) or os.strerror(errno.EACCES) in str(error)
        return "" if is_of_others else _reason(description, error)
    return ""


def _is_inherited(description: str, error: Exception) -> bool:
    # Systemd hasn't passed the socket.
    return isinstance(error, LookupError) and "systemd" in description.split(":")


# Patterns of Python's error messages about a description, each with the message for the operator.
_READABLE = (
    (r"bind\(\): port must be .*", "a port is a number from 0 to 65535"),
    (r"invalid literal for int\(\) with base \d+: (.*)", r"\1 isn't a number"),
    (r".*unexpected keyword argument ('\w+')", r"unknown argument \1"),
    (r".*missing \d+ required positional arguments?: (.*)", r"\1 is missing"),
    (r".*takes .*positional arguments? but .*", "too many arguments"),
    (r"module 'socket' has no attribute 'AF_(\w+)'", r"unknown domain '\1'"),
)


def _reason(description: str, error: Exception) -> str:
    kind, _, rest = description.partition(":")
    kind = kind.strip().lower()
    if kind == "haproxy":
        return _reason(rest, error)
    if isinstance(error, (OSError, CannotListenError)):
        of_path = unix_problem(Path(dict(identify(description)[1])["address"])) if kind == "unix" else ""
        return of_path or listen_problem(error)
    if _is_inherited(description, error):
        return "systemd hasn't passed such a socket"
    text = " ".join(str(error).split())
    matches = ((re.fullmatch(pattern, text), meaning) for pattern, meaning in _READABLE)
    unknown = text if isinstance(error, ValueError) and text else f"{type(error).__name__} {text}".strip()
    text = next((found.expand(meaning) for found, meaning in matches if found), unknown)
    # The texts about certificates are complete.
    is_complete = kind in ("ssl", "tls") or text.endswith(_EXAMPLE)
    return text if is_complete else f"{text}; expected a Twisted endpoint such as {_EXAMPLE}"
