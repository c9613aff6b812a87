"""Rooms whose methods let the server do something: in threads they wait for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.chat import Identifier, Person, Room, RoomDoesNotExistError, RoomError, RoomOccupant, read_only
from errklein.chat.identifiers import LookupFailed, UserDoesNotExistError
from errklein.chat.outgoing import Wait
from errklein.config import ConfigError
from errklein.networks.base import ConnectedNetwork
from errklein.networks.directory import AliasedRoom, Directory
from errklein.networks.json_client import RequestRefused
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.running import ThreadWaits, TimedOut, cancel_timers, in_reactor_thread

T = TypeVar("T")

_MOST = 1000  # the number of rooms of which it is known why the bot isn't there


def reported(method: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Deferred[T]]:
    """Let a method return a Deferred, which fails with RoomError and the server's reason."""

    async def run(*args: Any, **options: Any) -> T:
        try:
            return await method(*args, **options)
        except RequestRefused as error:
            is_missing = error.status == 404 or error.code == "channel_not_found"
            raise (RoomDoesNotExistError if is_missing else RoomError)(str(error)) from None
        except (LookupFailed, NotConfirmed, RetryLater, TimedOut, UserDoesNotExistError, ValueError) as error:
            raise RoomError(str(error)) from error

    return wraps(method)(lambda *args, **options: Deferred.fromCoroutine(run(*args, **options)))


class RoomActions:
    """Base class of what implements `ports.chat.ManagesRooms` for a connection."""

    log = Logger(namespace="errklein.networks")

    def __init__(self, reactor: Any, network: str) -> None:
        self._reactor, self.network = reactor, network
        self._waits = ThreadWaits(reactor)

    def result_of(self, action: str, *args: Any) -> Any:
        """Call a method, and return its result. Threads wait for it; on the reactor it is a Deferred."""
        return self._waits.result_of(getattr(self, action), *args)

    def carry_out(self, action: str, *args: Any) -> None:
        """Call a method. Threads wait until it is done; on the reactor a failure is logged."""
        result = self.result_of(action, *args)
        if isinstance(result, Deferred):
            result.addErrback(lambda failure: self.warn(f"{action} of {args[0]}: {failure.getErrorMessage()}"))

    def topic_of(self, room: ManagedRoom, /) -> str:
        """Return the topic, for which threads wait. The reactor doesn't, and gets ""."""
        return "" if in_reactor_thread(self._reactor) else str(self.result_of("topic", room))

    def occupants(self, room: ManagedRoom, /) -> Sequence[RoomOccupant]:
        """Return the people in the room, for whom threads wait. The reactor doesn't, and gets nobody."""
        return [] if in_reactor_thread(self._reactor) else list(self.result_of("members", room))

    def warn(self, what: str) -> None:
        """Log a warning."""
        self.log.warn("{network}: {what}", network=self.network, what=what)

    def stop(self) -> None:
        """End the waits of threads."""
        self._waits.stop()


