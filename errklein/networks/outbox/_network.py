"""The bounds of an outbox, the interface of its network, and the messages that may have broken the connections of that."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred

from errklein.chat import Message
from errklein.chat.features import Features
from errklein.chat.operations import Operation
from errklein.chat.outgoing import OutgoingMessage, Wait
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.text import PARTS_CAP

if TYPE_CHECKING:
    from errklein.networks.outbox._lanes import Entry

P = TypeVar("P")


class NotConfirmed(Exception):
    """The connection broke before the network confirmed a part. The outbox sends the part again."""


Scope = Literal["part", "recipient", "network"]
"""The extent of a pause: a part, all that is sent to its recipient, or the whole network."""


class RetryLater(Exception):
    """The network asks for a pause. The outbox sends the part again after so many seconds, an hour at most, and doesn't
    count that as an attempt. It also sends later parts again, so the network is serial, or ignores keys that it has
    had."""

    def __init__(self, seconds: float, scope: Scope = "recipient") -> None:
        super().__init__(f"the network asks to wait for {seconds:g} s")
        self.seconds = seconds
        self.scope = scope


class Transport(Protocol[P]):
    """Makes parts of messages, and sends them while the network is connected. Called on the reactor."""

    @property
    def window(self) -> int:
        """The number of parts that may be unconfirmed."""

    @property
    def serial(self) -> bool:
        """Whether a part waits until the one before to the same recipient is confirmed."""

    def estimate(self, body: str) -> int:
        """Return approximately how many parts the text has. May be called in any thread."""

    def features(self, recipient: str, /) -> Features:
        """Return what the network can do there. Asked when a message's turn comes."""

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[P]:
        """Return the parts of an operation of the message, the same ones each time. `original` is the message as it was
        sent; None if an earlier process has accepted it. An exception drops the message, and the text is logged."""

    def take_turn(self, recipient: str) -> float:
        """Return 0.0 if a part may be sent to the recipient now, and count it; else the seconds after which to ask again."""

    def transmit(self, parts: Sequence[P], keys: Sequence[str]) -> Sequence[Deferred[Any]]:
        """Send parts, and return a Deferred for each that fires when the network has it, with its id, or None if it has
        none. It fails with NotConfirmed if the connection broke, with RetryLater if the network asks for a pause, and
        with any other exception if the network rejects the part; the rest of that message is then dropped. No other
        part has the same key, and a part has it each time it is sent, also after a restart."""


STABLE_AFTER = 31.0
"""The age in seconds from which on a connection is stable: a network reconnects soon after it is lost."""

SHORT_LIVED = 3
"""Number of connections in a row that broke before they were stable after which parts that may be the cause wait."""


class Connections:
    """Notes which messages were unconfirmed when a connection broke. Each of their parts is a suspect, and is sent alone. A
    message at which connections broke again and again is isolated: it has left its lane, and waits for a stable connection.
    Then the network is away for a second instead of minutes, so that messages to others are hardly delayed."""

    def __init__(self, seconds: Callable[[], float], isolates: bool) -> None:
        self._seconds = seconds
        self._isolates = isolates
        self._number = self._broken = self._short_lived = 0
        self._began = 0.0
        self._is_alone = False

    @property
    def age(self) -> float:
        return self._seconds() - self._began

    def begin(self) -> None:
        self._number += 1
        self._began = self._seconds()

    def broke(self, entry: Entry[Any], index: int, unconfirmed: int) -> None:
        """Note that a part was unconfirmed when the connection broke. `unconfirmed` counts it and those that aren't noted yet."""
        if self._broken != self._number:
            self._broken, self._is_alone = self._number, unconfirmed == 1
            self._short_lived = self._short_lived + 1 if self.age < STABLE_AFTER else 0
        entry.suspect = max(entry.suspect, index + 1)
        if entry.broken != self._number:
            entry.broken = self._number
            entry.breaks += 1
            entry.attempts += self._is_alone

    def must_be_isolated(self, entry: Entry[Any]) -> bool:
        """Return whether the message was unconfirmed at several breaks, at the last one alone."""
        return self._is_alone and entry.breaks > 1 and self._isolates and not entry.is_isolated

    def wait_of(self, entry: Entry[Any], usual: Wait) -> Wait:
        """Return what a message waits for while there is a connection: `usual` unless it was sent or is a suspect."""
        if entry.unconfirmed:
            return Wait("the network has not confirmed it yet")
        cause = f"the connection broke {entry.breaks} times while it was sent, so it is sent alone"
        return Wait("it needs a stable connection", cause=cause) if entry.is_suspect else usual

    def wait_for(self, entry: Entry[Any]) -> float:
        """Return 0.0 if a suspect may be sent now, else the seconds after which it may."""
        is_likely = entry.is_isolated or self._short_lived >= SHORT_LIVED
        wait = STABLE_AFTER - self.age if is_likely and self._isolates else 0.0
        # Rounding must not lead to a delay that doesn't change the time.
        return wait if wait > 0.001 else 0.0


Unavailable = Callable[[str], str | None]
"""Returns None for a recipient to which messages may be sent; "" for a room that the bot is about to join; the reason for a room that
the bot should be in, but isn't although it has tried. Called in any thread."""


@dataclass(frozen=True)
class OutboxLimits:
    """The bounds of an outbox: the parts that wait, an estimate, and their characters and bytes in texts, details and
    files, of which one lane may use half; and the characters of a message, whose rest is cut. A message of that `age`
    in seconds is dropped. So is a part that was sent alone at so many broken connections, since it may be the cause.
    `isolates` states that such a message is sent after all others, on stable connections, once it has broken one."""

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
    Rooms that the bot is shut out of, as `unavailable` tells, have a limit together."""

    def __init__(self, network: str, limits: OutboxLimits, unavailable: Unavailable) -> None:
        self.usage = Usage()
        self._network = network
        self._limits = limits
        self._unavailable = unavailable
        self._by_lane: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
        self._changed = threading.Condition()
        self._closed = False

    def take(self, load: Load, timeout: float = 0.0) -> None:
        """Count a message. Raises OutboxFull if it exceeds the limits for so many seconds; after `close`,
        OutboxClosed."""
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
                return f"{outside.messages} messages wait for rooms where the bot isn't, which is a quarter of {limit}"
        return ""

    def _exceeded(self, usage: Usage, load: Load, share: int) -> str:
        """Return the setting whose limit the message would exceed, or ""."""
        if usage.parts + load.parts > self._limits.parts // share:
            return "OUTBOX_LIMIT"
        return "OUTBOX_SIZE" if usage.size + load.size > self._limits.size // share else ""
