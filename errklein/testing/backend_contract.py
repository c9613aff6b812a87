"""What every backend has to do, as trial tests. A backend's own tests mix this in; see `BackendContract`."""

# Trial's assertions have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred

from errklein.chat import AWAY, ONLINE, Message
from errklein.ports import Backend, BackendEvents, HasNameRules, KnowsHolders, OutboxClosed

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object


def _in_thread(function: Callable[..., object], *args: object) -> object:
    """What the function returns in another thread, within ten seconds."""
    result: Future[object] = Future()
    threading.Thread(target=lambda: result.set_result(function(*args)), daemon=True).start()
    return result.result(10)


class RecordedEvents:
    """Records the calls of BackendEvents as `(method, *arguments)`, without the backend."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Any, ...]] = []

    @property
    def messages(self) -> list[Message]:
        """The messages received."""
        return [call[1] for call in self.recorded if call[0] == "message_received"]

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(BackendEvents, name):
            raise AttributeError(f"BackendEvents has no {name}", name=name, obj=self)
        return lambda backend, *arguments: self.recorded.append((name, *arguments))


class BackendContract(_TestCase):
    """Mix this into a SynchronousTestCase and say how the network behind the backend is played.

    A test that needs what a network doesn't have is overridden there, with the reason.
    """

    person_text = "alice"
    """A person whom `build_identifier` understands."""

    room_text = "#ops"
    """A room that `build_identifier` understands, and in which the bot is when it is online."""

    nonsense: Sequence[str] = ("",)
    """What `build_identifier` has to refuse."""

    def make_backend(self) -> Backend:
        """A backend that isn't connected yet."""
        raise NotImplementedError

    def bring_online(self, backend: Backend) -> None:
        """The network is there now, and lets the bot in and into the room. `connect` has been called."""
        raise NotImplementedError

    def hear(self, backend: Backend, to: str, text: str) -> None:
        """`person_text` says something on the network, to the room or, if `to` is empty, to the bot."""
        raise NotImplementedError

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        """All (to whom, what) that has arrived on the network, after as much time as it takes."""
        raise NotImplementedError

    def take_leave(self, backend: Backend) -> None:
        """Let happen on the network what follows `disconnect`."""

    def online(self) -> tuple[Backend, RecordedEvents]:
        """A backend that is online, and what it tells."""
        backend, events = self.make_backend(), RecordedEvents()
        backend.connect(cast(BackendEvents, events))
        self.bring_online(backend)
        return backend, events

    def test_contract_says_what_it_is(self) -> None:
        """It has a name, a kind in lower case, and a size for messages."""
        backend = self.make_backend()
        self.assertTrue(backend.network)
        self.assertTrue(backend.mode)
        self.assertEqual(backend.mode, backend.mode.lower())
        self.assertGreater(backend.message_size_limit, 0)

    def test_contract_tells_when_it_can_be_used(self) -> None:
        """`backend_connected` comes once, and then the bot has an identifier of this network."""
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

    def test_contract_nonsense_is_refused(self) -> None:
        """What names nobody raises ValueError."""
        backend, _ = self.online()
        for text in self.nonsense:
            self.assertRaises(ValueError, backend.build_identifier, text)

    def test_contract_direct_message_and_reply(self) -> None:
        """What is said to the bot alone is direct, and the answer goes to who said it."""
        backend, events = self.online()
        self.hear(backend, "", "hello bot")
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
        """What is said in a room is answered there, or to its sender if in private."""
        backend, events = self.online()
        self.hear(backend, self.room_text, "hello all")
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
        """A prefixed answer begins with the name of whom it is for."""
        backend, events = self.online()
        self.hear(backend, self.room_text, "hello all")
        message = events.messages[0]
        assert message.frm is not None
        reply = backend.build_reply(message, "hello")
        backend.prefix_groupchat_reply(reply, message.frm)
        self.assertIn(str(getattr(message.frm, "nick", "")), reply.body)
        self.assertTrue(reply.body.endswith("hello"))

    def test_contract_keeps_order_and_confirms(self) -> None:
        """Messages arrive in the order in which they were accepted, those from before the connection first."""
        backend, events = self.make_backend(), RecordedEvents()
        room = backend.build_identifier(self.room_text)
        early = backend.send_message(Message("one", to=room))
        backend.connect(cast(BackendEvents, events))
        self.bring_online(backend)
        late = backend.send_message(Message("two", to=room))
        self.assertEqual([text for _, text in self.sent(backend)], ["one", "two"])
        for accepted in (early, late):
            assert isinstance(accepted, Deferred)
            self.assertIs(self.successResultOf(accepted), None)

    def test_contract_accepts_from_a_thread(self) -> None:
        """In another thread the message is accepted without waiting for the network."""
        backend, _ = self.online()
        message = Message("from a thread", to=backend.build_identifier(self.room_text))
        self.assertIs(_in_thread(backend.send_message, message), None)
        self.assertEqual([text for _, text in self.sent(backend)], ["from a thread"])

    def test_contract_addressee_of_nobody(self) -> None:
        """A message without an addressee raises ValueError at once."""
        backend, _ = self.online()
        self.assertRaises(ValueError, backend.send_message, Message("to whom?"))

    def test_contract_rooms(self) -> None:
        """The room is among the rooms, and says so."""
        backend, _ = self.online()
        room = backend.query_room(self.room_text)
        self.assertIn(room, backend.rooms())
        self.assertTrue(room.joined)

    def test_contract_changes_presence(self) -> None:
        """`change_presence` is accepted before and after the connection is made, from any thread; nobody gets a message."""
        backend = self.make_backend()
        backend.change_presence(AWAY, "not yet there")
        backend.connect(cast(BackendEvents, RecordedEvents()))
        self.bring_online(backend)
        _in_thread(backend.change_presence, ONLINE, "")
        self.assertEqual(self.sent(backend), [])

    def test_contract_name_rules(self) -> None:
        """Names of persons are folded idempotently, and match themselves as patterns. For networks with rules of their own."""
        backend, _ = self.online()
        if isinstance(backend, HasNameRules):
            folded = backend.name_rules.fold(self.person_text)
            self.assertEqual(backend.name_rules.fold(folded), folded)
            self.assertTrue(backend.name_rules.matches(self.person_text, folded))

    def test_contract_holders(self) -> None:
        """Nobody holds the name of somebody who was never seen; the sender of a message does. For networks that know holders."""
        backend, events = self.online()
        if isinstance(backend, KnowsHolders):
            self.assertIsNone(backend.current_holder(backend.build_identifier(self.person_text)))
            self.hear(backend, "", "hello bot")
            sender = events.messages[0].frm
            assert sender is not None
            self.assertEqual(backend.current_holder(sender), sender)

    def test_contract_leaves(self) -> None:
        """`disconnect` fires when all is over; then nothing is accepted any more."""
        backend, _ = self.online()
        room = backend.build_identifier(self.room_text)
        gone = backend.disconnect()
        self.take_leave(backend)
        self.successResultOf(gone)
        self.assertRaises(OutboxClosed, backend.send_message, Message("too late", to=room))

    def test_contract_sends_before_it_leaves(self) -> None:
        """`disconnect` with a grace period sends the queue first."""
        backend, _ = self.online()
        backend.send_message(Message("last words", to=backend.build_identifier(self.room_text)))
        gone = backend.disconnect(5)
        self.assertEqual([text for _, text in self.sent(backend)], ["last words"])
        self.take_leave(backend)
        self.successResultOf(gone)

    def test_contract_leaves_before_it_came(self) -> None:
        """`disconnect` works too when the network never let the bot in."""
        backend = self.make_backend()
        backend.connect(cast(BackendEvents, RecordedEvents()))
        gone = backend.disconnect()
        self.take_leave(backend)
        self.successResultOf(gone)
