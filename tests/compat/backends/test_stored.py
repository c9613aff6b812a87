"""Messages of third-party backends that outlive the process."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Card, Identifier, Message
from errklein.chat.outgoing import OutgoingMessage
from errklein.compat.backends._messages import details_of, is_card, restored
from errklein.compat.backends.network import make_network
from errklein.config import load_config
from errklein.ports.chat import BackendEvents
from errklein.running.threads import register_reactor_thread
from errklein.testing.backend_contract import RecordedEvents
from tests.compat import BACKENDS as FIXTURES
from tests.compat.backends.legacy_network import QueueReactor
from tests.journal.inline import memory_journal, restarted
from tests.networks.irc.listening import logged

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)

LINES = ["many words in a row"] * 3
LONG = "\n\n".join(LINES)


class Somebody(Identifier):
    """An identifier made of its text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class ValueTests(SynchronousTestCase):
    """`details_of` and `restored`."""

    def again(self, message: Message, as_card: bool = False) -> Message:
        """Return the message after a restart."""
        details = details_of(message, as_card)
        stored = OutgoingMessage(1, "slack", str(message.to), message.body, details=details, priority=message.priority)
        return restored(stored, Somebody, Somebody("bot"))

    def test_simple_messages_have_no_details(self) -> None:
        """A message with a text only needs no details."""
        message = Message("hi", Somebody("bot"), Somebody("#ops"))
        self.assertEqual(details_of(message), "")
        message.priority = True
        again = self.again(message)
        self.assertEqual((again.body, str(again.frm), str(again.to)), ("hi", "bot", "#ops"))
        self.assertTrue(again.priority)

    @given(st.dictionaries(st.text(), JSON, max_size=4))
    def test_extras(self, extras: Mapping[str, Any]) -> None:
        """Extras that JSON can express are the same after the restart; others are left out."""
        message = Message("hi", to=Somebody("#ops"), extras={**extras, "an object": object(), "bytes": b"x"})
        self.assertEqual(self.again(message).extras, extras)

    def test_attributes_of_the_backend(self) -> None:
        """So are attributes that a backend has assigned."""
        message: Any = Message("hi", to=Somebody("#ops"))
        message.thread_ts, message.client = "1.5", object()
        again: Any = self.again(message)
        self.assertEqual(again.thread_ts, "1.5")
        self.assertFalse(hasattr(again, "client"))

    def test_thread(self) -> None:
        """The parent has its text, sender, recipient and extras."""
        parent = Message("question", Somebody("bob"), Somebody("#ops"), extras={"ts": "7.1"})
        again = self.again(Message("answer", to=Somebody("#ops"), parent=parent)).parent
        assert again is not None
        self.assertEqual((again.body, str(again.frm), str(again.to)), ("question", "bob", "#ops"))
        self.assertEqual(again.extras, {"ts": "7.1"})

    def test_parent_of_nobody(self) -> None:
        """A sender of the parent that isn't known any more is left out."""

        def identify(text: str) -> Identifier:
            if text == "bob":
                raise ValueError(text)
            return Somebody(text)

        parent = Message("question", Somebody("bob"), Somebody("#ops"))
        details = details_of(Message("answer", to=Somebody("#ops"), parent=parent))
        again = restored(OutgoingMessage(1, "slack", "#ops", "answer", details=details), identify, None).parent
        assert again is not None
        self.assertEqual((again.frm, str(again.to)), (None, "#ops"))

    def test_card(self) -> None:
        """A card has all its attributes."""
        fields = (("a", "1"), ("b", "2"))
        card = Card("body", None, Somebody("#ops"), None, "summary", "title", "link", "image", "thumb", "red", fields)
        again: Any = self.again(card, as_card=True)
        self.assertIsInstance(again, Card)
        for name in ("body", "summary", "title", "link", "image", "thumbnail", "color"):
            self.assertEqual(getattr(again, name), getattr(card, name))
        self.assertEqual([tuple(field) for field in again.fields], list(fields))
        self.assertTrue(is_card(OutgoingMessage(1, "slack", "#ops", "body", details=details_of(card, is_card=True))))
        self.assertFalse(is_card(OutgoingMessage(1, "slack", "#ops", "body", details=details_of(card))))

    def test_details_are_small_json(self) -> None:
        """The details are JSON without what is stored elsewhere."""
        message = Message("body", Somebody("bot"), Somebody("#ops"), extras={"a": 1})
        self.assertEqual(json.loads(details_of(message)), {"attributes": {"extras": {"a": 1}}})


