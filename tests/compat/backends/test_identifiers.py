"""Persons and rooms of networks that errklein doesn't have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Person, Room, RoomOccupant
from errklein.compat.backends.telegram import (
    RoomsNotSupportedError,
    TelegramMUCOccupant,
    TelegramPerson,
    TelegramRoom,
)
from errklein.compat.backends.xmpp import XMPPPerson, XMPPRoom, XMPPRoomOccupant, split_identifier

PART = st.text(st.characters(exclude_characters="@/"), min_size=1)


class XMPPTests(SynchronousTestCase):
    """`errbot.backends.xmpp`."""

    @given(PART, PART, st.text(min_size=1))
    def test_addresses(self, node: str, domain: str, resource: str) -> None:
        """An address is the text that it was made of, and has its parts."""
        text = f"{node}@{domain}/{resource}"
        self.assertEqual(split_identifier(text), (node, domain, resource))
        self.assertEqual(str(XMPPPerson(*split_identifier(text))), text)

    def test_parts(self) -> None:
        """A node and a resource may be missing; a domain may not."""
        self.assertEqual(split_identifier("host"), ("", "host", None))
        self.assertEqual(split_identifier("host/device"), ("", "host", "device"))
        self.assertRaises(ValueError, XMPPPerson, "a", "", None)

    def test_persons(self) -> None:
        """The same person on two devices is one person."""
        desk, phone = XMPPPerson("ann", "host", "desk"), XMPPPerson("ann", "host", "phone")
        self.assertEqual(desk, phone)
        self.assertEqual(len({desk, phone}), 1)
        self.assertEqual((desk.person, desk.aclattr, desk.nick, desk.client), ("ann@host", "ann@host", "ann", "desk"))

    def test_rooms(self) -> None:
        """Two occupants of a room are two persons."""
        room = XMPPRoom("ops@rooms.host")
        ann, bob = (XMPPRoomOccupant("ops", "rooms.host", nick, room) for nick in ("ann", "bob"))
        self.assertNotEqual(ann, bob)
        self.assertEqual(
            (ann.nick, str(ann), ann.room, str(room)), ("ann", "ops@rooms.host/ann", room, "ops@rooms.host")
        )
        self.assertIsInstance(ann, (Person, RoomOccupant))
        self.assertIsInstance(room, Room)
        self.assertRaises(NotImplementedError, room.join)


class TelegramTests(SynchronousTestCase):
    """`errbot.backends.telegram_messenger`."""

    def test_persons(self) -> None:
        """A person is a number, with names that may be known."""
        ann = TelegramPerson(5, "Ann", "Lee", "annlee")
        self.assertEqual((str(ann), ann.person, ann.aclattr, ann.nick), ("5", "5", "5", "annlee"))
        self.assertEqual(
            (ann.fullname, TelegramPerson(5, "Ann").fullname, TelegramPerson(5).fullname), ("Ann Lee", "Ann", "")
        )
        self.assertEqual(ann, TelegramPerson(5))

    def test_rooms(self) -> None:
        """A group has a title; nothing can be done to it."""
        room = TelegramRoom(-7, "Ops")
        occupant = TelegramMUCOccupant(5, room, username="annlee")
        self.assertEqual((room.title, str(room), occupant.room), ("Ops", "-7", room))
        self.assertRaises(NotImplementedError, room.join)
        self.assertIn("Telegram", str(RoomsNotSupportedError()))
