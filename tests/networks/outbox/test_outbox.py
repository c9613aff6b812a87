"""The outbox: order, limit, rate, reconnections and threads."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import FileLogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.chat.features import BARE, Features
from errklein.chat.operations import Operation, Post
from errklein.chat.outgoing import OutgoingMessage
from errklein.logs import format_line
from errklein.networks.outbox import NotConfirmed, Outbox, OutboxLimits
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.running import TokenBucket
from errklein.text.masking import MASK, masker

NOON = 1_700_000_000.0
"""The Unix time at which tests begin."""


class ThreadClock(Clock):
    """A clock that queues calls from threads until the test runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def callFromThread(self, function: Any, *args: Any) -> None:
        self.asked.append((function, args))

    def let(self) -> None:
        """Run the calls from threads."""
        while self.asked:
            function, args = self.asked.pop(0)
            function(*args)


class TickingClock(ThreadClock):
    """A clock on which each look takes 0.1 ms, as on a busy machine."""

    def seconds(self) -> float:
        """Return the time."""
        self.rightNow += 0.0001
        return super().seconds()


class Network:
    """A `Transport` whose parts the test confirms or fails. It splits messages into words."""

    def __init__(self, window: int = 1, pace: TokenBucket | None = None) -> None:
        self.window = window
        self.serial = False
        self.got: list[str] = []
        self.waiting: list[Deferred[None]] = []
        self.batches: list[list[str]] = []
        self._pace = pace

    def estimate(self, body: str) -> int:
        return len(body.split())

    def features(self, recipient: str) -> Features:
        return BARE

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> list[str]:
        assert isinstance(operation, Post)
        return operation.text.split()

    def take_turn(self, recipient: str) -> float:
        return 0.0 if self._pace is None else self._pace.take()

    def transmit(self, parts: Sequence[str], keys: Sequence[str]) -> list[Deferred[None]]:
        self.batches.append(list(parts))
        self.got.extend(parts)
        sent: list[Deferred[None]] = [Deferred() for _ in parts]
        self.waiting.extend(sent)
        return sent

    def confirm(self) -> None:
        self.waiting.pop(0).callback(None)

    def fail(self, error: Exception) -> None:
        self.waiting.pop(0).errback(error)

    def disconnect(self) -> None:
        """Fail everything that is unconfirmed, as when the connection breaks."""
        while self.waiting:
            self.fail(NotConfirmed())


class QuickNetwork(Network):
    """A network that confirms at once."""

    def transmit(self, parts: Sequence[str], keys: Sequence[str]) -> list[Deferred[None]]:
        self.got.extend(parts)
        return [succeed(None) for _ in parts]


