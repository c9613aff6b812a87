"""`BackendContract`: the tests that every backend must pass, as a mixin for trial test cases."""

# Trial's assertions have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred

from errklein.chat import AWAY, ONLINE, Message
from errklein.chat.handles import Handle
from errklein.ports.chat import Backend, BackendEvents, BotOverview, KnowsHolders
from errklein.ports.outbox import OutboxClosed

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object


def _in_thread(function: Callable[..., object], *args: object) -> object:
    """Return the result of the function, called in another thread; fail after ten seconds."""
    result: Future[object] = Future()
    threading.Thread(target=lambda: result.set_result(function(*args)), daemon=True).start()
    return result.result(10)


class RecordedEvents:
    """Implements `BackendEvents`, and records each call as `(method, *arguments)` without the backend."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Any, ...]] = []

    @property
    def messages(self) -> list[Message]:
        """The messages of the `message_received` calls, in order."""
        return [call[1] for call in self.recorded if call[0] == "message_received"]

    def overview(self, backend: Backend) -> BotOverview:
        """Return the facts about a bot without commands."""
        return _NoCommands()

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(BackendEvents, name):
            raise AttributeError(f"BackendEvents has no {name}", name=name, obj=self)
        return lambda backend, *arguments: self.recorded.append((name, *arguments))


@dataclass(frozen=True)
class _NoCommands:
    """Implements `BotOverview` for a bot without commands and webhooks."""

    prefix: str = "!"
    addresses: Sequence[str] = ()
    log_file: str = ""
    plugins_read_messages: bool = False

    def commands(self, message: Message) -> Sequence[str]:
        return ()

    def remaining(self) -> Sequence[str]:
        return ()


class BackendContract(_TestCase):
    """Tests of the guarantees of `errklein.ports.chat.Backend`, to be mixed into a `SynchronousTestCase`.

    The test case implements `make_backend`, `bring_online`, `receive` and `sent`, which play the network and the other people on
    it. It overrides a test that its network can't pass, with the reason in the docstring. ::

        class MemoryNetworkTests(BackendContract, SynchronousTestCase):
            def make_backend(self):
                return TestBackend(Clock(), config)

            def bring_online(self, backend):
                pass  # a network in memory needs no connection

            def receive(self, backend, to, text):
                backend.receive(text, frm=self.person_text, to=to or None)

            def sent(self, backend):
                return [(str(sent.message.to), sent.text) for sent in backend.sent]
    """

    person_text = "alice"
    """A person, in the form that `build_identifier` accepts."""

    room_text = "#ops"
    """A room, in the form that `build_identifier` accepts. The bot is in it when it is online."""

    invalid_identifiers: Sequence[str] = ("",)
    """Texts that `build_identifier` must reject."""

    def make_backend(self) -> Backend:
        """Return a new backend that isn't connected."""
        raise NotImplementedError

    def bring_online(self, backend: Backend) -> None:
        """Let the network accept the bot, and let it into the room. `connect` has been called."""
        raise NotImplementedError

    def receive(self, backend: Backend, to: str, text: str) -> None:
        """Let `person_text` send a message on the network.

        :param to: The room; "" for a message to the bot.
        :param text: The text.
        """
        raise NotImplementedError

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        """Return the messages that have arrived on the network, as `(recipient, text)`. Virtual time may pass for this."""
        raise NotImplementedError

    def close_connection(self, backend: Backend) -> None:
        """Let the network close the connection after `disconnect`. Does nothing by default."""

    def online(self) -> tuple[Backend, RecordedEvents]:
        """Return a backend that is online, and the events that it has reported."""
        backend, events = self.make_backend(), RecordedEvents()
        backend.connect(cast(BackendEvents, events))
        self.bring_online(backend)
        return backend, events

    def test_contract_attributes(self) -> None:
        """A backend has a network name, a kind in lower case, and a maximal message size."""
        backend = self.make_backend()
        self.assertTrue(backend.network)
        self.assertTrue(backend.mode)
        self.assertEqual(backend.mode, backend.mode.lower())
        self.assertGreater(backend.message_size_limit, 0)

    def test_contract_reports_connection(self) -> None:
        """`backend_connected` is reported once, and then the bot has an identifier of this network."""
        backend, events = self.online()
        self.assertEqual(events.recorded.count(("backend_connected",)), 1)
        assert backend.bot_identifier is not None
        self.assertEqual(backend.bot_identifier.network, backend.network)

    def test_contract_identifiers_round_trip(self) -> None:
        """An identifier's text builds an equal one, with an equal hash, of this network."""
        backend, _ = self.online()
        texts = [self.person_text, self.room_text, str(backend.bot_identifier)]
        for text in texts:
            identifier = backend.build_identifier(text)
            again = backend.build_identifier(str(identifier))
            self.assertEqual(identifier, again)
            self.assertEqual(hash(identifier), hash(again))
            self.assertEqual(identifier.network, backend.network)
        self.assertNotEqual(backend.build_identifier(texts[0]), backend.build_identifier(texts[1]))

    def test_contract_rejects_invalid_identifiers(self) -> None:
        """`build_identifier` raises ValueError for an invalid text."""
        backend, _ = self.online()
        for text in self.invalid_identifiers:
            self.assertRaises(ValueError, backend.build_identifier, text)

    def test_contract_direct_message_and_reply(self) -> None:
        """A message to the bot is direct, and the reply goes to its sender."""
        backend, events = self.online()
        self.receive(backend, "", "hello bot")
        [message] = events.messages
        self.assertEqual(message.body, "hello bot")
        self.assertTrue(message.is_direct)
        self.assertFalse(message.is_group)
        self.assertFalse(backend.is_from_self(message))
        self.assertTrue(getattr(message.frm, "aclattr", ""))
        reply = backend.build_reply(message, "hello you")
        self.assertEqual(reply.network, backend.network)
        self.assertTrue(backend.is_from_self(reply))
        backend.send_message(reply)
        self.assertEqual([text for _, text in self.sent(backend)], ["hello you"])

    def test_contract_room_message_and_replies(self) -> None:
        """The reply to a message in a room goes to the room, or to the sender if it is private."""
        backend, events = self.online()
        self.receive(backend, self.room_text, "hello all")
        [message] = events.messages
        room = backend.build_identifier(self.room_text)
        self.assertTrue(message.is_group)
        self.assertEqual(message.to, room)
        self.assertEqual(getattr(message.frm, "room", None), room)
        public = backend.build_reply(message, "hello")
        self.assertEqual(public.to, room)
        private = backend.build_reply(message, "psst", private=True)
        self.assertTrue(private.is_direct)
        self.assertEqual(private.to, backend.build_identifier(str(private.to)))

    def test_contract_nick_prefix(self) -> None:
        """A prefixed reply contains the recipient's nick before the text."""
        backend, events = self.online()
        self.receive(backend, self.room_text, "hello all")
        message = events.messages[0]
        assert message.frm is not None
        reply = backend.build_reply(message, "hello")
        backend.prefix_groupchat_reply(reply, message.frm)
        self.assertIn(str(getattr(message.frm, "nick", "")), reply.body)
        self.assertTrue(reply.body.endswith("hello"))

    def test_contract_keeps_order_and_confirms(self) -> None:
        """Messages arrive in the order in which they were accepted, including those from before the connection."""
        backend, events = self.make_backend(), RecordedEvents()
        room = backend.build_identifier(self.room_text)
        early = backend.send_message(Message("one", to=room))
        backend.connect(cast(BackendEvents, events))
        self.bring_online(backend)
        late = backend.send_message(Message("two", to=room))
        self.assertEqual([text for _, text in self.sent(backend)], ["one", "two"])
        for accepted in (early, late):
            assert isinstance(accepted, Deferred)
            self.assertEqual(self.successResultOf(accepted).network, backend.network)

    def test_contract_accepts_from_a_thread(self) -> None:
        """A message from another thread is accepted without waiting for the network."""
        backend, _ = self.online()
        message = Message("from a thread", to=backend.build_identifier(self.room_text))
        sent = _in_thread(backend.send_message, message)
        assert isinstance(sent, Handle)
        self.assertEqual(sent.network, backend.network)
        self.assertEqual([text for _, text in self.sent(backend)], ["from a thread"])

    def test_contract_message_without_recipient(self) -> None:
        """A message without a recipient raises ValueError at once."""
        backend, _ = self.online()
        self.assertRaises(ValueError, backend.send_message, Message("to nobody"))

    def test_contract_rooms(self) -> None:
        """The room is in `rooms()`, and its `joined` is true."""
        backend, _ = self.online()
        room = backend.query_room(self.room_text)
        self.assertIn(room, backend.rooms())
        self.assertTrue(room.joined)

    def test_contract_changes_presence(self) -> None:
        """`change_presence` is accepted before and after the connection, from any thread, and sends no message."""
        backend = self.make_backend()
        backend.change_presence(AWAY, "not yet there")
        backend.connect(cast(BackendEvents, RecordedEvents()))
        self.bring_online(backend)
        _in_thread(backend.change_presence, ONLINE, "")
        self.assertEqual(self.sent(backend), [])

    def test_contract_name_rules(self) -> None:
        """Folding a folded name changes nothing, and a name matches itself as a pattern."""
        backend, _ = self.online()
        folded = backend.name_rules.fold(self.person_text)
        self.assertEqual(backend.name_rules.fold(folded), folded)
        self.assertTrue(backend.name_rules.matches(self.person_text, folded))

    def test_contract_holders(self) -> None:
        """A name has no holder until its owner sends a message (on networks where names change hands)."""
        backend, events = self.online()
        if isinstance(backend, KnowsHolders):
            self.assertIsNone(backend.current_holder(backend.build_identifier(self.person_text)))
            self.receive(backend, "", "hello bot")
            sender = events.messages[0].frm
            assert sender is not None
            self.assertEqual(backend.current_holder(sender), sender)

    def test_contract_disconnects(self) -> None:
        """`disconnect` fires when the connection is closed; after it, messages are rejected."""
        backend, _ = self.online()
        room = backend.build_identifier(self.room_text)
        closed = backend.disconnect()
        self.close_connection(backend)
        self.successResultOf(closed)
        self.assertRaises(OutboxClosed, backend.send_message, Message("too late", to=room))

    def test_contract_sends_before_disconnecting(self) -> None:
        """`disconnect` with a grace period sends the queued messages first."""
        backend, _ = self.online()
        backend.send_message(Message("the last one", to=backend.build_identifier(self.room_text)))
        closed = backend.disconnect(5)
        self.assertEqual([text for _, text in self.sent(backend)], ["the last one"])
        self.close_connection(backend)
        self.successResultOf(closed)

    def test_contract_disconnects_before_connection(self) -> None:
        """`disconnect` works when the network has never accepted the bot."""
        backend = self.make_backend()
        backend.connect(cast(BackendEvents, RecordedEvents()))
        closed = backend.disconnect()
        self.close_connection(backend)
        self.successResultOf(closed)
