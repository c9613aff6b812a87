"""`BackendContract`: the tests that every backend must pass, as a mixin for trial test cases."""

# Trial's assertions have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from errklein.chat import AWAY, ONLINE, Identifier, Message, RoomDoesNotExistError
from errklein.chat.handles import Handle
from errklein.chat.operations import Kind, Press, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.config import load_config
from errklein.http_client import HTTPClients
from errklein.journal import INLINE, SQLiteJournal
from errklein.networks.context import NetworkContext
from errklein.ports.chat import Backend, BackendEvents, BotOverview, KnowsHolders
from errklein.ports.outbox import OutboxClosed, SentLater
from errklein.running import register_reactor_thread
from errklein.testing._surroundings import StubHTTP, TestReactor

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object


def _in_thread(function: Callable[..., object], *args: object) -> object:
    """Return the result of the function, called in another thread, or raise its exception; fail after ten seconds."""
    result: Future[object] = Future()

    def run() -> None:
        try:
            result.set_result(function(*args))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result(10)


class ContractReactor(TestReactor):
    """A reactor with virtual time, of which threads may only use `callFromThread`: its calls run when time passes."""

    def __init__(self) -> None:
        super().__init__()
        self._thread, self._calls = threading.get_ident(), deque[Callable[[], object]]()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """Call the function after `delay` seconds."""
        assert threading.get_ident() == self._thread, f"reactor.callLater is called in a thread, for {callable!r}"
        call: IDelayedCall = super().callLater(delay, callable, *args, **kwargs)
        return call

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Call the function in the thread of the test."""
        self._calls.append(partial(callable, *args, **kwargs))
        if threading.get_ident() == self._thread:
            self.advance(0)

    def advance(self, amount: float) -> None:
        """Let `amount` seconds pass, after the calls that threads have asked for."""
        while self._calls:
            self.loop.enter(self._calls.popleft())
        super().advance(amount)


class RecordedEvents:
    """Implements `BackendEvents`, and records each call as `(method, *arguments)` without the backend."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Any, ...]] = []
        self._thread = threading.get_ident()

    @property
    def messages(self) -> list[Message]:
        """The messages of the `message_received` calls, in order."""
        return [call[1] for call in self.recorded if call[0] == "message_received"]

    refusal = ""  # what `choice_made` returns

    def choice_made(self, backend: Backend, press: Press) -> str:
        """Record the call, and return `refusal`."""
        self.recorded.append(("choice_made", press))
        return self.refusal

    def overview(self, backend: Backend) -> BotOverview:
        """Return the facts about a bot without commands."""
        return BotOverview("!", (), "", False, (), lambda message: ())

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(BackendEvents, name):
            raise AttributeError(f"BackendEvents has no {name}", name=name, obj=self)

        def record(backend: Backend, *arguments: Any, **options: Any) -> None:
            assert threading.get_ident() == self._thread, f"{name} is reported in a thread"
            self.recorded.append((name, *arguments))

        return record


