"""The Test backend."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.networks.test import SentMessage, TestBackend, TestOccupant, TestPerson, TestRoom
from errklein.ports.chat import Backend
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
        return make_test_backend()

    def bring_online(self, backend: Backend) -> None:
        pass

    def receive(self, backend: Backend, to: str, text: str) -> None:
        assert isinstance(backend, TestBackend)
        backend.receive(text, frm=self.person_text, to=to or None)

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        assert isinstance(backend, TestBackend)
        return [(str(sent.message.to), sent.text) for sent in backend.sent]


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
