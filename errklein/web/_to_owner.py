"""Requests that only the owner of plugins and networks can answer: other nodes pass them on to it, as a proxy does."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers

from errklein.config.networks import is_local
from errklein.ports.nodes import Node, Nodes
from errklein.running import NEVER, RateLimit
from errklein.web._error_pages import Problem, retry_after
from errklein.webhooks.forwarding import UNIX, TrustedProxies

if TYPE_CHECKING:
    from errklein.web._delivery import WebServices

NODE = b"x-errklein-node"  # the header with the secret of the nodes, in hexadecimal digits

OF_NODES = TrustedProxies(dict.fromkeys(("0.0.0.0/0", "::/0", UNIX), ("Forwarded", "X-Forwarded-Prefix")))
"""A node may pass on a request from any address. It writes the only element of each header."""

_CONNECT_TIMEOUT = 2.0  # the seconds after which an owner that doesn't answer counts as absent
_IDLE = 20  # the seconds for which a connection stays open; the owner closes it later
_OF_CONNECTION = {
    b"connection",
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"content-length",
    b"expect",
}
_OF_RESPONSE = _OF_CONNECTION - {b"content-length"} | {b"date", b"x-request-id"}
_FORWARDING = {b"forwarded", b"x-real-ip", NODE}

_log = Logger()


class ToOwner:
    """Passes requests on to the present owner. Without one, or if it can't be reached, the client gets 503."""

    def __init__(self, reactor: Any, nodes: Nodes, owns: Callable[[], bool]) -> None:
        self.owns = owns  # returns whether this process is the owner
        self._nodes = nodes
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost, self._pool.cachedConnectionTimeout = 32, _IDLE
        self._pool._factory.noisy = False
        self._warnings = RateLimit(reactor.seconds)
        self._agent = Agent(reactor, connectTimeout=_CONNECT_TIMEOUT, pool=self._pool)

    def is_from_node(self, request: Any) -> bool:
        """Remove the header NODE from a request, and return whether a node has passed it on."""
        pairs = zip(request.head.names, request.head.values, strict=True)
        others = [header for header in pairs if header[0] != NODE]
        is_known = compare_digest(request.first_header(NODE), self._nodes.secret.hex().encode())
        names, values = zip(*others, strict=True) if others else ((), ())
        request.head = request.head._replace(names=names, values=values)
        return is_known

    def pass_on(self, request: Any, services: WebServices) -> None:
        owner = self._nodes.owner
        if owner is None or owner.id == self._nodes.me.id or request.from_node:
            request.send_error(unavailable("no process of this bot owns its plugins at the moment"))
        elif request.first_header(b"upgrade").lower() == b"websocket":
            request.send_error(unavailable("another process of this bot takes such connections"))
        elif problem := _problem(owner, self._nodes.me):
            self._warn(problem)
            request.send_error(unavailable("the process that owns the plugins can't be reached"))
        else:
            passed = _Passed(request, services, self._warn, lambda: self._nodes.owner, owner)
            passed.start(self._agent, self._nodes.secret)

    def _warn(self, reason: str) -> None:
        if self._warnings.allows("owner"):
            _log.warn("Requests can't be passed on to the owner: {reason}", reason=reason)

    def close(self) -> Deferred[Any]:
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed


