"""The services that errklein lends to networks, apart from those of the bot."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.config import Config
from errklein.http_client import HTTPClients
from errklein.ports.notices import Notify
from errklein.ports.values import OF_NETWORK, Storage

# Networks without a connection of this kind don't import what follows.
if TYPE_CHECKING:
    from twisted.web.iweb import IPolicyForHTTPS

    from errklein.networks._connection import Connection
    from errklein.networks._socket import Receive, Socket
    from errklein.networks._state import DurableState, Seen
    from errklein.networks.json_client import JSONClient, ReadFailure
    from errklein.networks.outbox import Outbox, Transport
    from errklein.webhooks import Hook


class NetworkContext:
    """What a network's `make` gets. Use it on the reactor. `chance` returns a random number from 0 to 1, for delays
    between attempts. Without a storage, the state is in memory. `set_routes` replaces the webhooks of an owner.
    `is_running` states that the bot runs with this account, which a check of the connection has to bear in mind."""

    def __init__(
        self,
        reactor: Any,
        config: Config,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        *,
        clients: HTTPClients | None = None,
        storage: Storage | None = None,
        notify: Notify = lambda *notice, **options: None,
        set_routes: Callable[[str, Sequence[Hook]], object] = lambda owner, hooks: None,
        is_running: bool = False,
    ) -> None:
        self.reactor, self.config, self.now, self.chance = reactor, config, now, chance
        self.network: str = config.network
        """The name of the network in the configuration."""
        self.notify, self.is_running = notify, is_running
        self.log = Logger(namespace="errklein.networks")
        self._clients, self._storage, self._set_routes = clients or HTTPClients(reactor), storage, set_routes
        self._routes: list[Hook] = []

    @cached_property
    def state(self) -> DurableState:
        """Durable values of the network, such as a token."""
        from errklein.networks._state import DurableState

        return DurableState(self.network, self._storage)

    def seen(self, name: str, most: int = 200) -> Seen:
        """Return the position and the latest ids in a stream of events, which are part of the state."""
        from errklein.networks._state import Seen

        return Seen(self.reactor, self.state, name, most)

    def http(
        self, base: str, headers: Mapping[str, str] | None = None, read_failure: ReadFailure | None = None
    ) -> JSONClient:
        """Return a client for the network's HTTP interface; see `JSONClient`."""
        from errklein.networks.json_client import JSONClient

        return JSONClient(self._clients.client(), base, headers, read_failure)

    def websocket(self, url: str, receive: Receive, tls_policy: IPolicyForHTTPS | None = None) -> Deferred[Socket]:
        """Open a WebSocket; see `open_websocket`. Several may be open."""
        from errklein.http_client import PooledAgent
        from errklein.networks._socket import open_websocket

        # Otherwise the authorities' certificates would be read for each connection.
        endpoints = self._clients.agent() if tls_policy is None else PooledAgent(self.reactor, tls_policy)
        return Deferred.fromCoroutine(open_websocket(self.reactor, endpoints, url, receive))

    def route(
        self, path: str, handler: Callable[[Any], object], scheme: str, secrets: Sequence[bytes], **options: Any
    ) -> None:
        """Pass each verified POST request for the path to the handler, on the reactor; its value is the response. It
        gets the request as webhooks with `raw=True` do. Call this when the network connects. The requests aren't
        recorded: networks repeat what wasn't answered. `options` are those of the scheme of `errklein.verify`."""
        from errklein.networks._route import route_of

        owner = OF_NETWORK + self.network
        self._routes.append(route_of(owner, path, handler, scheme, secrets, **options))
        self._set_routes(owner, self._routes)

    def outbox(self, transport: Transport[Any], **options: Any) -> Outbox[Any]:
        """Return the outbox of the network. The options are further parameters of `Outbox`."""
        from errklein.networks.base import MESSAGE_SIZE_LIMIT
        from errklein.networks.outbox import Outbox, outbox_limits

        size = getattr(self.config, "MESSAGE_SIZE_LIMIT", None) or MESSAGE_SIZE_LIMIT
        options = {"limits": outbox_limits(self.config, size), "now": self.now, **options}
        return Outbox(self.reactor, self.network, transport, **options)

    def stay_connected(
        self, session: Callable[[], Awaitable[object]], outbox: Outbox[Any], **options: Any
    ) -> Connection:
        """Return what runs the session again and again, after its `start`; see `Connection`."""
        from errklein.networks._connection import Connection

        return Connection(self, session, outbox, **options)
