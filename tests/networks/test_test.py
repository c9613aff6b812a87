"""The Test backend."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Identifier, Message
from errklein.chat.features import BARE
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Delete, Edit, Kind, Post, React, Unsupported, Upload, Wanted
from errklein.networks.test import SentMessage, TestBackend, TestOccupant, TestPerson, TestRoom
from errklein.ports.chat import Backend
from errklein.ports.receipts import Receipt
from errklein.testing.backend_contract import BackendContract, RecordedEvents
from tests.networks.test_text import configuration


def make_test_backend(**settings: Any) -> TestBackend:
    """Return a backend that isn't connected; gbin@localhost is the administrator."""
    defaults = {"network": "test", "BOT_ADMINS": ("gbin@localhost",), "CHATROOM_PRESENCE": ("#ops",)}
    return TestBackend(Clock(), configuration(**(defaults | settings)))


class ContractTests(BackendContract, SynchronousTestCase):
    """The Test backend passes the contract of backends."""

    invalid_identifiers = ("", "  ")

    def setUp(self) -> None:
        registerAsIOThread()

    def make_backend(self) -> TestBackend:
        settings = {"BOT_ADMINS": ("gbin@localhost",), "CHATROOM_PRESENCE": ("#ops",)}
        backend = TestBackend(self.clock, self.context(**settings).config)
        self.addCleanup(self.clock.advance, 0)
        return backend

    def bring_online(self, backend: Backend) -> None:
        pass

    def receive(self, backend: Backend, to: str, text: str) -> None:
        assert isinstance(backend, TestBackend)
        backend.receive(text, frm=self.person_text, to=to or None)

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        assert isinstance(backend, TestBackend)
        return [(str(sent.message.to), sent.text) for sent in backend.sent]

    def shown(self, backend: Backend) -> Sequence[str]:
        assert isinstance(backend, TestBackend)
        shown = {sent.message.ref: sent.text for sent in backend.sent}
        deleted = [operation.ref for operation in backend.operations if isinstance(operation, Delete)]
        return [text for ref, text in shown.items() if ref is not None and ref not in deleted]

    def buttons(self, backend: Backend) -> Sequence[str]:
        assert isinstance(backend, TestBackend)
        return [label for labels in backend.buttons.values() for label in labels]

    def press(self, backend: Backend, label: str) -> str:
        assert isinstance(backend, TestBackend)
        [(ref, labels)] = backend.buttons.items()
        return backend.press(ref, labels.index(label), self.person_text)

    def receive_edit(self, backend: Backend, text: str) -> bool:
        assert isinstance(backend, TestBackend)
        backend.receive_edit(self.events.messages[-1], text)
        return True

    def online(self, backend: Backend | None = None) -> tuple[Backend, RecordedEvents]:
        backend, self.events = super().online(backend)
        return backend, self.events

    def refuse(self, backend: Backend, seconds: float) -> bool:
        assert isinstance(backend, TestBackend)
        backend.retry_after(seconds)
        return True


class SendingTests(SynchronousTestCase):
    """Messages of the bot."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.backend = make_test_backend(MESSAGE_SIZE_LIMIT=20)

    def test_kept_and_rendered(self) -> None:
        """Each message is recorded as it was sent, and as plain text."""
        message = Message("**x** *y*", to=self.backend.sender)
        self.backend.send_message(message)
        [sent] = self.backend.sent
        self.assertEqual(("**x** *y*", "x y", False), (sent.message.body, sent.text, sent.message.partial))

    def test_later_changes(self) -> None:
        """Changing a message after sending it doesn't change the recorded one."""
        message = Message("x", to=self.backend.sender)
        self.backend.send_message(message)
        message.body = "y"
        self.assertEqual("x", self.backend.sent[0].message.body)

    def test_parts(self) -> None:
        """A message that is too long is recorded in parts that are marked as partial."""
        self.backend.send_message(Message("one two three four five six", to=self.backend.sender))
        self.assertEqual(["one two three four", "five six"], [sent.text for sent in self.backend.sent])
        self.assertEqual([True, True], [sent.message.partial for sent in self.backend.sent])

    def test_watched(self) -> None:
        """A watcher receives the messages."""
        seen: list[SentMessage] = []
        self.backend.watch(seen.append)
        self.backend.send_message(Message("x", to=self.backend.sender))
        self.assertEqual(["x"], [sent.text for sent in seen])


