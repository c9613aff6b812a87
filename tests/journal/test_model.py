"""Both journals do the same after any sequence of calls."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import MemoryJournal, SQLiteJournal
from errklein.ports.journal import Journal
from errklein.testing._journal_case import REQUEST
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome, StoredDelivery
from tests.journal.inline import InlineReactor, InlineThreads

WEBHOOKS = ("A:a", "A:b", "B:a")
ID = st.integers(1, 12)
IDS = st.lists(ID, max_size=4, unique=True)
WEBHOOK = st.sampled_from(WEBHOOKS)
SECONDS = st.sampled_from([0.0, 5.0, 30.0])
ACK = st.sampled_from(["now", "now", "after"])
OUTCOME = st.sampled_from(
    [Outcome(200, "", 0.5), Outcome(404, "no"), Outcome(500, "ValueError"), Outcome(0, "timeout")]
)
LOGGED = st.sampled_from([DeliveryState.DONE, DeliveryState.FAILED, DeliveryState.REFUSED])
STATES = st.none() | st.lists(st.sampled_from(DeliveryState), max_size=3)
TIME = st.none() | st.sampled_from([1000.0, 1010.0, 1060.0])

STEP = st.one_of(
    st.tuples(st.just("record"), WEBHOOK, ACK, st.sampled_from(["", "k", "l"]), SECONDS, SECONDS),
    st.tuples(st.just("record"), WEBHOOK, ACK, st.sampled_from(["", "k", "l"]), SECONDS, SECONDS),
    st.tuples(st.just("log"), WEBHOOK, LOGGED, OUTCOME, st.sampled_from(["", "k"])),
    st.tuples(st.just("count"), WEBHOOK),
    st.tuples(st.just("lease"), WEBHOOK, st.integers(1, 3), SECONDS, st.booleans(), IDS),
    st.tuples(st.just("lease"), WEBHOOK, st.integers(1, 3), SECONDS, st.booleans(), IDS),
    st.tuples(st.just("extend"), IDS, SECONDS),
    st.tuples(st.just("retry_at"), ID, SECONDS.map(lambda seconds: 1000.0 + seconds), OUTCOME),
    st.tuples(st.just("postpone"), SECONDS.map(lambda seconds: 1000.0 + seconds)),
    st.tuples(st.just("finish"), ID, OUTCOME),
    st.tuples(st.just("bury"), ID, OUTCOME),
    st.tuples(st.just("replay"), IDS, st.booleans()),
    st.tuples(st.just("once"), ID, st.sampled_from(["a", "b"])),
    st.tuples(st.just("pause"), WEBHOOK, st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 10.0, 30.0])),
    st.tuples(st.just("find"), st.none() | st.sampled_from(["A", *WEBHOOKS]), STATES, TIME, TIME, st.none() | ID),
)


class ModelTests(SynchronousTestCase):
    @settings(max_examples=60)
    @given(st.lists(STEP, max_size=25))
    def test_same_results(self, steps: Sequence[tuple[Any, ...]]) -> None:
        """Every call has the same result with both journals, and so have all reads after it."""
        # A directory in memory, if there is one: each example writes a file.
        shared = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory:
            self.time = 1000.0
            self.reactor = InlineReactor()
            path = Path(directory) / "journal.sqlite"
            sqlite = SQLiteJournal(path, self.reactor, lambda: self.time, threads=InlineThreads)
            memory = MemoryJournal(lambda: self.time)
            self.running: set[int] = set()
            try:
                for step in steps:
                    self.assertEqual(self.apply(sqlite, step), self.apply(memory, step), step)
                    if step[0] == "wait":
                        self.time += step[1]
                    self.assertEqual(self.everything(sqlite), self.everything(memory), step)
            finally:
                self.successResultOf(sqlite.close())

    def apply(self, journal: Journal, step: tuple[Any, ...]) -> Any:
        """Make a call, and return its result."""
        name, *arguments = step
        result: Deferred[Any] | None = None
        if name == "record":
            webhook, ack, key, lease, window = arguments
            result = journal.record(self.delivery(journal, webhook, ack, key=key), lease=lease, window=window)
        elif name == "log":
            webhook, state, outcome, key = arguments
            journal.log(
                self.delivery(journal, webhook, "after", attempt=1, key=key)._replace(state=state, outcome=outcome)
            )
            self.reactor.advance(1)
        elif name == "postpone":
            found = self.successResultOf(journal.find(DeliveryQuery(states=[DeliveryState.RUNNING])))
            result = journal.retry_at(found[0].id, arguments[0], None) if found else None
        elif name == "find":
            counted = self.successResultOf(journal.counted(DeliveryQuery(*arguments)))
            return self.successResultOf(journal.find(DeliveryQuery(*arguments, limit=3))), counted
        elif name == "replay":
            return sorted(self.successResultOf(journal.replay(*arguments)))
        elif name == "count":
            journal.count(*arguments)
            self.reactor.advance(1)
        elif name != "wait":
            result = getattr(journal, name)(*arguments)
        return None if result is None else self.successResultOf(result)

    def delivery(self, journal: Journal, webhook: str, ack: str, **fields: Any) -> StoredDelivery:
        """Return a new delivery."""
        number = journal.next_id()
        return StoredDelivery(number, webhook, DeliveryState.RECEIVED, self.time, "r", ack, request=REQUEST, **fields)

    def everything(self, journal: Journal) -> Any:
        """Return the results of all reads."""
        found = self.successResultOf(journal.find(DeliveryQuery(limit=100)))
        return (
            found,
            [self.successResultOf(journal.get(delivery.id)) for delivery in found],
            [
                self.successResultOf(journal.next_due(webhook, ordered))
                for webhook in WEBHOOKS
                for ordered in (False, True)
            ],
            self.successResultOf(journal.depth())._replace(size=0),
            *[self.successResultOf(read()) for read in (journal.waiting, journal.paused)],
        )
