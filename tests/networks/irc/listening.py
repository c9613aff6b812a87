"""A recorder for the events of a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Identifier, Message, Presence, Room
from errklein.networks.irc.identifiers import ACL_PATTERN


class Listener:
    """Implements ports.chat.BackendEvents, as a list of (event, arguments…)."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.messages: list[Message] = []
        self._waiting: list[tuple[str, Deferred[tuple[Any, ...]]]] = []

    def names(self) -> list[str]:
        """The names of the events."""
        return [entry[0] for entry in self.told]

    def next(self, name: str) -> Deferred[tuple[Any, ...]]:
        """Return a Deferred that fires with the next event of that name."""
        coming: Deferred[tuple[Any, ...]] = Deferred()
        self._waiting.append((name, coming))
        return coming

    def _tell(self, *entry: Any) -> None:
        self.told.append(entry)
        for waiting in [waiting for waiting in self._waiting if waiting[0] == entry[0]]:
            self._waiting.remove(waiting)
            waiting[1].callback(entry)

    def backend_connected(self, backend: object) -> None:
        self._tell("connected")

    def backend_disconnected(self, backend: object, reason: str) -> None:
        self._tell("disconnected", reason)

    def backend_ended(self, backend: object) -> None:
        self._tell("ended")

    def message_received(self, backend: object, message: Message) -> None:
        self.messages.append(message)
        self._tell("message", message)

    def mention_received(self, backend: object, message: Message, people: Sequence[Identifier]) -> None:
        self._tell("mention", message, [str(one) for one in people])

    def messages_dropped(self, backend: object, count: int, reason: str) -> None:
        self._tell("dropped", count, reason)

    def messages_undelivered(
        self, backend: object, recipient: str, origins: Mapping[str, int], reason: str, *, waiting: bool
    ) -> None:
        self._tell("undelivered", recipient, dict(origins), reason, waiting)

    def presence_changed(self, backend: object, presence: Presence) -> None:
        self._tell("presence", str(presence.identifier), presence.status)

    def room_joined(
        self, backend: object, room: Room, identifier: Identifier, invited_by: Identifier | None = None
    ) -> None:
        self._tell("joined", str(room), identifier, *filter(None, [invited_by]))

    def room_left(
        self, backend: object, room: Room, identifier: Identifier, kicked_by: Identifier | None = None
    ) -> None:
        self._tell("left", str(room), identifier, *filter(None, [kicked_by]))

    def room_topic_changed(self, backend: object, room: Room) -> None:
        self._tell("topic", str(room), room.topic)


def logged(test: SynchronousTestCase, part: str) -> list[str]:
    """Return the list that later log lines containing `part` are added to, until the test ends."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        line = formatEvent(event)
        if part in line:
            lines.append(line)

    globalLogPublisher.addObserver(observe)
    test.addCleanup(globalLogPublisher.removeObserver, observe)
    return lines


def config(network: str = "irc", rooms: Sequence[Any] = (), **settings: Any) -> Any:
    """Return the configuration of one network; `identity` adds to BOT_IDENTITY."""
    identity = {"nickname": "errklein", "server": "irc.example", **settings.pop("identity", {})}
    values = {
        "network": network,
        "BOT_IDENTITY": identity,
        "CHATROOM_PRESENCE": rooms,
        "IRC_CHANNEL_RATE": None,
        "IRC_PRIVATE_RATE": None,
        "IRC_RECONNECT_ON_KICK": 5.0,
        "IRC_RECONNECT_ON_DISCONNECT": None,
        "IRC_ACL_PATTERN": ACL_PATTERN,
        **settings,
    }
    return SimpleNamespace(**values)
