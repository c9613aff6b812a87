"""`OutboxStoreContract`: the tests that every store of outgoing messages must pass, as a mixin for a `SynchronousTestCase`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import Kind, Wanted
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage, waiting_record
from errklein.database import Run
from errklein.ports.outbox import OutboxStore
from tests.journal.inline import INLINE, InlineReactor, WaitingThreads

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object

AWKWARD_TEXTS = ("", " ", "\0", "\r\n", "ключ", "🙂", "\ud800", "\udcff", "'; DROP TABLE outbox; --", "x" * 100_000)


class OutboxStoreContract(_TestCase):
    """Tests of the guarantees of `errklein.ports.outbox.OutboxStore`.

    The test case implements `make_store` and `restart`, and `settle` if the Deferreds need it::

        class MyStoreTests(OutboxStoreContract, SynchronousTestCase):
            def make_store(self):
                self.path = self.mktemp()
                return MyStore(self.path)

            def restart(self):
                self.store.close()
                return MyStore(self.path)
    """

    def make_store(self) -> OutboxStore:
        """Return a new, empty store. The test case closes it."""
        raise NotImplementedError

    def restart(self) -> OutboxStore:
        """Stop the process that uses `self.store` cleanly, and return the store of the next one."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let what was called have its effect."""

    def setUp(self) -> None:
        """Create a store."""
        self.store = self.make_store()

    def result_of(self, deferred: Deferred[Any]) -> Any:
        """Return the result of a Deferred."""
        self.settle()
        return self.successResultOf(deferred)

    def add(self, **fields: Any) -> OutgoingMessage:
        """Add a new message, and return it."""
        return self.store.add(OutgoingMessage(0, **{"network": "IRC", "recipient": "#builds", "body": "hi", **fields}))

    def remove(self, message: OutgoingMessage) -> None:
        """End a message without a record."""
        self.store.end(waiting_record(message._replace(delivery=0))._replace(state=MessageState.SENT))

    def lease(self) -> Sequence[OutgoingMessage]:
        """Return what the store leases."""
        leased: Sequence[OutgoingMessage] = self.result_of(self.store.lease())
        return leased

    def lease_again(self) -> Sequence[OutgoingMessage]:
        """Restart, and return what the store leases."""
        self.store = self.restart()
        return self.lease()

    def test_ids_increase(self) -> None:
        """Each id is higher than the one before, also after several restarts, and though no message was stored."""
        ids = []
        for _ in range(3):
            for _ in range(3):
                self.remove(message := self.add())
                ids.append(message.id)
            self.store = self.restart()
        self.assertEqual(ids, sorted(set(ids)))
        self.assertGreater(ids[0], 0)

    def test_message_survives_a_restart(self) -> None:
        """A message with all its fields is leased by the next process, and the one after it."""
        message = self.add(
            origin="route:Builds:build",
            priority=True,
            accepted_at=1234.5,
            sent=2,
            details='{"thread": "7"}',
            delivery=4711,
            key="9f0c-1",
            wanted=Wanted(Kind.FILE, thread="7", file="graph.png", type="image/png").as_json(),
            file=b"\x89PNG\r\n\0\xff" * 100_000,
        )
        [leased] = self.lease_again()
        self.assertEqual(leased, message)
        self.assertIs(leased.priority, True)
        self.assertEqual(self.lease_again(), [message])

    def test_any_text(self) -> None:
        """All texts of a message may contain any character, NUL and lone surrogates included."""
        messages = [
            self.add(network=text, recipient=text, body=text, origin=text, details=text) for text in AWKWARD_TEXTS
        ]
        self.assertEqual(self.lease_again(), messages)

    def test_messages_of_this_process(self) -> None:
        """Messages that belong to this process aren't leased: what it has leased or added, whether it is written or not."""
        earlier = self.add()
        self.store = self.restart()
        self.add()
        self.assertEqual(self.lease(), [earlier])
        self.result_of(self.store.flush())
        self.assertEqual(self.lease(), [])

    def test_oldest_first(self) -> None:
        """Messages are leased in the order in which they were added."""
        messages = [self.add() for _ in range(100)]
        self.assertEqual(self.lease_again(), messages)
        later = self.add()
        self.assertEqual(self.lease_again(), [*messages, later])

    def test_ended_messages(self) -> None:
        """A message that has ended isn't leased, whether it ended before it was written, after that, or in a later process."""
        at_once, written, later, kept = [self.add() for _ in range(4)]
        self.remove(at_once)
        self.result_of(self.store.flush())
        self.remove(written)
        self.remove(written._replace(id=12345678))
        self.assertEqual(self.lease_again(), [later, kept])
        self.remove(later)
        self.assertEqual(self.lease_again(), [kept])

    def test_sent_parts(self) -> None:
        """The share of sent parts is kept, whether it was stored with the message, after it, or by a later process."""
        with_it, after, removed = [self.add() for _ in range(3)]
        self.store.advance(with_it.id, 0.1)
        self.result_of(self.store.flush())
        self.store.advance(after.id, 1 / 3)
        self.store.advance(after.id, 2 / 3)
        self.store.advance(removed.id, 0.5)
        self.remove(removed)
        self.store.advance(12345678, 0.5)
        self.assertEqual(self.lease_again(), [with_it._replace(sent=0.1), after._replace(sent=2 / 3)])
        self.store.advance(with_it.id, 0.9)
        self.assertEqual(self.lease_again(), [with_it._replace(sent=0.9), after._replace(sent=2 / 3)])

    def test_changed_message(self) -> None:
        """Text and what else is wanted can be changed, before the message is written and after that; it keeps its place and the rest."""
        first, at_once, written, last = [self.add(file=b"\0", wanted="", key=str(number)) for number in range(4)]
        self.store.change(at_once.id, "other")
        self.result_of(self.store.flush())
        thread = Wanted(thread="7").as_json()
        self.store.change(written.id, "one", thread)
        self.assertTrue(self.store.unwritten or not self.store.durable)
        self.store.change(written.id, "\ud800")
        self.store.change(last.id, wanted=thread)
        self.store.change(first.id, recipient="!room")
        self.store.change(12345678, "unknown")
        changed = [
            first._replace(recipient="!room"),
            at_once._replace(body="other"),
            written._replace(body="\ud800", wanted=thread),
            last._replace(wanted=thread),
        ]
        self.assertEqual(self.lease_again(), changed)
        self.store.change(written.id, "", "")
        self.remove(last)
        self.store.change(last.id, "gone")
        changed = [*changed[:2], written._replace(body="", wanted="")]
        self.assertEqual(self.lease_again(), changed)

    def end_with_refs(self, message: OutgoingMessage, *refs: MessageRef) -> None:
        """End a message to which the network has given ids."""
        self.store.end(waiting_record(message)._replace(state=MessageState.SENT, at=1000.0), refs)

    def refs_of(self, handle: str) -> list[MessageRef]:
        """Return the ids of a message."""
        return list(self.result_of(self.store.refs_of(Handle(handle))))

    def test_ids_of_the_network(self) -> None:
        """The ids of a message are found by its handle, before they are written, after that, and in later processes."""
        texts = (
            MessageRef("a/b", "#ops:hs", "$1"),
            MessageRef("a/b", "#ops:hs", "\ud800", "7"),
            MessageRef("a/b", "!x", "🙂"),
        )
        at_once, written = [self.add(network="a/b", recipient="#ops:hs", key=f"k-{number}") for number in range(2)]
        self.end_with_refs(at_once, *texts)
        self.result_of(self.store.flush())
        self.end_with_refs(written, texts[0])
        for _ in range(3):
            self.assertEqual(self.refs_of("a/b/k-0"), list(texts))
            self.assertEqual(self.refs_of("a/b/k-1"), [texts[0]])
            self.assertEqual(self.refs_of("a/b/k-2"), [])
            self.assertEqual(self.refs_of("b/k-1"), [])
            self.store = self.restart()
            self.assertEqual(self.lease(), [])

    def test_no_ids(self) -> None:
        """A message without ids, and one whose key is unknown, have none afterwards."""
        message, without = self.add(key="k"), self.add()
        self.end_with_refs(message)
        self.end_with_refs(without, MessageRef("IRC", "#builds", "1"))
        self.assertEqual((self.refs_of("IRC/k"), self.refs_of("IRC/")), ([], []))

    def test_ids_after_an_edit(self) -> None:
        """The ids of a message that an edit has lengthened or shortened replace those before, whenever it was sent."""
        refs = [MessageRef("IRC", "#builds", str(number)) for number in range(3)]
        message = self.add(key="k")
        self.end_with_refs(message, *refs[:2])
        self.end_with_refs(self.add(key="e")._replace(key="k"), *refs)
        self.assertEqual((self.refs_of("IRC/k"), self.refs_of("IRC/e")), (refs, []))
        self.store = self.restart()
        self.assertEqual(self.refs_of("IRC/k"), refs)
        edit = self.add(key="e")
        self.store = self.restart()
        self.end_with_refs(edit._replace(key="k"), refs[0])
        self.store = self.restart()
        self.assertEqual((self.refs_of("IRC/k"), self.lease()), (refs[:1], []))

    def test_ids_that_another_process_has_taken(self) -> None:
        """A process that ends a message which is no longer there stores no ids of it: who has taken it does."""
        refs = [MessageRef("IRC", "#builds", str(number)) for number in range(2)]
        message = self.add(key="k")
        for ref in refs:
            self.store = self.restart()
            self.end_with_refs(message, ref)
        self.store = self.restart()
        self.assertEqual(self.refs_of("IRC/k"), refs[:1])

    def test_forgotten_ids(self) -> None:
        """The ids of messages to some recipients of a network are removed, whether they are written or not."""
        for key, network, recipient in (("a", "x", "@ann"), ("b", "x", "#ann"), ("c", "y", "@ann")):
            ref = MessageRef(network, recipient, key)
            self.end_with_refs(self.add(network=network, recipient=recipient, key=key), ref)
        self.result_of(self.store.flush())
        self.end_with_refs(self.add(network="x", recipient="@Ann", key="d"), MessageRef("x", "@Ann", "d"))
        meant = ("@ann", "@Ann")
        self.assertEqual(self.result_of(self.store.forget_refs("x", meant.__contains__)), 2)
        self.assertEqual(self.result_of(self.store.forget_refs("x", meant.__contains__)), 0)
        self.store = self.restart()
        found = [self.refs_of(handle) for handle in ("x/a", "x/b", "y/c", "x/d")]
        self.assertEqual(found, [[], [MessageRef("x", "#ann", "b")], [MessageRef("y", "@ann", "c")], []])

    def end(self, state: MessageState = MessageState.SENT, reason: str = "", **fields: Any) -> MessageRecord:
        """Add a message that has ended, and return the record."""
        record = waiting_record(self.add(**fields))._replace(state=state, at=1000.0, reason=reason)
        self.store.end(record)
        return record

    def found(self, delivery: int = 0, recipient: str = "") -> Sequence[MessageRecord]:
        """Return what the store finds."""
        found: Sequence[MessageRecord] = self.result_of(self.store.find(delivery, recipient))
        return found

    def test_messages_of_a_delivery(self) -> None:
        """The messages of a delivery are found, those that wait and those that have ended, also after a restart."""
        self.add(delivery=8)
        self.end(delivery=8)
        self.add()
        sent = self.end(delivery=7)
        rejected = self.end(MessageState.REJECTED, "Cannot send to channel", delivery=7, recipient="\ud800")
        waits = waiting_record(self.add(delivery=7, accepted_at=999.0))
        self.assertEqual(self.found(7), [sent, rejected, waits])
        self.result_of(self.store.flush())
        self.assertEqual(self.found(7), [sent, rejected, waits])
        self.store = self.restart()
        self.assertEqual(self.found(7), [sent, rejected, waits])
        self.assertEqual([message.id for message in self.lease() if message.delivery == 7], [waits.id])
        dropped = waits._replace(state=MessageState.DROPPED, reason="too old")
        self.store.end(dropped)
        self.assertEqual(self.found(7), [sent, rejected, dropped])
        self.store = self.restart()
        self.assertEqual(self.found(7), [sent, rejected, dropped])

    def test_record_of_a_message_that_was_not_added(self) -> None:
        """A record with the id 0 gets one, which is as high as that of a message."""
        self.store.end(MessageRecord(0, "IRC", "#builds", 7, MessageState.SENT, 1000.0))
        later = self.add(delivery=7)
        sent, waits = self.found(7)
        self.assertEqual(waits, waiting_record(later))
        self.assertEqual(0 < sent.id < waits.id, True)

    def test_messages_to_a_recipient(self) -> None:
        """The messages to a recipient are found that wait, or were dropped or rejected, whatever has caused them."""
        self.add(recipient="#other")
        self.end(recipient="#Ops", delivery=7)
        dropped = self.end(MessageState.DROPPED, "too old", recipient="#Ops")
        waits = waiting_record(self.add(recipient="#ops"))
        self.assertEqual(self.found(recipient="#OPS"), [dropped, waits])
        self.store = self.restart()
        self.assertEqual(self.found(recipient="#OPS"), [dropped, waits])

    def test_flush(self) -> None:
        """After `flush`, nothing is unwritten. An empty store can be flushed."""
        self.assertFalse(self.store.unwritten)
        self.assertIsNone(self.result_of(self.store.flush()))
        self.add()
        self.assertIsNone(self.result_of(self.store.flush()))
        self.assertFalse(self.store.unwritten)

    def test_threads_add(self) -> None:
        """Messages that threads add at the same time are all stored."""

        def work(_: int) -> list[int]:
            return [self.add().id for _ in range(50)]

        with ThreadPoolExecutor(4) as pool:
            ids = [number for some in pool.map(work, range(4)) for number in some]
        self.assertEqual([message.id for message in self.lease_again()], sorted(ids))
        self.assertEqual(len(set(ids)), 200)


class JournalOutboxContract(OutboxStoreContract):
    """The contract for the store of a journal, which `open_journal` opens with `reactor` and `runs`, each time as the next process."""

    journal: Any

    def open_journal(self) -> Any:
        """Return the journal."""
        raise NotImplementedError

    def make_store(self) -> OutboxStore:
        """Return the store of a new journal."""
        self.addCleanup(lambda: self.result_of(self.journal.close()))
        return self.open()

    def open(self) -> OutboxStore:
        """Open the journal."""
        self.reactor = InlineReactor()
        self.journal = self.open_journal()
        store: OutboxStore = self.journal.outbox
        return store

    def runs(self) -> tuple[Run, Run]:
        """Return the functions that run writes and reads."""
        return INLINE

    def restart(self) -> OutboxStore:
        """Close the journal, and open it again."""
        self.result_of(self.journal.close())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return self.open()


class SharedCommits(JournalOutboxContract):
    """The contract for writes that share transactions."""

    def runs(self) -> tuple[Run, Run]:
        """Return functions of which writes wait."""
        self.threads = WaitingThreads()
        return self.threads.runs

    def settle(self) -> None:
        """Let everything be written."""
        self.reactor.advance(1)
        self.threads.turn()