class _Passed(Protocol):
    """A request that was passed on, and the body of its response. Its client gets 504 if no response begins in time, and 503, or
    an abrupt end, once the process doesn't own any more: one that is stopped, or whose network is cut, may never respond."""

    def __init__(
        self,
        request: Any,
        services: WebServices,
        warn: Callable[[str], None],
        present: Callable[[], Node | None],
        owner: Node,
    ) -> None:
        self._request, self._services, self._warn = request, services, warn
        self._present, self._owner = present, owner
        self._deadline = request.begun + services.settings.timeout

    @property
    def deadline(self) -> float:
        return self._deadline if self._owns else 0.0

    @property
    def _owns(self) -> bool:
        present = self._present()
        return present is not None and present.id == self._owner.id

    def start(self, agent: Agent, secret: bytes) -> None:
        request = self._request
        request.body_users += 1
        self._sweeper = self._services.open_requests
        self._sweeper.watch(self)
        body = request.body()
        producer = FileBodyProducer(BytesIO(body)) if body else None
        url = b"http://%b%b" % (self._owner.address.encode(), _target(request))
        self._answer = agent.request(request.method, url, _headers(request, secret), producer)
        self._answer.addCallbacks(self._answered, self._failed).addErrback(request.processingFailed)
        self._answer.addBoth(lambda _: request.drop_body())

    def deadline_passed(self) -> None:
        self._sweeper.forget(self)
        late = Problem(504, "the process that owns the plugins did not respond in time")
        self._request.fail(late if self._owns else unavailable("the process that owned the plugins did not respond"))
        # An owner that hangs keeps neither the body nor a connection.
        self._answer.cancel()

    def _answered(self, response: Any) -> None:
        self._sweeper.forget(self)
        request = self._request
        # Nobody waits for its end when the bot stops: it may be a stream.
        self._deadline, self._sweeper = NEVER, request.site.sweeper
        self._sweeper.watch(self)
        headers = [
            (name, value)
            for name, values in response.headers.getAllRawHeaders()
            if name.lower() not in _OF_RESPONSE
            for value in values
        ]
        if not request.finished:
            request.start_stream(response.code, headers)
        response.deliverBody(self)

    def connectionMade(self) -> None:
        """Let the client set the pace of the body. Nobody reads one whose client has gone, which may have no end."""
        transport: Any = self.transport
        if self._request.finished:
            transport.stopProducing()
        elif hasattr(self._request, "registerProducer"):
            self._request.registerProducer(transport, True)

    def dataReceived(self, data: bytes) -> None:
        self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._sweeper.forget(self)
        request = self._request
        if hasattr(request, "unregisterProducer") and not request.finished:
            request.unregisterProducer()
        if reason.check(ResponseDone):
            request.finish()
        else:
            request.fail(unavailable("the owner of the plugins has gone"))

    def _failed(self, failure: Failure) -> None:
        self._sweeper.forget(self)
        if self._request.finished:
            return
        # Twisted has lists of failures for connections.
        reasons = getattr(failure.value, "reasons", None) or [failure]
        self._warn(reasons[0].getErrorMessage())
        self._request.fail(unavailable("the process that owns the plugins can't be reached"))


def unavailable(detail: str) -> Problem:
    return Problem(503, detail, retry_after(2.0))


def _problem(owner: Node, me: Node) -> str:
    """Return why this process can't reach the owner; "" if it may be able to."""
    if not owner.address:
        return f"{owner.name} has no --node, so other processes can't reach it"
    host, own_host = (node.name.rpartition(":")[0] for node in (owner, me))
    if host != own_host and is_local(urlsplit(f"//{owner.address}").hostname or ""):
        # The request and the secret would go to another program on this machine.
        return f"{owner.address} is only for the machine of {owner.name}; start that one with --node"
    return ""


def _target(request: Any) -> bytes:
    """Return the target in origin form. A client may send it with the host. Headers have that, and the base path."""
    if request.uri.startswith(b"/"):
        return bytes(request.uri)
    return bytes(request.path + (b"?" + request.query if request.query else b""))


def _headers(request: Any, secret: bytes) -> Headers:
    headers = Headers()
    for name, value in zip(request.head.names, request.head.values, strict=True):
        if name not in _OF_CONNECTION | _FORWARDING and not name.startswith(b"x-forwarded-"):
            headers.addRawHeader(name, value)
    if not request.first_header(b"host"):
        headers.setRawHeaders(b"host", [_address(request.host, "localhost").encode()])
    headers.setRawHeaders(NODE, [secret.hex().encode()])
    forwarded = f'for="{_address(request.client, "_unix")}";proto={"https" if request.secure else "http"}'
    headers.setRawHeaders(b"forwarded", [forwarded.encode()])
    if request.base_path:
        headers.setRawHeaders(b"x-forwarded-prefix", [request.base_path.encode()])
    return headers


def _address(address: Any, of_unix: str) -> str:
    host = getattr(address, "host", "")
    return f"{f'[{host}]' if ':' in host else host}:{address.port}" if host else of_unix
