"""A network for simulations: it confirms late, rejects, breaks connections and is absent, and knows what must arrive and in which order.

A message has its number, the number of its parts and its fate in its text, so it is known again after a restart. The network has
only its first arrivals in view: `SimulatedNetwork` outlives the processes, each of which has a `SimulatedTransport`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from errklein.chat import Message
from errklein.chat.features import BARE, Features
from errklein.chat.operations import Operation, Post
from errklein.chat.outgoing import OutgoingMessage
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.outbox._lanes import TOGETHER
from errklein.networks.outbox._network import Scope

SENT, REJECTED, BREAKING, INVALID = "sent", "rejected", "breaking", "invalid"
"""The fates of messages: REJECTED has a part that the network rejects, BREAKING one at which the connection breaks each time, and
INVALID can't be split."""

OUTSIDE = "outside"
"""The fate of a part that is rejected since the bot is outside of the room."""

LATER = "later"
"""The fate of a part that a serial network puts off: it hasn't arrived, and the network asks for a pause."""

DROPPED = "dropped"
"""How a message is settled that the bot has given up and reported. If the disk is full then, and the clock is set back, a later
process may send it."""

SCOPES: Sequence[Scope] = ("part", "recipient", "network")

Lane = tuple[str, str, bool]
"""Recipient, origin and priority."""

Require = Callable[..., None]
"""Notes a violation if its first argument is false. The others are a format and its values."""


_STAMP = re.compile(r"(\[[^]]*\] ?|)(.*)")
"""The time of a late message, and its text."""


class Part(NamedTuple):
    """A part of a message, as the transport sends it."""

    message: int
    place: int


@dataclass(eq=False)
class Accepted:
    """A message that an outbox has accepted, and what the network knows of it.

    :param promised: It was on disk, or the outcome of its delivery was, or its source got the response.
    :param settled: Why it needn't arrive any more; "" if it must.
    :param breaks: The number of breaks at which one of its parts was unconfirmed.
    :param is_overtaken: One of its parts was unconfirmed at two breaks, at the last one alone, so that others of its lane overtake it.
    :param is_stamped: It was late, so that its time was sent before its parts. A later process begins it again.
    :param is_separable: Others to its recipient may come between its parts, as after a break of the connection or a kick.
    """

    number: int
    lane: Lane
    parts: int
    fate: str
    at: float
    arrived: set[int] = field(default_factory=set)
    promised: bool = False
    settled: str = ""
    breaks: int = 0
    is_overtaken: bool = False
    is_stamped: bool = False
    is_separable: bool = False

    @property
    def body(self) -> str:
        """The text."""
        return f"m{self.number} {self.parts} {self.fate}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more of it must arrive."""
        return len(self.arrived) == self.parts or bool(self.settled)


