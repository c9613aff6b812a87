"""The bounds of an outbox."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from errklein.backends.outbox._lanes import Entry
from errklein.backends.outbox._waiting_rooms import Unavailable
from errklein.chat.outgoing import OutboxLane
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.text import PARTS_CAP


@dataclass(frozen=True)
class OutboxLimits:
    """The bounds of an outbox. One lane may use half of the parts and characters.

    :param parts: Maximum number of parts that wait, an estimate.
    :param size: Maximum number of characters that wait, in texts and details.
    :param length: Maximum number of characters of a message; the rest is cut.
    :param age: Seconds after which a message is dropped.
    :param attempts: Number of broken connections after which a part that was sent alone is dropped, since it may be the cause.
    :param isolates: Whether a message that has broken a connection alone is sent after all others, on stable connections.
    """

    parts: int = 20_000
    size: int = 20_000_000
    length: int = 500_000
    age: float = 3600.0
    attempts: int = 5
    isolates: bool = True


def outbox_limits(config: Any, message_size_limit: int) -> OutboxLimits:
    """Return the limits of the configuration of a network."""
    default = OutboxLimits()
    return OutboxLimits(
        getattr(config, "OUTBOX_LIMIT", default.parts),
        getattr(config, "OUTBOX_SIZE", default.size),
        # Markdown may be longer than the text that it becomes.
        2 * PARTS_CAP * message_size_limit,
        getattr(config, "OUTBOX_MAX_AGE", default.age),
    )


@dataclass(slots=True)
class OutboxUsage:
    """The number of messages that wait, and of their parts and characters."""

    messages: int = 0
    parts: int = 0
    size: int = 0

    def add(self, entry: Entry[Any], times: int = 1) -> None:
        """Count an entry, or with -1 no longer."""
        self.messages += times
        self.parts += times * entry.estimate
        self.size += times * entry.size


class OutboxRoom:
    """Counts what waits in the outbox of a network, and in each lane. May be used in any thread.

    :param unavailable: As for `Outbox`. Only rooms that the bot is shut out of have a limit.
    """

    def __init__(self, network: str, limits: OutboxLimits, unavailable: Unavailable) -> None:
        self.usage = OutboxUsage()
        self._network = network
        self._limits = limits
        self._unavailable = unavailable
        self._by_lane: dict[OutboxLane, OutboxUsage] = {}
        self._changed = threading.Condition()
        self._closed = False

    def take(self, entry: Entry[Any], timeout: float = 0.0) -> None:
        """Count a message. Wait for room for up to `timeout` seconds.

        :raises OutboxFull: There is no room.
        :raises OutboxClosed: `close` was called.
        """
        with self._changed:
            if timeout:
                self._changed.wait_for(lambda: self._closed or not self._lack(entry), timeout)
            if self._closed:
                raise OutboxClosed(f"the bot has disconnected from {self._network}; the message can't be sent")
            if lack := self._lack(entry):
                raise OutboxFull(f"the outbox of {self._network} is full: {lack}")
            self._count(entry)

    def exceed(self, entry: Entry[Any]) -> None:
        """Count a message that was accepted by an earlier process, so there must be room."""
        with self._changed:
            self._count(entry)

    def give_back(self, entry: Entry[Any]) -> None:
        """Count a message no longer."""
        with self._changed:
            self.usage.add(entry, -1)
            lane = entry.lane
            self._by_lane[lane].add(entry, -1)
            if not self._by_lane[lane].messages:
                del self._by_lane[lane]
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse further messages, and those that wait for room."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _count(self, entry: Entry[Any]) -> None:
        self.usage.add(entry)
        lane = entry.lane
        if lane not in self._by_lane:
            self._by_lane[lane] = OutboxUsage()
        self._by_lane[lane].add(entry)

    def _lack(self, entry: Entry[Any]) -> str:
        """Return why there is no room for the message; "" if there is. A message alone always has room."""
        own = self._by_lane.get(entry.lane)
        if own is not None and (limit := self._exceeded(own, entry, 2)):
            return f"{own.messages} messages to {entry.message.recipient} are waiting, which is half of {limit}"
        if self.usage.messages and (limit := self._exceeded(self.usage, entry, 1)):
            return f"{self.usage.messages} messages are waiting, which is {limit}"
        # Only if there are enough others, since all lanes are looked at.
        if self._exceeded(self.usage, entry, 4) and self._unavailable(entry.message.recipient):
            held = OutboxUsage()
            for lane, usage in self._by_lane.items():
                if self._unavailable(lane.recipient):
                    held.messages += usage.messages
                    held.parts += usage.parts
                    held.size += usage.size
            if held.messages and (limit := self._exceeded(held, entry, 4)):
                return f"{held.messages} messages wait for rooms that the bot is not in, which is a quarter of {limit}"
        return ""

    def _exceeded(self, usage: OutboxUsage, entry: Entry[Any], share: int) -> str:
        """Return the setting whose limit the message would exceed, or ""."""
        if usage.parts + entry.estimate > self._limits.parts // share:
            return "OUTBOX_LIMIT"
        return "OUTBOX_SIZE" if usage.size + entry.size > self._limits.size // share else ""
