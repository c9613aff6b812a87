"""The bounds of an outbox."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.text import PARTS_CAP

Unavailable = Callable[[str], str | None]
"""Returns None for a recipient to which messages may be sent; "" for a room that the bot is about to join; the reason for a room that
the bot should be in, but isn't although it has tried. Called in any thread."""


@dataclass(frozen=True)
class OutboxLimits:
    """The bounds of an outbox. One lane may use half of the parts and characters.

    :param parts: Maximum number of parts that wait, an estimate.
    :param size: Maximum number of characters and bytes that wait, in texts, details and files.
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
    default = OutboxLimits()
    return OutboxLimits(
        getattr(config, "OUTBOX_LIMIT", default.parts),
        getattr(config, "OUTBOX_SIZE", default.size),
        # Markdown may be longer than the text that it becomes.
        2 * PARTS_CAP * message_size_limit,
        getattr(config, "OUTBOX_MAX_AGE", default.age),
    )


class Load(NamedTuple):
    """What a message adds: to the recipient, from the origin, the approximate number of parts, the number of characters and bytes."""

    recipient: str
    origin: str
    parts: int
    size: int


@dataclass(slots=True)
class Usage:
    """The number of messages that wait, and of their parts and characters."""

    messages: int = 0
    parts: int = 0
    size: int = 0

    def add(self, load: Load, sign: int = 1) -> None:
        self.messages += sign
        self.parts += sign * load.parts
        self.size += sign * load.size


class Bounds:
    """Counts what waits in the outbox of a network, in total and by recipient and origin. May be used in any thread.

    :param unavailable: As for `Outbox`. Only rooms that the bot is shut out of have a limit.
    """

    def __init__(self, network: str, limits: OutboxLimits, unavailable: Unavailable) -> None:
        self.usage = Usage()
        self._network = network
        self._limits = limits
        self._unavailable = unavailable
        self._by_lane: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
        self._changed = threading.Condition()
        self._closed = False

    def take(self, load: Load, timeout: float = 0.0) -> None:
        """Count a message. Wait until it doesn't exceed the limits for up to `timeout` seconds.

        :raises OutboxFull: It exceeds them.
        :raises OutboxClosed: `close` was called.
        """
        with self._changed:
            if timeout:
                self._changed.wait_for(lambda: self._closed or not self._lack(load), timeout)
            if self._closed:
                raise OutboxClosed(f"the bot has disconnected from {self._network}; the message can't be sent")
            if lack := self._lack(load):
                raise OutboxFull(f"the outbox of {self._network} is full: {lack}")
            self.exceed(load)

    def exceed(self, load: Load) -> None:
        """Count a message, whatever the limits are."""
        with self._changed:
            self.usage.add(load)
            self._by_lane[load[:2]].add(load)

    def give_back(self, load: Load) -> None:
        with self._changed:
            self.usage.add(load, -1)
            own = self._by_lane[load[:2]]
            own.add(load, -1)
            if not own.messages:
                del self._by_lane[load[:2]]
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _lack(self, load: Load) -> str:
        """Return the limit that the message exceeds; "" if there is none. A message alone exceeds none."""
        if not self._exceeded(self.usage, load, 4):
            # Neither are the larger limits of all, and of one lane.
            return ""
        own = self._by_lane.get(load[:2])
        if own is not None and (limit := self._exceeded(own, load, 2)):
            return f"{own.messages} messages to {load.recipient} are waiting, which is half of {limit}"
        if self.usage.messages and (limit := self._exceeded(self.usage, load, 1)):
            return f"{self.usage.messages} messages are waiting, which is {limit}"
        if self._unavailable(load.recipient):
            closed = [usage for (recipient, _), usage in self._by_lane.items() if self._unavailable(recipient)]
            outside = Usage(*(sum(numbers) for numbers in zip(*map(astuple, closed), strict=True)))
            if outside.messages and (limit := self._exceeded(outside, load, 4)):
                return (
                    f"{outside.messages} messages wait for rooms that the bot is not in, which is a quarter of {limit}"
                )
        return ""

    def _exceeded(self, usage: Usage, load: Load, share: int) -> str:
        """Return the setting whose limit the message would exceed, or ""."""
        if usage.parts + load.parts > self._limits.parts // share:
            return "OUTBOX_LIMIT"
        return "OUTBOX_SIZE" if usage.size + load.size > self._limits.size // share else ""