class BackendContract(_TestCase):
    """Tests of the guarantees of `errklein.ports.chat.Backend`, to be mixed into a `SynchronousTestCase`.

    The test case implements `make_backend`, `bring_online`, `receive` and `sent`, which play the network and the other people on
    it; and `receive_edit`, `refuse`, `buttons` and `press` if there is that on its network. `context` has virtual time,
    `self.clock`, and HTTP without sockets, `self.http`. It overrides a test that its network can't pass, with the reason in the
    docstring. :doc:`/guides/write-a-network` has an example."""

    person_text = "alice"
    """A person, in the form that `build_identifier` accepts."""

    room_text = "#ops"
    """A room, in the form that `build_identifier` accepts. The bot is in it when it is online."""

    invalid_identifiers: Sequence[str] = ("",)
    """Texts that `build_identifier` must reject."""

    unknown_room = ""
    """A room that the network doesn't have, as `resolve` finds out; "" if it can't."""

    @cached_property
    def clock(self) -> ContractReactor:
        """The reactor of `context`. Time passes in its `advance`."""
        return ContractReactor()

    @cached_property
    def http(self) -> StubHTTP:
        """The servers of `context`; see `StubHTTP.serve`."""
        return StubHTTP()

    @cached_property
    def _directory(self) -> str:
        directory: str = self.mktemp()
        Path(directory).mkdir()
        return directory

    @cached_property
    def _journals(self) -> list[SQLiteJournal]:
        return []

    def context(self, identity: Mapping[str, Any] | None = None, **settings: Any) -> NetworkContext:
        """Return what the network's `make` gets. Its state outlives the backend, as over a restart."""
        register_reactor_thread(self.clock)
        directory = {"BOT_DATA_DIR": self._directory, "BOT_IDENTITY": identity or {}, "BACKEND": "Null"}
        [config] = load_config(None, {**directory, **settings}).networks.values()
        clients = HTTPClients(self.clock, self.http.agent)
        context = NetworkContext(self.clock, config, self.clock.seconds, lambda: 0.0, clients=clients)
        # That of the first one, which is in memory.
        context.state = vars(self).setdefault("_state", context.state)
        return context

    def make_backend(self) -> Backend:
        """Return a new backend that isn't connected."""
        raise NotImplementedError

    def bring_online(self, backend: Backend) -> None:
        """Let the network accept the bot, and let it into the room. `connect` has been called."""
        raise NotImplementedError

    def receive(self, backend: Backend, to: str, text: str) -> None:
        """Let `person_text` send a message to the room on the network; with "" to the bot."""
        raise NotImplementedError

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        """Return the messages that have arrived on the network, as `(recipient, text)`. Virtual time may pass for this."""
        raise NotImplementedError

    def shown(self, backend: Backend) -> Sequence[str]:
        """Return the texts of the bot's messages as people see them now, after edits and deletions; by default those of `sent`."""
        return [text for _, text in self.sent(backend)]

    def let_resolve(self, resolving: Deferred[Identifier]) -> None:
        """Let the network answer a lookup; by default a second passes on `clock`."""
        self.clock.advance(1)

    def receive_edit(self, backend: Backend, text: str) -> bool:
        """Let `person_text` edit the message that was sent last. Return False, as by default, if nobody can."""
        return False

    def buttons(self, backend: Backend) -> Sequence[str]:
        """Return the labels of the buttons that the bot's messages in the room have now; none by default."""
        return ()

    def press(self, backend: Backend, label: str) -> str:
        """Let `person_text` press a button in the room. Return the text that only this person is shown then; "" for none."""
        raise NotImplementedError

    def refuse(self, backend: Backend, seconds: float) -> bool:
        """Let the network ask to wait with messages for so many seconds. Return False, as by default, if it never does."""
        return False

    def close_connection(self, backend: Backend) -> None:
        """Let the network close the connection after `disconnect`. Does nothing by default."""

    def online(self, backend: Backend | None = None) -> tuple[Backend, RecordedEvents]:
        """Return a new backend, or this one, that is online, and the events that it has reported."""
        backend, events = backend or self.make_backend(), RecordedEvents()
        backend.connect(cast(BackendEvents, events))
        self.bring_online(backend)
        return backend, events

    def heard(self, text: str = "hello", to: str | None = None) -> tuple[Backend, RecordedEvents, Message]:
        """Return a backend that is online, its events, and a message that `person_text` has sent, by default to the room."""
        backend, events = self.online()
        self.receive(backend, self.room_text if to is None else to, text)
        [message] = events.messages
        return backend, events, message

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

    def test_contract_occupants_round_trip(self) -> None:
        """The text of somebody in a room builds an equal identifier."""
        backend, _, message = self.heard()
        self.assertEqual(backend.build_identifier(str(message.frm)), message.frm)

    def test_contract_rejects_invalid_identifiers(self) -> None:
        """`build_identifier` raises ValueError for an invalid text."""
        backend, _ = self.online()
        for text in self.invalid_identifiers:
            self.assertRaises(ValueError, backend.build_identifier, text)

    def test_contract_direct_message_and_reply(self) -> None:
        """A message to the bot is direct, and the reply goes to its sender."""
        backend, _, message = self.heard("hello bot", "")
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
        backend, _, message = self.heard()
        room = backend.build_identifier(self.room_text)
        self.assertTrue(message.is_group)
        self.assertEqual(message.to, room)
        self.assertEqual(getattr(message.frm, "room", None), room)
        self.assertEqual(backend.build_reply(message, "hello").to, room)
        private = backend.build_reply(message, "psst", private=True)
        self.assertTrue(private.is_direct)
        self.assertEqual(private.to, backend.build_identifier(str(private.to)))

    def test_contract_message_to_an_occupant(self) -> None:
        """A message to the sender of a message in a room is private."""
        backend, _, message = self.heard()
        backend.send_message(Message("psst", to=message.frm))
        [(recipient, text)] = self.sent(backend)
        self.assertEqual(text, "psst")
        self.assertNotEqual(recipient, self.room_text)

    def test_contract_nick_prefix(self) -> None:
        """A prefixed reply contains the recipient's nick before the text."""
        backend, _, message = self.heard()
        assert message.frm is not None
        reply = backend.build_reply(message, "hello")
        backend.prefix_groupchat_reply(reply, message.frm)
        self.assertIn(str(getattr(message.frm, "nick", "")), reply.body)
        self.assertTrue(reply.body.endswith("hello"))
        if backend.features(self.room_text).mentions:
            people = [backend.build_identifier(text) for text in reply.mentioned]
            self.assertEqual(people, [backend.build_reply(message, "", private=True).to])

    def test_contract_keeps_order_and_confirms(self) -> None:
        """Messages arrive in the order in which they were accepted, including those from before the connection."""
        backend = self.make_backend()
        room = backend.build_identifier(self.room_text)
        early = backend.send_message(Message("one", to=room))
        self.online(backend)
        late = backend.send_message(Message("two", to=room))
        self.assertEqual([text for _, text in self.sent(backend)], ["one", "two"])
        for accepted in (early, late):
            assert isinstance(accepted, Deferred)
            self.assertEqual(self.successResultOf(accepted).network, backend.network)

    def test_contract_accepts_from_a_thread(self) -> None:
        """A message from another thread is accepted without waiting for the network."""
        backend, _ = self.online()
        sent = _in_thread(backend.send_message, Message("from a thread", to=backend.build_identifier(self.room_text)))
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
        self.online(backend)
        _in_thread(backend.change_presence, ONLINE, "")
        self.assertEqual(self.sent(backend), [])

    def test_contract_name_rules(self) -> None:
        """Folding a folded name changes nothing, and a name matches itself as a pattern."""
        backend, _ = self.online()
        folded = backend.name_rules.fold(self.person_text)
        self.assertEqual(backend.name_rules.fold(folded), folded)
        self.assertTrue(backend.name_rules.matches(self.person_text, folded))

    def test_contract_ids(self) -> None:
        """Messages have ids of their own, also received ones (on networks with edits or threads)."""
        backend, events = self.online()
        room = backend.build_identifier(self.room_text)
        if not (backend.features(room).edits or backend.features(room).threads):
            return
        accepted = [backend.send_message(Message(text, to=room)) for text in ("one", "two")]
        self.receive(backend, self.room_text, "three")
        self.receive(backend, "", "four")
        self.sent(backend)
        refs = [*(ref for one in accepted for ref in one.refs), *(message.ref for message in events.messages)]
        self.assertEqual(len({ref.id for ref in refs if ref is not None}), 4)
        for ref in refs:
            assert ref is not None
            self.assertEqual(ref.network, backend.network)
            backend.build_identifier(ref.room)

    def test_contract_changes(self) -> None:
        """A message is edited and deleted by its handle, or else a further message says what has changed."""
        backend, _ = self.online()
        room = backend.build_identifier(self.room_text)
        features, handle = backend.features(room), str(backend.send_message(Message("one", to=room)))
        self.assertEqual(list(self.shown(backend)), ["one"])
        backend.perform(Message("two", to=room), Wanted(Kind.EDIT, handle))
        shown = list(self.shown(backend))
        self.assertEqual(shown[-1], "two" if features.edits else "(corrected) two")
        self.assertTrue("one" not in shown or not features.edits)
        if features.deletions:
            backend.perform(Message(to=room), Wanted(Kind.DELETE, handle))
            self.assertEqual(list(self.shown(backend)), [])

    def test_contract_choices(self) -> None:
        """Choices are buttons, whose presses are reported, and which an edit removes. Without buttons, the text lists them."""
        backend, events, message = self.heard()
        assert message.frm is not None
        room, choices = backend.build_identifier(self.room_text), ("yes", "not now")
        asked = backend.perform(Message("Deploy?", to=room), Wanted(choices=choices))
        text = "\n".join(self.shown(backend))
        if not backend.features(room).choices:
            self.assertIn("2 (not now)", " ".join(text.split()))
            return
        self.assertEqual((text, [*self.buttons(backend)]), ("Deploy?", [*choices]))
        self.assertEqual(self.press(backend, choices[1]), "")
        [press] = [call[1] for call in events.recorded if call[0] == "choice_made"]
        self.assertEqual(press, Press(asked.refs[-1], message.frm, 1))
        events.refusal = "This question isn't open any more."
        self.assertEqual(self.press(backend, choices[0]), events.refusal)
        self.assertEqual(len(events.messages), 1)
        backend.perform(Message("Never", to=room), Wanted(Kind.EDIT, str(asked)))
        self.assertEqual((list(self.shown(backend)), [*self.buttons(backend)]), (["Never"], []))

    def test_contract_threads(self) -> None:
        """A threaded reply is in a thread, and a reply to a message there, too (on networks with threads)."""
        backend, _, message = self.heard()
        assert message.to is not None
        if backend.features(message.to).threads:
            reply = backend.build_reply(message, "hello", threaded=True)
            self.assertTrue(reply.thread)
            accepted = backend.send_message(reply)
            self.sent(backend)
            self.assertEqual([ref.thread for ref in accepted.refs], [reply.thread])
            message.thread = reply.thread
            self.assertEqual(backend.build_reply(message, "hello again").thread, reply.thread)

    def test_contract_edits_by_others(self) -> None:
        """An edit is reported with the id of the message, and as no other message."""
        backend, events, message = self.heard()
        if self.receive_edit(backend, "hello all"):
            [edited] = [call[1] for call in events.recorded if call[0] == "message_edited"]
            self.assertEqual((edited.body, edited.edited, message.edited), ("hello all", True, False))
            assert message.ref is not None and edited.ref is not None
            self.assertEqual(edited.ref.id, message.ref.id)

    def test_contract_waits_as_asked(self) -> None:
        """If the network asks to wait, messages are sent afterwards, in order and once."""
        backend, _ = self.online()
        if self.refuse(backend, 7):
            room = backend.build_identifier(self.room_text)
            accepted = [backend.send_message(Message(text, to=room)) for text in ("one", "two")]
            self.clock.advance(6)
            self.assertNoResult(accepted[0])
            self.clock.advance(10)
            self.assertEqual([text for _, text in self.sent(backend)], ["one", "two"])
            self.assertEqual([str(self.successResultOf(one)) for one in accepted], [str(one) for one in accepted])

    def test_contract_lookups(self) -> None:
        """A resolved name equals what `build_identifier` has returned, with the same hash. A room that is missing is an error."""
        backend = self.make_backend()
        early = [backend.build_identifier(text) for text in (self.person_text, self.room_text)]
        hashes = list(map(hash, early))
        self.online(backend)
        for before, number in zip(early, hashes, strict=True):
            resolving = backend.resolve(str(before))
            self.let_resolve(resolving)
            found = self.successResultOf(resolving)
            self.assertEqual((found, hash(found), hash(before)), (before, number, number))
        if self.unknown_room:
            missing = backend.resolve(self.unknown_room)
            self.let_resolve(missing)
            self.failureResultOf(missing, RoomDoesNotExistError)

    def test_contract_restart(self) -> None:
        """A message that a process has not sent is sent once by the next one, with the same key; a third one can edit it."""
        first = self.make_backend()
        room = first.build_identifier(self.room_text)
        self._restart(first)
        handle = first.send_message(Message("one", to=room))
        is_waiting = first.outbox.status.messages
        handle.addErrback(lambda failure: failure.trap(SentLater))
        first.disconnect()
        if not is_waiting:
            # The network sends at once.
            return
        second = self.make_backend()
        [restored] = self._restart(second)
        self.assertEqual(restored.key, handle.key)
        self.online(second)
        self.assertEqual([text for _, text in self.sent(second)], ["one"])
        second.disconnect()
        self.close_connection(second)
        third = self.make_backend()
        self.assertEqual(self._restart(third), [])
        self.online(third)
        third.perform(Message("two", to=room), Wanted(Kind.EDIT, str(handle)))
        self.assertEqual(self.shown(third)[-1], "two" if third.features(room).edits else "(corrected) two")

    def _restart(self, backend: Backend) -> list[OutgoingMessage]:
        """Give a backend the store of messages, as another process. Return the messages that wait in it."""
        for earlier in self._journals:
            self.successResultOf(earlier.outbox.flush())
            earlier.close()
        journal = SQLiteJournal(Path(self._directory, "journal.db"), self.clock, self.clock.seconds, runs=INLINE)
        self._journals[:] = [journal]
        self.addCleanup(journal.close)
        leased: Any = journal.outbox.lease()
        restored = list(self.successResultOf(leased))
        backend.outbox.use_store(journal.outbox)
        backend.outbox.take(restored)
        return restored

    def test_contract_methods_for_threads(self) -> None:
        """The methods that the port allows in any thread don't use the reactor there."""
        backend, _, message = self.heard()
        sender = message.frm
        assert sender is not None

        def use() -> None:
            room = backend.build_identifier(self.room_text)
            for name in ("mode", "message_size_limit", "name_rules", "is_encrypted"):
                getattr(backend, name)
            assert backend.outbox.status.messages == 0
            backend.features(room)
            backend.query_room(self.room_text)
            backend.rooms()
            backend.change_presence(ONLINE, "")
            reply = backend.build_reply(message, "hello")
            backend.prefix_groupchat_reply(reply, sender)
            assert backend.is_from_self(reply) and reply.frm == backend.bot_identifier
            backend.perform(reply, Wanted())

        _in_thread(use)
        self.assertEqual(len(self.sent(backend)), 1)

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