class SimulatedNetwork:
    """What arrives, in which order, and how often.

    :param random: Random numbers.
    :param seconds: Returns the time.
    :param require: Notes violations.
    """

    def __init__(self, random: Random, seconds: Callable[[], float], require: Require) -> None:
        self.random = random
        self.seconds = seconds
        self.require = require
        self.absent_until = 0.0
        self.rooms_outside: set[str] = set()
        """The rooms that the bot is outside of."""
        self.messages: list[Accepted] = []
        self._latest: dict[Lane, Part] = {}
        # The message of which a part has arrived last, by recipient and priority, and how many parts of it after one another.
        self._begun: dict[tuple[str, bool], tuple[Accepted, int]] = {}
        self._confirmed: dict[Part, float] = {}
        self._may_repeat: set[Part] = set()

    def expect(self, lane: Lane, parts: int, fate: str) -> Accepted:
        """Add a message that is about to be accepted."""
        message = Accepted(len(self.messages), lane, parts, fate, self.seconds())
        self.messages.append(message)
        return message

    def arrive(self, part: Part) -> str:
        """Let a part arrive, and return its fate."""
        message = self.messages[part.message]
        if message.lane[0] in self.rooms_outside:
            return OUTSIDE
        self._check_together(message)
        if part.place < 0:
            return SENT
        if part.place in message.arrived:
            self.require(part in self._may_repeat, "{} arrives again", part)
            self._may_repeat.discard(part)
        else:
            latest = self._latest.get(message.lane)
            # With a full disk, a later process may send again what was given up or rejected.
            is_next = latest is None or part > latest or message.settled in (DROPPED, REJECTED)
            is_next = is_next or message.is_overtaken
            self.require(is_next, "{} arrives after {} of the same lane", part, latest)
            self._latest[message.lane] = part if latest is None else max(part, latest)
            message.arrived.add(part.place)
        if message.fate == SENT or part.place != message.number % message.parts:
            return SENT
        if message.fate == REJECTED:
            message.settled = "rejected"
        return message.fate

    def _check_together(self, message: Accepted) -> None:
        recipient, _, priority = message.lane
        begun, count = self._begun.get((recipient, priority), (message, 0))
        if begun is not message:
            if message.is_separable and not begun.is_over:
                # It is sent alone, which ends nothing.
                return
            may_come = begun.is_over or begun.is_separable or count >= TOGETHER
            self.require(may_come, "{} separates {} after {} parts", message.body, begun.body, count)
            count = 0
        self._begun[recipient, priority] = message, count + 1

    def kick(self, room: str) -> None:
        """Remove the bot from a room. What is on its way there is rejected, and sent again later."""
        self.rooms_outside.add(room)
        for message in self.messages:
            message.is_separable |= message.lane[0] == room

    def confirm(self, part: Part) -> None:
        """Note that the process knows that the part has arrived."""
        self._confirmed[part] = self.seconds()

    def reject_outside(self, part: Part) -> None:
        """Note that a part is rejected while the bot is outside of its room, which seems to be the reason: it may arrive again."""
        self._allow_again([part])

    def break_connection(self, unconfirmed: Sequence[Part]) -> None:
        """Note that the parts are unconfirmed, and may arrive again."""
        self._allow_again(unconfirmed)
        for number in {part.message for part in unconfirmed}:
            self.messages[number].breaks += 1
            self.messages[number].is_separable = True
            if len(unconfirmed) == 1:
                self.messages[number].is_overtaken |= self.messages[number].breaks > 1

    def end_process(self, unconfirmed: Iterable[Part], stored_until: float) -> None:
        """Note that the process has ended. What was confirmed after a time may not be stored as sent, and arrive again."""
        self._allow_again([*unconfirmed, *(part for part, at in self._confirmed.items() if at >= stored_until)])
        self._confirmed.clear()
        self._begun.clear()
        # The next one begins messages again whose time was sent as a part of its own.
        self._allow_again([Part(message.number, 0) for message in self.messages if message.is_stamped])

    def _allow_again(self, parts: Iterable[Part]) -> None:
        # A message is sent again from its first unconfirmed part on.
        for message, place in parts:
            self._may_repeat.update(Part(message, each) for each in self.messages[message].arrived if each >= place)


@dataclass(eq=False)
class _Transmitted:
    part: Part
    result: Deferred[None] = field(default_factory=Deferred)
    fate: str = ""

    @property
    def has_arrived(self) -> bool:
        return bool(self.fate)


class Rejected(Exception):
    """The network rejects a part."""


