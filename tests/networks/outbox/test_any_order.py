"""Edits, deletions and reactions at any time, on a network that fails at any time: what is on it in the end is what was wanted last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.chat.features import Features
from errklein.chat.handles import Handle
from errklein.chat.operations import Delete, Edit, Kind, Operation, Post, React, Upload, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.networks.outbox import NotConfirmed, Outbox, OutboxLimits, RetryLater
from errklein.ports.receipts import Receipt
from errklein.running.context import assigned, origin
from tests.networks.outbox.test_lanes import KeptMessages
from tests.networks.outbox.test_outbox import NOON, ThreadClock

SEEDS = 200


class Rooms:
    """What is on the network, which ignores keys that it has had. It implements `Transport`."""

    window = 3
    serial = True

    def __init__(self) -> None:
        self.texts: dict[str, tuple[str, str]] = {}
        self.reactions: dict[str, set[str]] = defaultdict(set)
        self.waiting: list[tuple[str, Operation, str, Deferred[str | None]]] = []
        self._ids: dict[str, str | None] = {}

    def estimate(self, body: str) -> int:
        return 1

    def features(self, recipient: str) -> Features:
        return Features(size=20, edits=True, deletions=True, reactions=True, files=True)

    def parts(
        self, operation: Operation, message: OutgoingMessage, original: Message | None
    ) -> Sequence[tuple[str, Operation]]:
        return [(message.recipient, operation)]

    def take_turn(self, recipient: str) -> float:
        return 0.0

    def transmit(self, parts: Sequence[tuple[str, Operation]], keys: Sequence[str]) -> Sequence[Deferred[str | None]]:
        new: list[Deferred[str | None]] = [Deferred() for _ in parts]
        self.waiting += [(*part, key, result) for part, key, result in zip(parts, keys, new, strict=True)]
        return new

    def apply(self, room: str, operation: Operation, key: str) -> str | None:
        """Do what is wanted, once, and return the id of a new message."""
        if key not in self._ids:
            self._ids[key] = self._do(room, operation)
        return self._ids[key]

    def _do(self, room: str, operation: Operation) -> str | None:
        match operation:
            case Post(text=text) | Upload(name=text):
                number = f"e{len(self._ids)}"
                # Without the time of a late message.
                self.texts[number] = room, text.rpartition("] ")[2]
                return number
            case Edit(ref=ref, text=text):
                assert _id(ref.room) == _id(room)
                self.texts[ref.id] = room, text
            case Delete(ref=ref):
                del self.texts[ref.id]
            case React(ref=ref, emoji=emoji):
                # A reaction may come after the deletion, which another origin has caused.
                self.reactions[ref.id].add(emoji)
        return None


@dataclass
class SentText:
    """A message, and what is wanted of it."""

    lane: tuple[str, str, bool]
    receipt: Receipt
    text: str
    is_deleted: bool = False
    before: list[str] = field(default_factory=list)
    reactions: set[str] = field(default_factory=set)
    is_refused: bool = False


class World:
    """A bot that sends and changes messages, and is restarted, over a network."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.has_restarts = seed % 2 == 0
        self.clock, self.rooms, self.store = ThreadClock(), Rooms(), KeptMessages()
        self.said: list[SentText] = []
        self.receipts: list[Receipt] = []
        self.count = 0
        self.has_losses = seed % 3 != 0
        # The room x has another name at first, under which some of it waits still when its name is known.
        self.alias = "#x"
        # Until when nothing is sent to a room, or at all, as its name "".
        self.paused: dict[str, float] = defaultdict(float)
        self.start()

    def start(self) -> None:
        """Start a process."""
        self.rooms.waiting.clear()
        limits = OutboxLimits(attempts=1000, isolates=False, age=1e6)
        self.outbox: Outbox[tuple[str, Operation]] = Outbox(
            self.clock, "net", self.rooms, limits, now=lambda: NOON + self.clock.seconds()
        )
        self.outbox.use_store(self.store)
        self.outbox.take([*self.store.kept.values()])
        if self.alias == "x":
            self.outbox.rename("#x", "x")
        self.outbox.resume()

    def rename(self) -> None:
        """Learn the name of the room."""
        self.alias = "x"
        self.outbox.rename("#x", "x")

    def text(self) -> str:
        """Return a new text, of one part if there are restarts: a later process doesn't know the ids of the first ones."""
        self.count += 1
        words = 1 if self.has_restarts else self.random.choice([1, 1, 3, 5, 8])
        return " ".join(f"{self.count}.{number}" for number in range(words))

    def lane(self) -> tuple[str, str, bool]:
        """Return a room, an origin, and whether there is priority."""
        return self.random.choice("xy"), self.random.choice("ab"), self.random.random() < 0.2

    def say(self) -> None:
        """Send a message."""
        lane, text = self.lane(), self.text()
        with assigned(origin, lane[1]):
            receipt = self.outbox.perform(self.alias if lane[0] == "x" else "y", text, priority=lane[2])
        if self.has_restarts and lane[0] == "x":
            # What is left of an earlier process has the name that it was sent to.
            lane = self.alias, *lane[1:]
        self.said.append(SentText(lane, receipt, text))
        self.receipts.append(receipt)

    def change(self) -> None:
        """Edit, delete or react to a message, or answer to a request for it, which may have been sent long ago."""
        there = [said for said in self.said if not said.is_deleted]
        if not there:
            return
        said = self.random.choice(there[-4:])
        kind, text, emoji = self.random.choice([Kind.EDIT, Kind.EDIT, Kind.DELETE, Kind.REACT]), "", ""
        if kind is Kind.EDIT:
            said.before.append(said.text)
            said.text = text = self.text()
        elif kind is Kind.REACT:
            emoji = self.random.choice("!?")
            said.reactions.add(emoji)
        else:
            said.is_deleted = True
        wanted = Wanted(kind, Handle(said.receipt), emoji=emoji)
        _, by, priority = self.lane()
        with assigned(origin, by):
            self.receipts.append(self.outbox.perform("", text, wanted, priority=priority))

    def answer(self) -> None:
        """Let the network do something with a part."""
        if self.rooms.waiting:
            room, operation, key, result = self.rooms.waiting.pop(self.random.randrange(len(self.rooms.waiting)))
            if self.random.random() < 0.2:
                seconds, scope = (
                    self.random.choice([0.1, 3.0, 600.0 if self.has_restarts else 3.0]),
                    self.random.choice(SCOPES),
                )
                what = _id(room) if scope != "network" else ""
                self.paused[what] = max(self.paused[what], self.clock.seconds() + seconds)
                result.errback(RetryLater(seconds, scope))
            elif self.has_restarts and isinstance(operation, Edit) and self.random.random() < 0.1:
                said = next(said for said in self.said if operation.text in (said.text, *said.before))
                said.is_refused = True
                result.errback(ValueError("too late"))
            else:
                result.callback(self.rooms.apply(room, operation, key))

    def lose(self) -> None:
        """Break the connection. Some of what is on the way arrives."""
        waiting, self.rooms.waiting = self.rooms.waiting, []
        for room, operation, key, result in waiting:
            if self.random.random() < 0.5:
                self.rooms.apply(room, operation, key)
            result.errback(NotConfirmed())
        self.outbox.pause()
        self.outbox.resume()

    def restart(self) -> None:
        """End the process while parts are on the way, and start another one."""
        self.outbox.close()
        for room, operation, key, _ in self.rooms.waiting:
            if self.random.random() < 0.5:
                self.rooms.apply(room, operation, key)
        self.start()

    def require_progress(self) -> None:
        """Require that nothing waits without a reason, unless connections break, after which parts are sent alone."""
        now, busy = self.clock.seconds(), {_id(room) for room, *_ in self.rooms.waiting}
        waiting = {_id(entry.message.recipient) for entry in self.outbox._entries.values()}
        for room in waiting - busy if len(busy) < self.rooms.window and not self.has_losses else ():
            assert max(self.paused[room], self.paused[""]) > now - 0.001, f"{room} waits without a reason"

    def run(self) -> None:
        """Let things happen, then let everything be sent."""
        steps: dict[Any, float] = {self.say: 5, self.change: 6, self.answer: 8, self.rename: 0.2}
        if self.has_losses:
            steps[self.lose] = 0.5
        if self.has_restarts:
            steps[self.restart] = 0.4
        for _ in range(80):
            self.random.choices(list(steps), list(steps.values()))[0]()
            self.clock.advance(self.random.choice([0.0, 0.0, 0.2, 4.0]))
            self.require_progress()
        for _ in range(1000):
            self.answer()
            self.clock.advance(30.0 if self.has_restarts else 4.0)
            self.require_progress()
            if not len(self.outbox):
                break


