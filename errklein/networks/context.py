"""The services that errklein lends to networks, apart from those of the bot, such as a durable state, with the position in the
stream of events, so that none is handled twice."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.config import Config
from errklein.http_client import HTTPClients
from errklein.networks.json_client import JSONClient, ReadFailure
from errklein.networks.outbox import Outbox, Transport, outbox_limits
from errklein.ports.notices import Notify
from errklein.ports.values import OF_NETWORK, Storage
from errklein.running import cancel_timers, on_reactor

if TYPE_CHECKING:
    from errklein.networks._socket import Receive, Socket
    from errklein.webhooks import Hook

MESSAGE_SIZE_LIMIT = 10_000
"""The default of MESSAGE_SIZE_LIMIT, in characters: longer messages are split."""


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
        self.state = DurableState(self.network, storage)
        """Durable values of the network, such as a token."""
        self.notify, self.is_running = notify, is_running
        self.log = Logger(namespace="errklein.networks")
        self._clients, self._set_routes = clients or HTTPClients(reactor), set_routes
        self._routes: list[Hook] = []

    def seen(self, name: str, most: int = 200) -> Seen:
        """Return the position and the latest ids in a stream of events, which are part of the state."""
        return Seen(self.reactor, self.state, name, most)

    def http(self, base: str, headers: Mapping[str, str] = {}, read_failure: ReadFailure | None = None) -> JSONClient:
        """Return a client for the network's HTTP interface; see `JSONClient`."""
        return JSONClient(self._clients.client(), base, headers, read_failure)

    def websocket(self, url: str, receive: Receive) -> Deferred[Socket]:
        """Open a WebSocket; see `open_websocket`. Several may be open."""
        from errklein.networks._socket import open_websocket

        # With that agent, the authorities' certificates aren't read for each connection.
        return Deferred.fromCoroutine(open_websocket(self.reactor, self._clients.agent(), url, receive))

    def route(
        self, path: str, handler: Callable[[Any], object], scheme: str, secrets: Sequence[bytes], **options: Any
    ) -> None:
        """Pass each verified POST request for the path to the handler, on the reactor; its value is the response. It
        gets the request as webhooks with `raw=True` do. Call this when the network connects. The requests aren't
        recorded: networks repeat what wasn't answered. `options` are those of the scheme of `errklein.verify`. Raises
        ValueError without a secret, and for invalid options."""
        from errklein.verify import SCHEMES, verification
        from errklein.webhooks import Hook, HookDeclaration
        from errklein.webhooks.declaration import normalise_rule

        if not secrets or not all(secrets):
            raise ValueError("requests of a network must be verified: give its secret")
        if "secret" in inspect.signature(SCHEMES[scheme]).parameters:
            # Schemes take references to secrets, and the settings of a network may have the secrets themselves.
            options |= {"secret": "env:NETWORK"}
        found, owner, rule = verification(scheme, **options), OF_NETWORK + self.network, normalise_rule(path)
        handle = on_reactor(lambda request: handler(request))  # noqa: PLW0108 - a method can't be marked
        verify = replace(found, check=lambda received, _, **more: found.check(received, secrets, **more), secrets=())
        declaration = HookDeclaration(
            rule, methods=("POST",), raw=True, verify=verify, methods_given=True, may_be_recorded=False
        )
        self._routes.append(Hook(owner, rule.strip("/"), declaration, handle))
        self._set_routes(owner, self._routes)

    def outbox(self, transport: Transport[Any], **options: Any) -> Outbox[Any]:
        """Return the outbox of the network. The options are further parameters of `Outbox`."""
        size = getattr(self.config, "MESSAGE_SIZE_LIMIT", None) or MESSAGE_SIZE_LIMIT
        options = {"limits": outbox_limits(self.config, size), "now": self.now, **options}
        return Outbox(self.reactor, self.network, transport, **options)


T = TypeVar("T")


class DurableState:
    """Values of JSON by key, in a namespace of the storage and thus in backups. Without a storage, they are in memory,
    as in a check of the connection. Methods take effect in the order of their calls."""

    def __init__(self, network: str, storage: Storage | None) -> None:
        self._namespace, self._storage = OF_NETWORK + network, storage
        self._values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Deferred[Any]:
        return self._do(lambda store: store.read(key, default)[1], lambda: self._values.get(key, default))

    def set(self, key: str, value: Any) -> Deferred[None]:
        """Store a value. The Deferred fires when it is on disk, or fails with StorageError."""
        return self._do(lambda store: store.set(key, value), lambda: self._values.__setitem__(key, value))

    def _do(self, work: Callable[[Any], T], in_memory: Callable[[], T]) -> Deferred[T]:
        if (storage := self._storage) is None:
            return maybeDeferred(in_memory)

        def run() -> T:
            with closing(storage.open(self._namespace)) as store:
                return work(store)

        return storage.in_background(run)


class Latest(dict[Any, Any]):
    """A dictionary of the latest items, at most `most`; those that were added first are dropped."""

    def __init__(self, most: int = 10_000) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            del self[next(iter(self))]


class Seen:
    """The position and the ids of the latest `most` events, stored at most once a second. Await `load` first, `flush` in the end."""

    log = Logger(namespace="errklein.networks")

    def __init__(self, reactor: Any, state: DurableState, name: str, most: int = 200) -> None:
        self._reactor, self._state, self._name = reactor, state, name
        self._position: Any = None
        self._ids = Latest(most)
        self._timer: IDelayedCall | None = None

    async def load(self) -> Any:
        if (stored := await self._state.get(self._name)) is not None:
            self._position = stored["position"]
            self._ids.update(dict.fromkeys(stored["ids"]))
        return self._position

    @property
    def position(self) -> Any:
        """A value of JSON, None at first. Assign it before the events up to there are handled."""
        return self._position

    @position.setter
    def position(self, position: Any) -> None:
        self._position = position
        self._store_soon()

    def is_new(self, id: str) -> bool:
        """Note the id of an event, and return whether it is new. Without an id, an event is new."""
        if not id or id in self._ids:
            return not id
        self._ids[id] = None
        self._store_soon()
        return True

    def flush(self) -> Deferred[None]:
        if self._timer is None:
            return succeed(None)
        cancel_timers(self._timer)
        return self._store()

    def _store_soon(self) -> None:
        self._timer = self._timer or self._reactor.callLater(1.0, self._store)

    def _store(self) -> Deferred[None]:
        self._timer = None
        stored = self._state.set(self._name, {"position": self._position, "ids": list(self._ids)})
        return stored.addErrback(self._not_stored)

    def _not_stored(self, failure: Failure) -> None:
        # The session that waits for it is ended.
        if failure.check(CancelledError):
            failure.raiseException()
        self.log.failure("The position in events was not stored", failure)