class FeatureTests(SynchronousTestCase):
    """Ids, threads, edits, deletions, reactions and files, so that plugins with them can be tested."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.clock = Clock()
        self.backend = TestBackend(
            self.clock, configuration(network="test", BOT_ADMINS=("gbin@localhost",)), self.clock.seconds
        )
        self.room = self.backend.build_identifier("#ops")

    def perform(self, wanted: Wanted, body: str = "", file: bytes = b"", to: Identifier | None = None) -> Receipt:
        """Let the bot do something with a message to the room."""
        return self.backend.perform(Message(body, to=to), wanted, file)

    def refs(self, *ids: str) -> list[MessageRef]:
        """Return addresses in the room."""
        return [MessageRef("test", "#ops", id) for id in ids]

    def test_messages_have_ids(self) -> None:
        """Each part of a message has an id, which its receipt and the recorded message have."""
        self.backend.features_of_test = replace(self.backend.features_of_test, size=8)
        sent = self.perform(Wanted(thread="t"), "one two three", to=self.room)
        expected = [ref._replace(thread="t") for ref in self.refs("m1", "m2")]
        self.assertEqual((expected, str(sent)), (sent.refs, self.successResultOf(sent)))
        self.assertEqual(expected, [one.message.ref for one in self.backend.sent])
        self.assertEqual(["t", "t"], [one.message.thread for one in self.backend.sent])

    def test_edits_and_deletions(self) -> None:
        """A message is edited and deleted by its handle, also as text, and by its id."""
        sent = self.perform(Wanted(), "one", to=self.room)
        [ref] = sent.refs
        for target in (str(sent), ref):
            self.perform(Wanted(Kind.EDIT, target), "two")
            edit = self.backend.sent[-1]
            self.assertEqual(
                ("two", True, ref, self.room), (edit.text, edit.message.edited, edit.message.ref, edit.message.to)
            )
        self.perform(Wanted(Kind.DELETE, str(sent)))
        self.assertEqual([Post("one"), Edit(ref, "two"), Edit(ref, "two"), Delete(ref)], self.backend.operations)
        self.assertEqual(["one", "two", "two"], [self.backend.pop_message(block=False) for _ in range(3)])

    def test_edit_of_an_edit(self) -> None:
        """What an edit returns is the handle of the message, as on networks with an outbox, with the ids of all its parts."""
        self.backend.features_of_test = replace(self.backend.features_of_test, size=8)
        sent = self.perform(Wanted(), "one", to=self.room)
        edited = self.perform(Wanted(Kind.EDIT, str(sent)), "two three", to=self.room)
        self.assertEqual((str(sent), self.refs("m1", "m2")), (str(edited), edited.refs))
        self.perform(Wanted(Kind.DELETE, str(edited)), to=self.room)
        self.assertEqual({}, self.backend.seen)

    def test_reactions_and_files(self) -> None:
        """The bot reacts to a message, and sends a file."""
        message = self.backend.receive("deploy", frm="bob", to="#ops")
        assert message.ref is not None
        self.perform(Wanted(Kind.REACT, message.ref, emoji="👍"))
        sent = self.perform(Wanted(Kind.FILE, file="a.png", type="image/png"), file=b"png", to=self.room)
        self.assertEqual([React(message.ref, "👍"), Upload("a.png", "image/png", b"png")], self.backend.operations)
        self.assertEqual((self.refs("m2"), b"png"), (sent.refs, self.backend.pop_message(block=False)))

    def test_other_features(self) -> None:
        """A test may take features away; then the fallbacks are shown, or the receipt fails."""
        self.backend.features_of_test = BARE
        sent = self.perform(Wanted(), "one", to=self.room)
        self.perform(Wanted(Kind.EDIT, str(sent)), "two", to=self.room)
        self.assertEqual(["one", "(corrected) two"], [one.text for one in self.backend.sent])
        self.failureResultOf(self.perform(Wanted(Kind.DELETE, str(sent)), to=self.room), Unsupported)

    def test_busy(self) -> None:
        """After `retry_after`, what is sent waits, and arrives in order."""
        self.backend.retry_after(5)
        sent = [self.perform(Wanted(), text, to=self.room) for text in ("one", "two")]
        self.clock.advance(4.9)
        self.assertEqual([], self.backend.sent)
        self.assertNoResult(sent[0])
        self.clock.advance(0.1)
        self.perform(Wanted(), "three", to=self.room)
        self.assertEqual(["one", "two", "three"], [one.text for one in self.backend.sent])
        self.assertEqual(sent, [self.successResultOf(one) for one in sent])


class ReceivingTests(SynchronousTestCase):
    """Messages to the bot."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.backend = make_test_backend()
        self.events = RecordedEvents()
        self.backend.connect(self.events)
        self.events.recorded.clear()

    def test_from_the_sender(self) -> None:
        """The default sender is the first administrator; a test may assign another one."""
        message = self.backend.receive("hi", extras={"a": 1})
        self.assertEqual(("gbin@localhost", "err", {"a": 1}), (str(message.frm), str(message.to), message.extras))
        self.backend.sender = TestPerson("bob")
        self.assertEqual("bob", str(self.backend.receive("hi").frm))
        self.assertEqual(["hi", "hi"], [message.body for message in self.events.messages])

    def test_in_a_room(self) -> None:
        """The sender of a message to a room becomes an occupant."""
        message = self.backend.receive("hi", frm="bob", to="#ops")
        self.assertEqual(TestOccupant("bob", "#ops"), message.frm)
        self.assertEqual([TestOccupant("bob", "#ops")], self.backend.query_room("#ops").occupants)
        self.assertTrue(message.is_group)

    def test_ids_and_threads(self) -> None:
        """A received message has an id and a time, and the reply is in its thread."""
        message = self.backend.receive("hi", frm="bob", to="#ops", thread="m7")
        self.assertEqual(MessageRef("test", "#ops", "m1", "m7"), message.ref)
        self.assertGreater(message.sent_at, 0)
        self.assertEqual("m7", self.backend.build_reply(message, "yes").thread)
        direct = self.backend.receive("hi", frm="bob")
        self.assertEqual(MessageRef("test", "bob", "m2"), direct.ref)
        threads = [self.backend.build_reply(direct, "yes", threaded=begins).thread for begins in (False, True)]
        self.assertEqual(["", "m2"], threads)
        self.assertEqual("", self.backend.build_reply(message, "psst", private=True).thread)

    def test_changes(self) -> None:
        """Edits, deletions and reactions of people are reported with the message's id."""
        message = self.backend.receive("hi", frm="bob", to="#ops")
        self.events.recorded.clear()
        edited = self.backend.receive_edit(message, "hello")
        self.backend.receive_reaction(message, "👍", message.frm)
        self.backend.receive_reaction(message, "👍", removed=True)
        self.backend.receive_deletion(message)
        self.assertEqual(("hi", "hello", True, message.ref), (message.body, edited.body, edited.edited, edited.ref))
        [edit, added, removed, deletion] = self.events.recorded
        self.assertEqual(("message_edited", edited), edit)
        self.assertEqual(("message_deleted", message.ref, message.frm), deletion)
        self.assertEqual(
            [("👍", "added"), ("👍", "removed")], [(one[1].reaction_name, one[1].action) for one in (added, removed)]
        )
        assert message.ref is not None
        self.assertEqual((message.frm, message.ref._asdict()), (added[1].reactor, added[1].reacted_to))