class SimulatedTransport:
    """Implements `Transport`: the connections of one process to the network.

    :param clock: The clock of the process.
    :param has_faults: The network is slow and absent at times.
    """

    def __init__(self, network: SimulatedNetwork, clock: Any, has_faults: bool) -> None:
        self._network = network
        self._random = network.random
        self._clock = clock
        self._unconfirmed: list[_Transmitted] = []
        self._due: dict[str, float] = {}
        self._split = -1
        self._is_progressing = False
        self._has_faults = has_faults
        self.serial = self._random.random() < 0.3
        # The ends of pauses: of the network (None), of recipients, and of parts.
        self._pauses: dict[str | Part | None, float] = {}
        self.breaks = 0
        self.is_connected = self._is_stopped = False
        self._vary()

    def start(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        """Connect soon, and again after each break.

        :param ready: Called when the network is connected.
        :param lost: Called when the connection is lost.
        """
        self._ready, self._lost = ready, lost
        self._connect_later()

    def stop(self) -> None:
        """Disconnect."""
        self._is_stopped = True
        self.lose()

    def lose(self) -> None:
        """Lose the connection. Some of the parts that were on their way have arrived."""
        if not self.is_connected:
            return
        self.is_connected = False
        self.breaks += 1
        unconfirmed = self.cut()
        self._network.break_connection([each.part for each in unconfirmed])
        if self._random.random() < 0.2:
            unconfirmed.reverse()
        for each in unconfirmed:
            each.result.errback(NotConfirmed("the connection broke"))
        self._lost()
        if not self._is_stopped:
            self._connect_later()

    def let_in(self, room: str) -> None:
        """Let the bot join a room that it is outside of. What it has sent before is rejected first."""
        if room not in self._network.rooms_outside:
            return
        for each in list(self._unconfirmed):
            if self._network.messages[each.part.message].lane[0] == room:
                each.fate = each.fate or OUTSIDE
                self._confirm(each)
        self._network.rooms_outside.discard(room)
        if self.is_connected:
            self._ready()

    def unavailable(self, recipient: str) -> str | None:
        """Return why the bot is outside of a room."""
        return "kicked" if self.is_connected and recipient in self._network.rooms_outside else None

    def cut(self) -> list[_Transmitted]:
        """Return what is unconfirmed, and forget it, after some more of it has arrived."""
        self._arrive(breaks=False)
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        return unconfirmed

    def progress(self) -> None:
        """Let some parts arrive, and confirm some of those that have arrived."""
        if not self._arrive(breaks=True):
            self.lose()
            return
        arrived = [each for each in self._unconfirmed if each.has_arrived]
        if arrived:
            some = self._random.randint(1, len(arrived))
            for each in self._random.choice([arrived, arrived[:1], arrived[:some], arrived[some - 1 :]]):
                self._confirm(each)
        if self._random.random() < 0.1:
            self._vary()
        self._progress_later()

    def _arrive(self, breaks: bool) -> bool:
        """Let some parts arrive, and return False if one of them breaks the connection."""
        waiting = [each for each in self._unconfirmed if not each.has_arrived]
        for each in waiting[: self._random.randint(0, len(waiting))]:
            each.fate = LATER if self._puts_off() else self._network.arrive(each.part)
            if breaks and each.fate == BREAKING:
                return False
        return True

    def _confirm(self, each: _Transmitted) -> None:
        # The callbacks of another one may have broken the connection.
        if each not in self._unconfirmed:
            return
        self._unconfirmed.remove(each)
        if each.fate not in (OUTSIDE, LATER):
            self._network.confirm(each.part)
        if each.fate == REJECTED and self.unavailable(self._network.messages[each.part.message].lane[0]) is not None:
            self._network.reject_outside(each.part)
        if each.fate == LATER:
            each.result.errback(self._ask_for_pause(each.part))
        elif each.fate in (REJECTED, OUTSIDE):
            each.result.errback(Rejected("the network rejects it"))
        else:
            each.result.callback(None)

    def _puts_off(self) -> bool:
        return self.serial and self._has_faults and self._random.random() < 0.1

    def _ask_for_pause(self, part: Part) -> RetryLater:
        message = self._network.messages[part.message]
        seconds, scope = self._random.choice([0.0, 0.5, 20.0]), self._random.choice(SCOPES)
        message.is_separable |= scope == "part"
        paused = {"part": part, "recipient": message.lane[0], "network": None}[scope]
        self._pauses[paused] = max(self._pauses.get(paused, 0.0), self._clock.seconds() + max(0.1, seconds) - 1e-5)
        return RetryLater(seconds, scope)

    def _progress_later(self) -> None:
        if self._unconfirmed and not self._is_progressing:
            self._is_progressing = True
            self._clock.callLater(self._random.choice(self._delays), self._progress)

    def _progress(self) -> None:
        self._is_progressing = False
        if self._unconfirmed:
            self.progress()

    def _vary(self) -> None:
        self.window = self._random.choice([1, 1, 2, 5, 20])
        self._delays = self._random.choice([[0.0], [0.0, 0.01], [0.1, 1.0], [5.0, 30.0]])
        self._interval = self._random.choice([0.0, 0.0, 0.5, 3.0])
        if not self._has_faults:
            self._delays, self._interval = [0.01], 0.0

    def _connect_later(self) -> None:
        absence = self._network.absent_until - self._network.seconds() if self._has_faults else 0.0
        self._clock.callLater(max(absence, self._random.choice([0.0, 0.1, 2.0])), self._connect)

    def _connect(self) -> None:
        if not self._is_stopped:
            self.is_connected = True
            self._due.clear()
            self._ready()

    # What the outbox calls.

    def estimate(self, body: str) -> int:
        """See `Transport.estimate`."""
        return int(body.split()[1])

    def features(self, recipient: str) -> Features:
        """See `Transport.features`."""
        return BARE

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[Part]:
        """See `Transport.parts`."""
        assert isinstance(operation, Post)
        stamp, body = _STAMP.fullmatch(operation.text).groups()  # type: ignore[union-attr]
        if not body:
            # The time of the message that was split before.
            return [Part(self._split, -1)]
        accepted = self._network.messages[int(body.split()[0][1:])]
        self._network.require(accepted.body == body, "the text of message {} is changed", accepted.number)
        accepted.is_stamped = accepted.is_stamped or bool(stamp)
        self._split = accepted.number
        lane = message.recipient, message.origin, message.priority
        self._network.require(accepted.lane == lane, "the lane of message {} is changed", accepted.number)
        if accepted.fate == INVALID:
            accepted.settled = "invalid"
            raise ValueError("the message can't be sent")
        return [Part(accepted.number, place) for place in range(accepted.parts)]

    def take_turn(self, recipient: str) -> float:
        """See `Transport.take_turn`."""
        now = self._network.seconds()
        if now < self._due.get(recipient, 0.0):
            return self._due[recipient] - now
        self._due[recipient] = now + self._interval
        return 0.0

    def transmit(self, parts: Sequence[Part], keys: Sequence[str]) -> Sequence[Deferred[Any]]:
        """See `Transport.transmit`."""
        self._network.require(self.is_connected, "{} are transmitted without a connection", parts)
        rooms = {self._network.messages[part.message].lane[0] for part in parts if part.place >= 0}
        outside = rooms & self._network.rooms_outside
        self._network.require(not outside, "{} are transmitted to {}", parts, outside)
        self._check_pauses(parts)
        new = [_Transmitted(part) for part in parts]
        self._unconfirmed += new
        self._network.require(len(self._unconfirmed) <= self.window, "{} exceed the window", parts)
        if self._random.random() < 0.1:
            self.progress()
        self._progress_later()
        return [each.result for each in new]

    def _check_pauses(self, parts: Sequence[Part]) -> None:
        messages, require = self._network.messages, self._network.require
        for part in parts:
            paused = max(self._pauses.get(key, 0.0) for key in (None, messages[part.message].lane[0], part))
            require(paused <= self._clock.seconds(), "{} is transmitted in a pause until {}", part, paused)
        to = [messages[part.message].lane[0] for part in [*parts, *(each.part for each in self._unconfirmed)]]
        require(not self.serial or len(to) == len(set(to)), "{} are transmitted at once to {}", parts, to)
