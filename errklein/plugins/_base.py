"""The parts of BotPlugin: the bot as plugins use it, attributes that a plugin may define otherwise, and pollers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Room, Stream
from errklein.http_client import HTTPClients
from errklein.ports.receipts import Receipt
from errklein.ports.values import Storage
from errklein.running import Runner, ThreadWaits, WorkerPool, on_reactor_soon
from errklein.running.context import assigned, origin

if TYPE_CHECKING:
    from errklein.plugins.manager import PluginManager

T = TypeVar("T")

OVERDUE = 60.0  # seconds after which a call of a poller that has not returned is logged

Signature = tuple[Callable[..., Any], Any, Any]  # a method with its positional and keyword arguments


class MessageChanges(Protocol):
    """What the bot does with messages; messages.py has the parameters."""

    change: Callable[..., Receipt]
    send_file: Callable[..., Receipt]
    change_reaction: Callable[..., None]


class PluginHost(Protocol):
    """The part of the bot that BotPlugin and BotFlow use, with the types of results. Plugins may use all other attributes, too."""

    runner: Runner
    plugin_pool: WorkerPool
    storage: Storage
    http_clients: HTTPClients
    waits: ThreadWaits

    @property
    def plugin_manager(self) -> PluginManager: ...
    @property
    def sending(self) -> MessageChanges: ...
    @property
    def mode(self) -> str: ...
    @property
    def bot_identifier(self) -> Identifier | None: ...

    # botplugin.py has the parameters.
    send: Callable[..., Receipt]
    send_templated: Callable[..., Receipt]
    send_card: Callable[..., Receipt]
    send_stream_request: Callable[..., Stream | None]
    build_identifier: Callable[..., Identifier]
    rooms: Callable[[], list[Room]]
    query_room: Callable[[str], Room]

    def __getattr__(self, name: str) -> Any: ...


class DefaultMethod:
    """A decorator for a method of BotPlugin whose name plugins written for errbot may use otherwise. A plugin's own attribute takes
    precedence, in the instance, in a subclass, or in another base class, also one after BotPlugin. There is no `__set__`."""

    def __init__(self, attribute: Any) -> None:
        self.__doc__ = attribute.__doc__
        self._attribute = attribute

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, plugin: object | None, cls: type) -> Any:
        after: Any = super(self._owner, cls if plugin is None else plugin)
        try:
            return getattr(after, self._name)
        except AttributeError:
            return self._attribute.__get__(plugin, cls)


class DefaultProperty(DefaultMethod, Generic[T]):
    """The same for a property whose value is created once."""

    def __init__(self, create: Callable[[Any], T], library: str = "") -> None:
        super().__init__(cached_property(create))
        self._errklein_library = library

    def __set_name__(self, owner: type, name: str) -> None:
        super().__set_name__(owner, name)
        self._attribute.__set_name__(owner, name)

    def __get__(self, plugin: object | None, cls: type) -> T:
        value: T = super().__get__(plugin, cls)
        return value


class _Poller:
    def __init__(self, pollers: Pollers, interval: float, times: int | None, signature: Signature) -> None:
        # Not checked here: as on errbot, invalid arguments are an error at each tick.
        self.signature = signature
        method = signature[0]
        self._names: dict[str, Any] = {"plugin": pollers.owner, "method": getattr(method, "__name__", repr(method))}
        self._pollers = pollers
        self._interval = interval
        self._left = times
        self._stopped = False
        self._loop = LoopingCall(lambda: maybeDeferred(self._call).addErrback(self._report))
        self._loop.clock = pollers.reactor
        self._warning: IDelayedCall | None = None
        self._warned = False

    def begin(self) -> None:
        if self._stopped:
            return
        try:
            self._loop.start(self._interval, now=False)
        except (TypeError, ValueError):
            text = "{plugin}: the poller {method} doesn't start, since its interval must be a number of seconds, not {interval!r}"
            self._pollers.log.failure(text, interval=self._interval, **self._names)

    def end(self) -> None:
        self._stopped = True
        if self._loop.running:
            self._loop.stop()
        self._forget_warning()

    def _call(self) -> Any:
        method, args, kwargs = self.signature
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._pollers.end(self)
        with assigned(origin, f"plugin:{self._pollers.owner}"):
            running = self._pollers.runner.run(method, *args, **kwargs)
        if not (running.called or self._warned or self._stopped):
            self._warning = self._pollers.reactor.callLater(OVERDUE, self._warn)
            running.addBoth(self._forget_warning)
        return running

    def _forget_warning(self, result: Any = None) -> Any:
        if self._warning is not None:
            self._warning.cancel()
            self._warning = None
        return result

    def _warn(self) -> None:
        self._warning = None
        self._warned = True
        text = "{plugin}: the poller {method} has not returned for {seconds:.0f} s; it isn't called again until it does"
        self._pollers.log.warn(text, seconds=OVERDUE, **self._names)

    def _report(self, failure: Failure) -> None:
        self._pollers.log.failure("{plugin}: the poller {method} failed; it continues", failure, **self._names)


class Pollers:
    """The pollers of one plugin. The methods may be called in any thread. Calls don't overlap and don't drift: a call
    that takes longer than the interval skips the calls that it missed."""

    log = Logger()

    def __init__(self, reactor: Any, runner: Runner, owner: str) -> None:
        self.reactor = reactor
        self.runner = runner
        self.owner = owner
        self._pollers: list[_Poller] = []

    def start(self, interval: float, times: int | None, signature: Signature) -> None:
        """Make the call every `interval` seconds, `times` times or until it is stopped. Replaces the poller of the same
        call. Raises TypeError if the method isn't callable."""
        if not callable(signature[0]):
            raise TypeError(f"{self.owner}: start_poller() requires a callable, not {signature[0]!r}")
        poller = _Poller(self, interval, times, signature)
        for running in self._with(signature):
            self.end(running)
        if isinstance(times, (int, float)) and times <= 0:
            return
        self._pollers.append(poller)
        on_reactor_soon(self.reactor, poller.begin)

    def stop(self, signature: Signature | None = None) -> None:
        """Stop the poller of this call, or all. Raises ValueError if there is no such poller."""
        found = list(self._pollers) if signature is None else self._with(signature)
        if not found and signature is not None:
            raise ValueError(f"{self.owner}: no poller calls {signature[0]!r} with these arguments")
        for poller in found:
            self.end(poller)

    @property
    def running(self) -> list[tuple[Callable[..., Any], Iterable[Any], Mapping[str, Any]]]:
        return [poller.signature for poller in self._pollers]

    def _with(self, signature: Signature) -> list[_Poller]:
        wanted = _comparable(signature)
        return [poller for poller in self._pollers if _comparable(poller.signature) == wanted]

    def end(self, poller: _Poller) -> None:
        if poller in self._pollers:
            self._pollers.remove(poller)
        on_reactor_soon(self.reactor, poller.end)


def _comparable(signature: Signature) -> Signature:
    method, args, kwargs = signature
    return method, tuple(args) if isinstance(args, list) else args, kwargs