class RestartTests(SynchronousTestCase):
    """A backend in one process after the other, with the same store."""

    def setUp(self) -> None:
        self.reactor = QueueReactor()
        register_reactor_thread(self.reactor)
        self.journal = memory_journal(lambda: 0.0)
        self.store = self.journal.outbox

    def restart(self) -> None:
        """Let the next process use the store."""
        self.journal = restarted(self.journal)
        self.store = self.journal.outbox

    def process(self, *, connect: bool = True, **attributes: Any) -> Any:
        """Return the network of the next process. Attributes of its backend are replaced."""
        self.restart()
        settings = {"BACKEND": "Once", "BOT_EXTRA_BACKEND_DIR": str(FIXTURES), "BOT_ADMINS": ("alice",)}
        network: Any = make_network(self.reactor, next(iter(load_config(None, settings).networks.values())))
        network.outbox.use_store(self.store)
        network.outbox.take(self.successResultOf(self.store.lease()))
        self.addCleanup(self.stop, network)
        vars(network.legacy).update(attributes)
        network.events = RecordedEvents()
        if connect:
            network.connect(cast(BackendEvents, network.events))
        return network

    def stop(self, network: Any, grace: float = 0.0) -> None:
        """Stop the process."""
        if not network.leaving:
            stopped: list[Any] = []
            network.disconnect(grace).addBoth(stopped.append)
            # The backend may not have begun to wait for its next attempt to connect.
            self.reactor.advance(grace)
            self.reactor.turn_until(lambda: stopped, "the network to be left")

    def send(self, network: Any, *texts: str, to: str = "#ops") -> None:
        """Send messages."""
        for text in texts:
            network.send_message(Message(text, to=network.build_identifier(to)))

    def sent(self, network: Any, count: int) -> list[tuple[str, str]]:
        """Return what the backend has sent, which are this many parts."""
        self.reactor.turn_until(lambda: len(network.legacy.sent) >= count, "the messages to be sent")
        self.reactor.turn_until(lambda: not network.outbox.status.messages, "the messages to be confirmed")
        return list(network.legacy.sent)

    def test_what_a_message_waits_for(self) -> None:
        """A message says that the network isn't connected, with the reason that the backend has given."""
        network = self.process(connect=False)
        self.send(network, "message")
        [record] = self.successResultOf(self.store.find(recipient="#ops"))
        self.assertEqual(network.wait_of(record)[0], f"{network.network} is not connected")
        network.disconnected("Ping timeout")
        self.reactor.turn_until(lambda: network.wait_of(record).cause == "Ping timeout", "the reason")

    def test_stop_and_restart(self) -> None:
        """What a stopping bot couldn't send is sent once after the restart, in order."""
        first = self.process()
        self.send(first, "message 0", "message 1")
        self.assertEqual(len(self.sent(first, 2)), 2)
        first.legacy.wire.put(OSError("gone"))
        self.reactor.turn_until(
            lambda: ("backend_disconnected", "connection lost") in first.events.recorded, "the loss"
        )
        self.send(first, "message 2", "message 3")
        self.stop(first, grace=0.5)
        second = self.process()
        self.assertEqual(self.sent(second, 2), [("#ops", "message 2"), ("#ops", "message 3")])
        self.assertEqual(len(first.legacy.sent), 2)
        self.restart()
        self.assertEqual(self.successResultOf(self.store.lease()), [])
        self.flushLoggedErrors(OSError)

    def test_stop_while_a_message_is_sent(self) -> None:
        """A message that is being sent when the grace period ends is sent to its end, and not again after the restart."""
        may_send = threading.Event()
        first = self.process(may_send=may_send)
        self.send(first, "message 0", "message 1")
        self.reactor.turn_until(lambda: first.legacy.connections, "the connection")
        self.reactor.turn_until(lambda: ("backend_connected",) in first.events.recorded, "the connection")
        stopped: list[Any] = []
        first.disconnect(1.0).addBoth(stopped.append)
        self.reactor.advance(1.0)
        may_send.set()
        self.reactor.turn_until(lambda: stopped, "the network to be left")
        self.assertEqual(first.legacy.sent, [("#ops", "message 0")])
        self.assertEqual(self.sent(self.process(), 1), [("#ops", "message 1")])

    def test_killed_before_it_was_connected(self) -> None:
        """Messages of a killed bot are sent by the next one, before its own, in parts that the network accepts."""
        first = self.process(connect=False)
        self.send(first, "one", LONG)
        second = self.process()
        self.send(second, "three")
        texts = [text for _, text in self.sent(second, 4)]
        self.assertEqual(texts, ["one", "\n\n".join(LINES[:2]), LINES[2], "three"])

    def failing(self, *errors: Exception) -> Any:
        """Return a process whose backend raises these errors before it sends messages."""
        network = self.process()
        send, left = network.legacy.send_message, list(errors)

        def send_message(message: Message) -> None:
            if left:
                raise left.pop(0)
            send(message)

        network.legacy.send_message = send_message
        return network

    def test_errors_of_the_connection(self) -> None:
        """A message is sent again, later each time, if the backend doesn't reach its network; the order is kept."""
        network = self.failing(ConnectionError("refused"), TimeoutError("late"))
        log = logged(self, "next try")
        self.send(network, "message 0", "message 1")
        for seconds in (5.0, 10.0):
            self.reactor.turn_until(partial(self.retries, seconds), "the next try to be planned")
            self.assertEqual(network.legacy.sent, [])
            self.reactor.advance(seconds)
        self.assertEqual(self.sent(network, 2), [("#ops", "message 0"), ("#ops", "message 1")])
        self.assertIn("next try in 5 s", log[0])

    def retries(self, seconds: float) -> bool:
        """Return whether a delayed call is due in that many seconds."""
        now = self.reactor.seconds()
        return any(abs(call.getTime() - now - seconds) < 0.001 for call in self.reactor.getDelayedCalls())

    def test_rejections(self) -> None:
        """A message that the network rejects isn't sent again, also if the error is that of an HTTP response."""
        refused = OSError("400 Client Error")
        refused.response = object()  # type: ignore[attr-defined]
        network = self.failing(refused, ValueError("no such channel"))
        self.send(network, "message 0", "message 1", "message 2")
        self.assertEqual(self.sent(network, 1), [("#ops", "message 2")])

    def test_stop_while_the_network_is_not_reached(self) -> None:
        """A message that waits for its next try is sent by the next process."""
        network = self.failing(ConnectionError("refused"))
        self.send(network, "message 0")
        self.reactor.turn_until(lambda: self.retries(5.0), "the next try to be planned")
        self.stop(network)
        self.assertFalse(self.retries(5.0))
        self.assertEqual(self.sent(self.process(), 1), [("#ops", "message 0")])

    def test_sent_parts_are_not_sent_again(self) -> None:
        """If a part of a message was sent, the next process sends the others."""
        first = self.process(connect=False)
        self.send(first, LONG)
        self.restart()
        [message] = self.successResultOf(self.store.lease())
        self.store.advance(message.id, 0.5)
        self.assertEqual(self.sent(self.process(), 1), [("#ops", LINES[2])])

    def test_card_and_thread(self) -> None:
        """A card is a card after the restart, and an answer is in its thread."""
        first = self.process(connect=False)
        ops = first.build_identifier("#ops")
        self.patch(type(first.legacy), "send_card", lambda legacy, card: None)
        first.send_card(Card("body", to=ops, title="title", fields=(("a", "1"),)))
        question = Message("question", frm=first.build_identifier("bob"), to=ops, extras={"ts": "7.1"})
        first.send_message(Message("answer", to=ops, parent=question))
        got: list[Any] = []
        second = self.process(send_card=got.append, send_message=got.append)
        self.patch(type(second.legacy), "send_card", lambda legacy, card: None)
        self.reactor.turn_until(lambda: len(got) == 2, "the messages to be sent")
        card, answer = sorted(got, key=lambda message: message.body, reverse=True)
        self.assertEqual((card.title, card.body, str(card.to), str(card.frm)), ("title", "body", "#ops", "bot"))
        self.assertEqual((answer.body, str(answer.parent.frm), answer.parent.extras), ("answer", "bob", {"ts": "7.1"}))
        self.assertEqual(card.to.network, second.network)

    def test_recipient_that_does_not_exist_any_more(self) -> None:
        """A message to somebody whom the network doesn't know any more is dropped and reported; others are sent."""
        first = self.process(connect=False)
        self.send(first, "to nobody", to="bob")
        self.send(first, "to the room")
        lines = logged(self, "could not be sent")
        second = self.process(connect=False)
        build, built_in = second.legacy.build_identifier, set()

        def identify(text: str) -> Any:
            built_in.add(threading.current_thread().name)
            if text == "bob":
                raise ValueError("nobody is called bob")
            return build(text)

        second.legacy.build_identifier = identify
        second.connect(cast(BackendEvents, second.events))
        self.assertEqual(self.sent(second, 1), [("#ops", "to the room")])
        self.assertEqual(lines, ["once: the message to bob could not be sent (nobody is called bob): to nobody"])
        dropped = ("messages_dropped", 1, "its recipient isn't known any more")
        self.reactor.turn_until(lambda: dropped in second.events.recorded, "the report")
        self.assertNotIn(threading.current_thread().name, built_in)
        self.restart()
        self.assertEqual(self.successResultOf(self.store.lease()), [])

    def test_same_process_same_objects(self) -> None:
        """In the process that accepts a message, the backend gets the identifiers and extras of the sender, as they were then."""
        got: list[Any] = []
        network = self.process(send_message=got.append)
        ops, secret = network.build_identifier("#ops"), object()
        message = Message("hi", to=ops, extras={"object": secret})
        network.send_message(message)
        message.to, message.body = network.build_identifier("bob"), "changed"
        self.reactor.turn_until(lambda: got, "the message to be sent")
        self.assertIs(got[0].to, ops)
        self.assertEqual((got[0].body, got[0].extras), ("hi", {"object": secret}))