class OutboxTests(SynchronousTestCase):
    """An outbox that is used on the reactor."""

    def setUp(self) -> None:
        """Create an outbox that isn't ready yet."""
        self.clock = ThreadClock()
        self.network = Network()
        self.outbox = self.make()

    def make(self, **settings: Any) -> Outbox[str]:
        """Return an outbox for the network."""
        self.network = Network(settings.pop("window", 1), settings.pop("pace", None))
        limits = OutboxLimits(**settings)
        return Outbox(self.clock, "net", self.network, limits, now=lambda: NOON + self.clock.seconds())

    def test_message_that_the_end_of_an_empty_one_sends(self) -> None:
        """A message without text ends at once. What its awaitable leads to is sent, too, also with priority."""
        done: Any = self.outbox.perform("#ops", "")
        done.addCallback(lambda _: self.outbox.perform("#ops", "alert", priority=True))
        self.outbox.resume()
        self.assertEqual(self.network.got, ["alert"])

    def test_rate_limit_that_ends_at_once(self) -> None:
        """A message is sent whose wait for the rate limit has ended before the timer is set."""
        self.clock = TickingClock()
        self.outbox = self.make()
        waits = iter((0.00005, 0.0))
        self.network.take_turn = lambda recipient: next(waits)  # type: ignore[method-assign]
        self.outbox.perform("#ops", "now")
        self.outbox.resume()
        self.clock.advance(5.0)
        self.assertEqual(self.network.got, ["now"])

    def test_messages_leave_no_cyclic_garbage(self) -> None:
        """Messages that were sent need no run of the garbage collector, which would stop the bot under load."""
        self.outbox.resume()

        def send() -> None:
            for number in range(20):
                self.outbox.perform(f"#ops{number}", "text")
                self.network.confirm()

        send()
        gc.collect()
        # What other tests have left isn't counted.
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        gc.disable()
        self.addCleanup(gc.enable)
        send()
        self.assertLess(gc.collect(), 20)

    def test_error_while_transmitting(self) -> None:
        """If a network's code raises an exception, the part is rejected, and further messages are sent."""
        transmit = self.network.transmit

        def broken(parts: Sequence[str], keys: Sequence[str]) -> list[Deferred[None]]:
            self.network.transmit = transmit  # type: ignore[method-assign]
            raise ZeroDivisionError

        self.network.transmit = broken  # type: ignore[method-assign]
        lost: Any = self.outbox.perform("#ops", "lost")
        self.outbox.perform("#ops", "kept")
        self.outbox.resume()
        self.failureResultOf(lost, ZeroDivisionError)
        self.assertEqual(self.network.got, ["kept"])

    def test_one_part_at_a_time(self) -> None:
        """A part is sent after the one before is confirmed; the awaitable fires after the last one."""
        done = self.outbox.put(["a", "b"])
        self.assertEqual(self.network.got, [])
        self.outbox.resume()
        self.assertEqual(self.network.got, ["a"])
        self.network.confirm()
        self.assertEqual(self.network.got, ["a", "b"])
        self.assertNoResult(done)
        self.network.confirm()
        self.successResultOf(done)

    def test_unconfirmed_part_goes_again_first(self) -> None:
        """After a reconnection confirmed parts aren't repeated, and unconfirmed ones are sent again."""
        self.outbox.put(["a", "b"])
        self.outbox.put(["c"])
        self.outbox.resume()
        self.network.confirm()
        self.network.fail(NotConfirmed())
        self.outbox.pause()
        self.assertEqual(self.network.got, ["a", "b"])
        self.outbox.resume()
        self.network.confirm()
        self.network.confirm()
        self.assertEqual(self.network.got, ["a", "b", "b", "c"])
        self.assertEqual(len(self.outbox), 0)

    def test_rate_limit_of_one_recipient(self) -> None:
        """While one recipient's rate limit is waited for, and parts are unconfirmed, messages to others are sent at once."""
        outbox = self.make(window=3)
        self.network.take_turn = lambda recipient: 60.0 if recipient == "slow" else 0.0  # type: ignore[method-assign]
        outbox.resume()
        outbox.put(["a"], recipient="quick")
        outbox.put(["b"], recipient="slow")
        self.clock.advance(0)
        outbox.put(["c"], recipient="quick")
        self.clock.advance(0)
        self.assertEqual(self.network.got, ["a", "c"])

    def test_refused_message_is_given_up(self) -> None:
        """A message that the network rejects doesn't delay the next one, and its awaitable fails with the reason."""
        refused = self.outbox.put(["a", "rest of a"])
        self.outbox.put(["b"])
        self.outbox.resume()
        self.network.fail(ValueError("no such room"))
        self.assertEqual(self.network.got, ["a", "b"])
        self.failureResultOf(refused, ValueError)

    def test_failed_awaitable_may_be_ignored(self) -> None:
        """An ignored awaitable that fails logs no unhandled error."""
        self.outbox.put(["a"])
        self.outbox.resume()
        self.network.fail(ValueError("no"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_poisonous_part_is_given_up(self) -> None:
        """A part is dropped after five connections broke on it. After the second one, others are sent first."""
        poison = self.outbox.put(["poison"])
        self.outbox.put(["good"])
        lines = self.logged()
        for _ in range(2):
            self.outbox.resume()
            self.network.fail(NotConfirmed())
            self.outbox.pause()
        self.outbox.resume()
        self.network.confirm()
        for _ in range(3):
            self.clock.advance(31)
            self.network.fail(NotConfirmed())
            self.outbox.pause()
            self.outbox.resume()
        self.assertIn("net: 1 messages were dropped, since the connection broke 5 times while it was sent:", lines)
        self.assertEqual(self.network.got, ["poison"] * 2 + ["good"] + ["poison"] * 3)
        self.failureResultOf(poison, NotConfirmed)

    def test_long_message_over_a_bad_connection(self) -> None:
        """A message is not dropped while some of its parts are confirmed."""
        said = self.outbox.put(["a", "b"])
        for _ in range(2):
            for _ in range(4):
                self.outbox.resume()
                self.clock.advance(31)
                self.network.fail(NotConfirmed())
                self.outbox.pause()
            self.outbox.resume()
            self.clock.advance(31)
            self.network.confirm()
        self.successResultOf(said)

    def test_full_on_the_reactor(self) -> None:
        """On the reactor a full outbox raises OutboxFull at once; a sent message makes room."""
        self.outbox = self.make(parts=4)
        self.outbox.put(["a"])
        self.outbox.put(["b"])
        self.assertRaises(OutboxFull, self.outbox.put, ["c"])
        self.outbox.resume()
        self.network.confirm()
        self.outbox.put(["c"])

    def test_nothing_to_say(self) -> None:
        """A message without parts is complete as soon as it is first in the queue."""
        self.outbox.resume()
        self.successResultOf(self.outbox.put([]))

    def test_long_queue_to_a_quick_network(self) -> None:
        """A long queue is sent to a network that confirms at once, without deep recursion."""
        network = QuickNetwork()
        outbox = Outbox(self.clock, "net", network)
        for number in range(5000):
            outbox.put([str(number)])
        outbox.resume()
        self.assertEqual(network.got, [str(number) for number in range(5000)])

    def test_pace(self) -> None:
        """After the burst, parts are sent one interval apart."""
        self.outbox = self.make(pace=TokenBucket(self.clock.seconds, 2.0, 3))
        self.outbox.put(list("abcdef"))
        self.outbox.resume()
        for _ in range(3):
            self.network.confirm()
        self.assertEqual(self.network.got, list("abc"))
        for letters in ("abcd", "abcde", "abcdef"):
            self.clock.pump([1.9])
            self.assertEqual(self.network.got, list(letters[:-1]))
            self.clock.pump([0.1])
            self.assertEqual(self.network.got, list(letters))
            self.network.confirm()

    def test_quick_pace(self) -> None:
        """Intervals of less than a second are kept as well."""
        self.outbox = self.make(pace=TokenBucket(self.clock.seconds, 0.5, 1))
        self.outbox.put(["a", "b"])
        self.outbox.resume()
        self.network.confirm()
        self.assertEqual(self.network.got, ["a"])
        self.clock.advance(0.5)
        self.assertEqual(self.network.got, ["a", "b"])

    def logged(self) -> list[str]:
        """Return the list that later log lines are added to."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines

    def test_close_without_grace(self) -> None:
        """Without a grace period `close` fails the queue at once, and refuses new messages."""
        lost = self.outbox.put(["a"])
        self.successResultOf(self.outbox.close())
        self.failureResultOf(lost, OutboxClosed)
        self.assertRaises(OutboxClosed, self.outbox.put, ["b"])

    def test_close_sends_for_the_whole_grace_period(self) -> None:
        """The queue is sent at the rate limit until the grace period ends; only the rest fails."""
        self.outbox = self.make(pace=TokenBucket(self.clock.seconds, 2.0, 1))
        self.outbox.resume()
        puts = [self.outbox.put([str(number)]) for number in range(12)]
        self.network.confirm()
        closed = self.outbox.close(grace=10)
        for _ in range(4):
            self.clock.advance(2)
            self.network.confirm()
        self.clock.advance(1.9)
        self.assertNoResult(closed)
        self.clock.advance(0.1)
        self.successResultOf(closed)
        self.assertEqual(self.network.got[:5], ["0", "1", "2", "3", "4"])
        for put in puts[:5]:
            self.successResultOf(put)
        for put in puts[6:]:
            self.failureResultOf(put, OutboxClosed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_ends_when_the_queue_is_empty(self) -> None:
        """`close` fires as soon as the queue is empty, and refuses new messages then."""
        self.outbox.resume()
        self.outbox.put(["a"])
        closed = self.outbox.close(grace=10)
        self.assertNoResult(closed)
        self.network.confirm()
        self.successResultOf(closed)
        self.assertRaises(OutboxClosed, self.outbox.put, ["b"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_ends_after_a_quick_network(self) -> None:
        """Closing ends without the rest of the grace period if the network confirms the queue at once."""
        outbox = Outbox(self.clock, "net", QuickNetwork())
        outbox.put(["a", "b"])
        closed = outbox.close(grace=10)
        outbox.resume()
        self.successResultOf(closed)

    def test_close_ends_after_the_last_message_is_dropped(self) -> None:
        """Closing ends without the rest of the grace period if the last message is dropped while the network is away."""
        self.outbox.put(["poison"])
        closed = self.outbox.close(grace=200)
        for _ in range(5):
            self.outbox.resume()
            self.clock.advance(31)
            self.network.fail(NotConfirmed())
        self.successResultOf(closed)

    def test_put_while_closing(self) -> None:
        """Handlers that are still running may queue messages while the outbox is closing."""
        self.outbox.resume()
        self.outbox.put(["a"])
        closed = self.outbox.close(grace=10)
        late = self.outbox.put(["b"])
        self.network.confirm()
        self.assertNoResult(closed)
        self.network.confirm()
        self.successResultOf(late)
        self.successResultOf(closed)

    def test_close_survives_a_reconnection(self) -> None:
        """After a reconnection during the grace period the rest of the queue is sent."""
        self.outbox.resume()
        self.outbox.put(["a"])
        self.outbox.put(["b"])
        closed = self.outbox.close(grace=10)
        self.network.fail(NotConfirmed())
        self.outbox.pause()
        self.clock.advance(5)
        self.assertNoResult(closed)
        self.outbox.resume()
        self.network.confirm()
        self.network.confirm()
        self.successResultOf(closed)
        self.assertEqual(self.network.got, ["a", "a", "b"])

    def test_close_again_without_grace(self) -> None:
        """A second `close` without a grace period ends the first one."""
        self.outbox.resume()
        self.outbox.put(["a"])
        closed = self.outbox.close(grace=10)
        self.successResultOf(self.outbox.close())
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_messages_are_named(self) -> None:
        """The log has a line for each lost message: recipient, beginning, and the number of parts sent."""
        self.outbox.resume()
        self.outbox.put(["a", "b", "c"], recipient="#ops", text="a b c")
        self.outbox.put(["d"], recipient="#dev", text="d" * 100)
        self.outbox.put(["e"], recipient="alice", text="e")
        lines = self.logged()
        self.network.confirm()
        self.outbox.close()
        self.assertEqual(
            lines,
            [
                "net: 3 messages were not sent:",
                "net: sent 1 of 3 parts, to #ops: a b c",
                f"net: not sent, to #dev: {'d' * 60}…",
                "net: not sent, to alice: e",
            ],
        )

    def test_very_many_lost_messages_are_named(self) -> None:
        """Very many lost messages share log lines, and each is logged."""
        for number in range(3_000):
            self.outbox.put(["a"], recipient="#ops", text=f"alert {number}.")
        lines = self.logged()
        self.outbox.close()
        self.assertEqual(lines[1000], "net: not sent, to #ops: alert 999.")
        self.assertTrue(
            lines[1001].startswith("net: not sent, to #ops: alert 1000. | not sent, to #ops: alert 1001. | ")
        )
        self.assertEqual(len(lines), 1 + 1000 + 40)
        for number in range(3_000):
            self.assertIn(
                f"to #ops: alert {number}.", lines[1 + (number if number < 1000 else 1000 + (number - 1000) // 50)]
            )

    def test_unconfirmed_message_is_named(self) -> None:
        """The log marks a message that was sent but not confirmed, since it may have arrived."""
        self.outbox.resume()
        self.outbox.put(["a"], recipient="#ops", text="alert")
        lines = self.logged()
        self.outbox.close()
        self.assertEqual(lines[1:], ["net: sent but not confirmed, to #ops: alert"])

    def test_lost_message_is_one_line(self) -> None:
        """A lost message of several lines is one line in the log."""
        lines = []
        observe = FileLogObserver(StringIO(), lambda event: lines.append(format_line(event)))
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.outbox.put(["a"], recipient="#ops", text="first\nsecond\x1b[2J")
        self.outbox.close()
        self.assertIn("to #ops: first\\nsecond\\x1b[2J\n", lines[1])

    def test_secret_at_the_end_of_the_beginning(self) -> None:
        """A secret is masked before the text is truncated, so that no part of it is logged."""
        owner = self.network
        masker.learn(owner, "test", ["hunter2-and-more"])
        for part in "ab":
            self.outbox.put([part], recipient="#ops", text=f"{'x' * 50} hunter2-and-more is the password")
        self.outbox.resume()
        lines = self.logged()
        self.network.fail(ValueError("no"))
        self.outbox.pause()
        self.outbox.close()
        shown = f"{'x' * 50} {MASK} is th…"
        self.assertEqual(lines[0], f"net: the message to #ops could not be sent (no): {shown}")
        self.assertEqual(lines[2:], [f"net: sent but not confirmed, to #ops: {shown}"])

    def test_refused_message_is_named(self) -> None:
        """The log names the message that the network rejected, with the reason."""
        self.outbox.resume()
        self.outbox.put(["a"], recipient="#ops", text="alert")
        lines = self.logged()
        self.network.fail(ValueError("no such room"))
        self.assertEqual(lines, ["net: the message to #ops could not be sent (no such room): alert"])

    @given(st.lists(st.sampled_from(["put", "confirm", "break", "wait"]), max_size=40))
    def test_every_message_is_sent_or_named(self, history: list[str]) -> None:
        """After any grace period each message is either confirmed or logged."""
        self.setUp()
        self.outbox = self.make(attempts=1000, isolates=False)
        self.outbox.resume()
        lines = self.logged()
        texts = ["first"]
        self.outbox.put(["first"], text="first")
        closed = self.outbox.close(grace=10)
        confirmed = []
        for event in history:
            if closed.called:
                break
            if event == "put":
                texts.append(f"message {len(texts)}")
                self.outbox.put([texts[-1]], text=texts[-1])
            elif event == "confirm":
                confirmed.append(self.network.got[-1])
                self.network.confirm()
            elif event == "break":
                self.network.fail(NotConfirmed())
                self.outbox.pause()
                self.outbox.resume()
            else:
                self.clock.advance(3)
        self.clock.advance(10)
        self.successResultOf(closed)
        named = [line.rpartition(": ")[2] for line in lines if " to : " in line]
        self.assertEqual(confirmed + named, texts)

    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
    def test_any_history_is_ordered_and_complete(self, history: list[tuple[int, bool]]) -> None:
        """After any sequence of failures the parts arrive in order; only unconfirmed parts are repeated."""
        self.setUp()
        self.outbox = self.make(attempts=1000, isolates=False)
        expected: list[str] = []
        broken = 0
        self.outbox.resume()
        for number, (size, breaks) in enumerate(history):
            parts = [f"{number}.{index}" for index in range(size)]
            expected += parts
            self.outbox.put(parts)
            if self.network.waiting and breaks:
                broken += 1
                self.network.fail(NotConfirmed())
                self.outbox.pause()
                self.outbox.resume()
            elif self.network.waiting:
                self.network.confirm()
        while self.network.waiting:
            self.network.confirm()
        self.assertEqual(list(dict.fromkeys(self.network.got)), expected)
        self.assertEqual(len(self.network.got), len(expected) + broken)


class ThreadTests(SynchronousTestCase):
    """An outbox that is used in other threads."""

    def setUp(self) -> None:
        """Create a full outbox."""
        self.clock = ThreadClock()
        self.network = Network()

    def in_thread(self, outbox: Outbox[str], patience_over: threading.Event | None = None) -> list[Any]:
        """Return the result of queueing a message in another thread."""
        outcome: list[Any] = []

        def put() -> None:
            try:
                outcome.append(outbox.put(["from a thread"]))
            except Exception as error:
                outcome.append(type(error))

        self.thread = threading.Thread(target=put)
        self.thread.start()
        return outcome

    def test_accepted(self) -> None:
        """In a thread `put` returns a handle when the message is queued; the reactor sends it."""
        outbox = Outbox(self.clock, "net", self.network)
        outbox.resume()
        outcome = self.in_thread(outbox)
        self.thread.join(10)
        self.assertEqual([handle.network for handle in outcome], ["net"])
        self.clock.let()
        self.assertEqual(self.network.got, ["from a thread"])

    def test_accepted_before_the_end(self) -> None:
        """A message that a thread has put before the end, and that the reactor gets afterwards, is named in the log."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        outbox = Outbox(self.clock, "net", self.network)
        self.in_thread(outbox)
        self.thread.join(10)
        outbox.close()
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.clock.let()
        self.assertEqual(lines[1:], ["net: not sent, to : "])
        self.assertEqual(len(outbox), 0)

    def test_no_room_in_time(self) -> None:
        """A thread gets OutboxFull after `put_timeout` without room."""
        outbox = Outbox(self.clock, "net", self.network, OutboxLimits(parts=2), put_timeout=0.01)
        outbox.put(["a"])
        outcome = self.in_thread(outbox)
        self.thread.join(10)
        self.assertEqual(outcome, [OutboxFull])

    def test_waits_for_room(self) -> None:
        """A waiting thread continues when there is room."""
        outbox = Outbox(self.clock, "net", self.network, OutboxLimits(parts=2), put_timeout=10)
        outbox.put(["a"])
        outcome = self.in_thread(outbox)
        outbox.resume()
        self.network.confirm()
        self.thread.join(10)
        self.assertEqual([handle.network for handle in outcome], ["net"])
        self.clock.let()
        self.assertEqual(self.network.got, ["a", "from a thread"])

    def test_closed_while_waiting(self) -> None:
        """A waiting thread gets OutboxClosed when the outbox is closed."""
        outbox = Outbox(self.clock, "net", self.network, OutboxLimits(parts=2), put_timeout=60)
        outbox.put(["a"])
        outcome = self.in_thread(outbox)
        outbox.close()
        self.thread.join(5)
        self.assertEqual(outcome, [OutboxClosed])