SCOPES: Any = ("part", "recipient", "network")


def _id(room: str) -> str:
    return room.removeprefix("#")


class AnyOrderTests(SynchronousTestCase):
    """Worlds from many seeds."""

    def test_last_wish_counts(self) -> None:
        """Each message is there once, in order, with its last text and all reactions; deleted ones aren't; all receipts fire."""
        for seed in range(SEEDS):
            world = World(seed)
            world.run()
            with self.subTest(seed=seed):
                self.assertEqual(len(world.outbox), 0)
                self.assertEqual((world.outbox.status.size, world.store.kept), (0, {}))
                there = [said for said in world.said if not said.is_deleted]
                shown = {text for _, text in world.rooms.texts.values()}
                for said in there:
                    if said.is_refused:
                        said.text = next(text for text in (said.text, *said.before) if text in shown)
                texts = " ".join(text for _, text in world.rooms.texts.values()).split()
                numbers = {text.split()[0]: number for number, (_, text) in world.rooms.texts.items()}
                self.assertEqual(sorted(texts), sorted(" ".join(said.text for said in there).split()))
                for said in there:
                    words = said.text.split()
                    self.assertEqual([word for word in texts if word in words], words)
                    self.assertEqual(world.rooms.reactions[numbers[words[0]]], said.reactions)
                for lane in {said.lane for said in there}:
                    firsts = [said.text.split()[0] for said in there if said.lane == lane]
                    self.assertEqual([word for word in texts if word in firsts], firsts)
                self.assertTrue(all(receipt.called for receipt in world.receipts))
                self.flushLoggedErrors()