class WantedRooms(RoomActions):
    """The same for networks on which the bot joins rooms, and tries those again that refuse it.

    :param now: Returns the Unix time.
    :param again: The seconds between attempts to join a room that refuses the bot.
    """

    is_joined: Callable[[str], bool]

    def __init__(self, reactor: Any, network: str, now: Callable[[], float], again: float) -> None:
        super().__init__(reactor, network)
        self._now, self._pause = now, again
        self._wanted: dict[str, str] = {}
        """Where the bot should be, with passwords: the rooms of CHATROOM_PRESENCE, and those that it was told to join."""
        self._missing: dict[str, Wait] = {}  # why the bot isn't in rooms where it should be, or was
        self._joining: Deferred[None] | None = None
        self._again: IDelayedCall | None = None

    def join(self, room: Room, password: str = "") -> Deferred[None]:
        """Join the room, and again after the bot was removed."""
        password = password or self._wanted.get(str(room), "")
        return self._enter(str(room), password).addCallback(lambda _: self._wanted.update({str(room): password}))

    def _enter(self, name: str, password: str = "") -> Deferred[None]:
        """Join the room, unless the bot is there."""
        raise NotImplementedError

    def want(self, read: Callable[[], Mapping[str, str]]) -> Deferred[None]:
        """Join the rooms that are configured now, and those that the bot was told to join. Fires after the first attempt."""
        try:
            self._wanted |= read()
        except ConfigError as error:
            self.warn(f"{error}; CHATROOM_PRESENCE is unchanged")
        return self._join_soon()

    def status(self, name: str) -> Wait | None:
        """Return whether the bot is in a room, or why not; None if it should not be there."""
        return Wait(f"the bot is in {name}") if self.is_joined(name) else self._missing.get(name)

    def stop(self) -> None:
        """End the waits of threads, and what joins rooms."""
        super().stop()
        self.stop_joining()

    def stop_joining(self) -> None:
        """Stop what joins rooms, until the next connection."""
        cancel_timers(self._again)
        if self._joining is not None:
            self._joining.cancel()

    async def _join_all(self) -> None:
        for name in list(self._wanted):
            try:
                await self._enter(name)
            except RoomError as error:
                self._miss(name, str(error))

    def _join_soon(self) -> Deferred[None]:
        """Join, one after the other, the rooms where the bot should be."""
        if self._joining is None or self._joining.called:
            cancel_timers(self._again)
            self._joining = Deferred.fromCoroutine(self._join_all())
            self._joining.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return self._joining

    def _miss(self, name: str, cause: str) -> None:
        """Note why the bot isn't in a room, and try again later if it should be there."""
        before = self._missing.get(name)
        if name not in self._wanted and before is None and len(self._missing) >= _MOST:
            return
        if before is None or before.cause != cause:
            self.warn(f"the bot is not in {name}: {cause}")
        self._missing[name] = Wait(f"the bot is not in {name}", before.since if before else self._now(), cause)
        if self._again is None or not self._again.active():
            self._again = self._reactor.callLater(self._pause, self._join_soon)


class ManagingNetwork(ConnectedNetwork):
    """Base class of networks on which `membership` manages rooms. Implements `ports.chat.ManagesRooms`."""

    membership: Any

    def manage(self, membership: RoomActions) -> None:
        """Let an object manage the rooms, whose methods become those of the network."""
        self.membership = membership
        for action in ("join", "leave", "create", "destroy", "topic", "set_topic", "members", "invite"):
            setattr(self, action, getattr(membership, action))

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """End the waits of threads, too."""
        return super().disconnect(grace).addCallback(lambda _: self.membership.stop())

    def room_status(self, name: str) -> Wait | None:
        """Return that of the network while it isn't connected."""
        status: Wait | None = self.membership.status(name)
        return status and (self.connection.absence or status)


class ManagedRoom(AliasedRoom):
    """A room, identified by its id, or by an alias until that is resolved. `str()` returns the id if it is known.

    In a thread, methods wait for the server, and raise RoomError if it refuses.

    :param actions: The rooms of the connection. Without them, methods raise NotImplementedError.
    """

    joined: bool = read_only("exists", "True if the bot is in the room.")

    def __init__(
        self,
        text: str,
        network: str = "",
        id: str = "",
        names: Directory[str] | None = None,
        actions: RoomActions | None = None,
    ) -> None:
        super().__init__(text, network, id, names)
        self._actions = actions

    @property
    def _act(self) -> Any:
        if self._actions is None:
            raise NotImplementedError(f"{self} belongs to no connection; use query_room to get a room that does")
        return self._actions

    def join(self, username: str | None = None, password: str | None = None) -> None:
        """Join the room, if the network has passwords with this one."""
        self._act.carry_out("join", self, password or "")

    def leave(self, reason: str | None = None) -> None:
        """Leave the room."""
        self._act.carry_out("leave", self, reason or "")

    def create(self) -> None:
        """Create the room of an alias."""
        self._act.carry_out("create", self)

    def destroy(self) -> None:
        """Close the room for all."""
        self._act.carry_out("destroy", self)

    def invite(self, *args: Identifier | str) -> None:
        """Invite persons, or people by id."""
        for person in args:
            self._act.carry_out("invite", self, person.person if isinstance(person, Person) else str(person))

    @property
    def exists(self) -> bool:
        """True if the bot is in the room."""
        found: bool = self._act.is_joined(str(self))
        return found

    @property
    def topic(self) -> str | None:
        """The topic, or None. Assign a string to set it; raises RoomError if it is unknown."""
        return self._act.topic_of(self) or None

    @topic.setter
    def topic(self, topic: str) -> None:
        self._act.carry_out("set_topic", self, topic)

    @property
    def occupants(self) -> Sequence[RoomOccupant]:
        """The people in the room, as far as they are known; raises RoomError if that can't be known."""
        people: Sequence[RoomOccupant] = self._act.occupants(self)
        return people