class RoomTests(SynchronousTestCase):
    """Rooms exist as soon as they are used."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.backend = make_test_backend(CHATROOM_PRESENCE=("testroom", ("#locked", "password")))
        self.events = RecordedEvents()
        self.backend.connect(self.events)

    def test_presence(self) -> None:
        """The bot joins the rooms in CHATROOM_PRESENCE, whatever their names."""
        self.assertEqual(["testroom", "#locked"], [str(room) for room in self.backend.rooms()])
        self.assertEqual(TestRoom("testroom"), self.backend.build_identifier("testroom"))
        self.assertEqual(
            ["backend_connected", "room_joined", "room_joined"], [told[0] for told in self.events.recorded]
        )

    def test_stored(self) -> None:
        """A plugin can store a room and an occupant; read again, they are equal, and belong to no backend."""
        room = self.backend.query_room("testroom")
        occupant = room.enter("ann")
        stored, person = pickle.loads(pickle.dumps((room, occupant)))
        self.assertEqual((stored, person, person.room), (room, occupant, room))
        self.assertFalse(stored.joined)
        self.assertEqual(room.occupants, [occupant])

    def test_life_of_a_room(self) -> None:
        """Joining, changing the topic, leaving and destroying a room are reported."""
        room = self.backend.query_room("#new")
        self.assertEqual((False, False), (room.exists, room.joined))
        self.assertEqual((None, []), (room.topic, room.occupants))
        self.events.recorded.clear()
        room.join()
        room.join()
        room.topic = "news"
        room.invite("bob", TestPerson("ann"))
        self.assertEqual("news", room.topic)
        self.assertEqual(["bob@#new", "ann@#new"], [str(occupant) for occupant in room.occupants])
        room.leave("bye")
        self.assertTrue(room.exists)
        room.destroy()
        self.assertFalse(room.exists)
        self.assertEqual(["room_joined", "room_topic_changed", "room_left"], [told[0] for told in self.events.recorded])
        self.assertEqual(self.backend.bot_identifier, self.events.recorded[0][2])

    def test_occupants_round_trip(self) -> None:
        """`person@room` is an occupant if the room is known, else a person."""
        occupant = self.backend.build_identifier("bob@testroom")
        assert isinstance(occupant, TestOccupant)
        self.assertEqual(("bob", "bob", "testroom"), (occupant.person, occupant.aclattr, str(occupant.room)))
        self.assertEqual(occupant, self.backend.build_identifier(str(occupant)))
        self.assertIs(TestPerson, type(self.backend.build_identifier("bob@localhost")))


class IdentifierTests(SynchronousTestCase):
    """Identifiers that tests create."""

    def test_person(self) -> None:
        """A person has the attributes that were given; equality depends on the name only."""
        person = TestPerson("gbin@localhost", client="phone", nick="gbin", fullname="Guillaume", email="g@b")
        self.assertEqual(
            ("gbin@localhost", "phone", "gbin", "Guillaume", "g@b", "gbin@localhost", "gbin@localhost"),
            (person.person, person.client, person.nick, person.fullname, person.email, person.aclattr, str(person)),
        )
        self.assertEqual(person, TestPerson("gbin@localhost"))
        self.assertNotEqual(person, TestPerson("bob"))
        self.assertEqual("", TestPerson("bob").email)

    def test_blank_name(self) -> None:
        """A blank name is an error, but a person after `be_as_on_errbot`."""
        backend = make_test_backend()
        self.assertRaises(ValueError, backend.build_identifier, " ")
        backend.be_as_on_errbot()
        self.assertEqual(backend.build_identifier(""), TestPerson(""))
        self.assertEqual(str(backend.build_identifier(" ")), " ")

    def test_networks(self) -> None:
        """Equal names on two networks are different persons; one without a network equals both."""
        here, there = (make_test_backend(network=name).build_identifier("bob") for name in ("a", "b"))
        self.assertNotEqual(here, there)
        self.assertEqual(here, TestPerson("bob"))
