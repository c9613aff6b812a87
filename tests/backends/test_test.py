"""The network in memory that plugins are tested with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.test import SentMessage, TestBackend, TestOccupant, TestPerson, TestRoom
from errklein.chat import Message
from errklein.ports import Backend
from errklein.testing.backend_contract import BackendContract, RecordedEvents
from tests.backends.test_text import configuration


def make_test_backend(**settings: Any) -> TestBackend:
    """A backend that isn't connected, administered by gbin@localhost."""
    defaults = {"network": "test", "BOT_ADMINS": ("gbin@localhost",), "CHATROOM_PRESENCE": ("#ops",)}
    return TestBackend(Clock(), configuration(**(defaults | settings)))


class ContractTests(BackendContract, SynchronousTestCase):
    """The test network keeps the contract of all backends."""

    nonsense = ("", "  ")

    def setUp(self) -> None:
        registerAsIOThread()

    def make_backend(self) -> TestBackend:
        return make_test_backend()

    def bring_online(self, backend: Backend) -> None:
        pass

    def hear(self, backend: Backend, to: str, text: str) -> None:
        assert isinstance(backend, TestBackend)
        backend.receive(text, frm=self.person_text, to=to or None)

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        assert isinstance(backend, TestBackend)
        return [(str(sent.message.to), sent.text) for sent in backend.sent]


class SendingTests(SynchronousTestCase):
    """What the bot says can be looked at."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.backend = make_test_backend(MESSAGE_SIZE_LIMIT=20)

    def test_kept_and_rendered(self) -> None:
        """Each message is kept as it was sent and as it reads."""
        message = Message("**x** *y*", to=self.backend.sender)
        self.backend.send_message(message)
        [sent] = self.backend.sent
        self.assertEqual(("**x** *y*", "x y", False), (sent.message.body, sent.text, sent.message.partial))

    def test_later_changes(self) -> None:
        """A message that a plugin changes after sending it stays what it was."""
        message = Message("x", to=self.backend.sender)
        self.backend.send_message(message)
        message.body = "y"
        self.assertEqual("x", self.backend.sent[0].message.body)

    def test_parts(self) -> None:
        """A message that is too long arrives in parts, marked as such."""
        self.backend.send_message(Message("one two three four five six", to=self.backend.sender))
        self.assertEqual(["one two three four", "five six"], [sent.text for sent in self.backend.sent])
        self.assertEqual([True, True], [sent.message.partial for sent in self.backend.sent])

    def test_watched(self) -> None:
        """A test can wait for messages."""
        seen: list[SentMessage] = []
        self.backend.watch(seen.append)
        self.backend.send_message(Message("x", to=self.backend.sender))
        self.assertEqual(["x"], [sent.text for sent in seen])


class ReceivingTests(SynchronousTestCase):
    """What others say can be made up."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.backend = make_test_backend()
        self.events = RecordedEvents()
        self.backend.connect(self.events)
        self.events.recorded.clear()

    def test_from_the_sender(self) -> None:
        """Without a name it is the first admin who speaks, directly; another may be put there."""
        message = self.backend.receive("hi", extras={"a": 1})
        self.assertEqual(("gbin@localhost", "err", {"a": 1}), (str(message.frm), str(message.to), message.extras))
        self.backend.sender = TestPerson("bob")
        self.assertEqual("bob", str(self.backend.receive("hi").frm))
        self.assertEqual(["hi", "hi"], [message.body for message in self.events.messages])

    def test_in_a_room(self) -> None:
        """Who speaks in a room is an occupant of it."""
        message = self.backend.receive("hi", frm="bob", to="#ops")
        self.assertEqual(TestOccupant("bob", "#ops"), message.frm)
        self.assertEqual([TestOccupant("bob", "#ops")], self.backend.query_room("#ops").occupants)
        self.assertTrue(message.is_group)


class RoomTests(SynchronousTestCase):
    """Rooms come into being when they are spoken of."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.backend = make_test_backend(CHATROOM_PRESENCE=("testroom", ("#locked", "password")))
        self.events = RecordedEvents()
        self.backend.connect(self.events)

    def test_presence(self) -> None:
        """The bot is in the rooms that the configuration names, whatever they are called."""
        self.assertEqual(["testroom", "#locked"], [str(room) for room in self.backend.rooms()])
        self.assertEqual(TestRoom("testroom"), self.backend.build_identifier("testroom"))
        self.assertEqual(
            ["backend_connected", "room_joined", "room_joined"], [told[0] for told in self.events.recorded]
        )

    def test_life_of_a_room(self) -> None:
        """A room can be entered, given a topic, left and destroyed; each is told."""
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
        """`person@room` is an occupant if the room is known, else a person's address."""
        occupant = self.backend.build_identifier("bob@testroom")
        assert isinstance(occupant, TestOccupant)
        self.assertEqual(("bob", "bob", "testroom"), (occupant.person, occupant.aclattr, str(occupant.room)))
        self.assertEqual(occupant, self.backend.build_identifier(str(occupant)))
        self.assertIs(TestPerson, type(self.backend.build_identifier("bob@localhost")))


class IdentifierTests(SynchronousTestCase):
    """Identifiers that tests make themselves."""

    def test_person(self) -> None:
        """A person is what was given; two of the same name are equal, whatever else is known."""
        person = TestPerson("gbin@localhost", client="phone", nick="gbin", fullname="Guillaume", email="g@b")
        self.assertEqual(
            ("gbin@localhost", "phone", "gbin", "Guillaume", "g@b", "gbin@localhost", "gbin@localhost"),
            (person.person, person.client, person.nick, person.fullname, person.email, person.aclattr, str(person)),
        )
        self.assertEqual(person, TestPerson("gbin@localhost"))
        self.assertNotEqual(person, TestPerson("bob"))
        self.assertEqual("", TestPerson("bob").email)

    def test_blank_name(self) -> None:
        """A blank name is an error, but a person's where names are errbot's."""
        backend = make_test_backend()
        self.assertRaises(ValueError, backend.build_identifier, " ")
        backend.be_as_on_errbot()
        self.assertEqual(backend.build_identifier(""), TestPerson(""))
        self.assertEqual(str(backend.build_identifier(" ")), " ")

    def test_networks(self) -> None:
        """The same name on two networks is two persons; one made without a network is on any."""
        here, there = (make_test_backend(network=name).build_identifier("bob") for name in ("a", "b"))
        self.assertNotEqual(here, there)
        self.assertEqual(here, TestPerson("bob"))
