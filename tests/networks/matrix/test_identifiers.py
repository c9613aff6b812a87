"""Persons, rooms and occupants on Matrix."""

from __future__ import annotations

import pickle

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.matrix.identifiers import (
    MatrixOccupant,
    MatrixPerson,
    MatrixRoom,
    is_room,
    is_user,
    split_occupant,
)

ALICE = "@alice:example.org"


class NameTests(SynchronousTestCase):
    """Which texts name people and rooms."""

    def test_ids_of_people(self) -> None:
        """Also those with ports, IPv6 addresses and the capitals of old ids."""
        for text in (ALICE, "@a:localhost:8448", "@Al/ice=2e:[::1]:80", "@" + "a" * 242 + ":example.org"):
            self.assertTrue(is_user(text), text)

    def test_hostile_ids_of_people(self) -> None:
        """What could be read as several lines, words or names is no id."""
        hostile = ("@:x", "@a", "a:x", "@a:x y", "@a\n:x", "@a:x\n", "@a:x/", "@a:", "@" + "a" * 255 + ":x", "@a:x@b:y")
        for text in hostile:
            self.assertFalse(is_user(text), text)
            self.assertRaises(ValueError, MatrixPerson, text)

    def test_rooms(self) -> None:
        """Aliases and ids; since version 12 of rooms, ids have no server."""
        for text in ("#ops:example.org", "!abc:example.org", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"):
            self.assertTrue(is_room(text), text)
        for text in ("#ops", "!", "ops:example.org", "!a b", "#a b:x", "!a/b", "#" + "a" * 255 + ":x"):
            self.assertFalse(is_room(text), text)
            self.assertRaises(ValueError, MatrixRoom, text)

    def test_occupants(self) -> None:
        """The text of an occupant names the room and the person."""
        room = MatrixRoom("!abc:example.org", "m")
        self.assertEqual(split_occupant(str(MatrixOccupant(ALICE, room))), ("!abc:example.org", ALICE))
        self.assertEqual(split_occupant("#a/b:x/@a/c:x"), ("#a/b:x", "@a/c:x"))
        self.assertIsNone(split_occupant("!abc:example.org"))


class EqualityTests(SynchronousTestCase):
    """Which identifiers are equal."""

    def test_case_matters(self) -> None:
        """On Matrix, @Alice is another person than @alice, and mustn't have the rights of an administrator."""
        self.assertEqual(MatrixPerson(ALICE, "m"), MatrixPerson(ALICE, "m", "Alice"))
        self.assertNotEqual(MatrixPerson(ALICE, "m"), MatrixPerson("@Alice:example.org", "m"))
        self.assertNotEqual(MatrixPerson(ALICE, "m"), MatrixPerson("@alice:EXAMPLE.org", "m"))
        self.assertNotEqual(MatrixPerson(ALICE, "m"), MatrixPerson(ALICE, "n"))

    def test_an_alias_equals_its_id(self) -> None:
        """Once it is known; the hash doesn't change."""
        alias, id = MatrixRoom("#ops:x", "m"), MatrixRoom("!a:x", "m")
        resolved = MatrixRoom("#ops:x", "m", "!a:x")
        self.assertNotEqual(alias, id)
        self.assertEqual({alias, id, resolved} | {resolved}, {alias, id, resolved})
        self.assertEqual(resolved, alias)
        self.assertEqual(resolved, id)
        self.assertEqual(len({hash(one) for one in (alias, id, resolved)}), 1)
        self.assertEqual((str(alias), str(resolved)), ("#ops:x", "!a:x"))

    def test_occupants_are_in_a_room(self) -> None:
        """An occupant of another room is another recipient."""
        one, other = (MatrixOccupant(ALICE, MatrixRoom(room, "m")) for room in ("!a:x", "!b:x"))
        self.assertNotEqual(one, other)
        self.assertNotEqual(one, MatrixPerson(ALICE, "m"))

    def test_stored_values(self) -> None:
        """Plugins store identifiers as pickles."""
        room = MatrixRoom("#ops:x", "m", "!a:x")
        for one in (MatrixPerson(ALICE, "m", "Alice"), room, MatrixOccupant(ALICE, room, "Alice")):
            self.assertEqual(pickle.loads(pickle.dumps(one)), one)

    def test_names(self) -> None:
        """Access rules see the id, people see the display name."""
        alice = MatrixPerson(ALICE, "m", "Alice")
        self.assertEqual((alice.aclattr, alice.person, alice.nick, alice.fullname), (ALICE, ALICE, "Alice", "Alice"))
        self.assertEqual(MatrixPerson(ALICE).nick, ALICE)
