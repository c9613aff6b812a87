"""Rooms and their occupants, by the server's case mapping."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.irc._rooms import Rooms
from errklein.backends.irc.identifiers import CaseMapping


class RoomsTests(SynchronousTestCase):
    """The rooms of one network."""

    def setUp(self) -> None:
        """Create two configured rooms that are equal in RFC 1459."""
        self.rooms = Rooms({"#a[1]": "x", "#a{1}": "y"}, lambda: 0.0)

    def test_rooms_of_the_configuration(self) -> None:
        """Both rooms are kept until the server announces its mapping."""
        self.assertEqual(self.rooms.wanted, [("#a[1]", "x"), ("#a{1}", "y")])
        self.rooms.set_casemapping(CaseMapping.ASCII)
        self.assertEqual(self.rooms.wanted, [("#a[1]", "x"), ("#a{1}", "y")])
        self.assertEqual((self.rooms.password_of("#A[1]"), self.rooms.password_of("#A{1}")), ("x", "y"))

    def test_another_spelling(self) -> None:
        """Another spelling of a room replaces the first one where they are equal."""
        self.rooms.want("#A[1]", "z")
        self.assertEqual(self.rooms.wanted, [("#A[1]", "z")])
        self.rooms.set_casemapping(CaseMapping.ASCII)
        self.rooms.want("#a{1}", "")
        self.assertEqual(self.rooms.wanted, [("#A[1]", "z"), ("#a{1}", "")])
        self.rooms.unwant("#a[1]")
        self.assertEqual(self.rooms.wanted, [("#a{1}", "")])
        self.assertEqual([self.rooms.is_wanted(name) for name in ("#a[1]", "#A{1}")], [False, True])

    def test_mapping_after_joining(self) -> None:
        """Rooms and occupants are found by a mapping that is announced later."""
        state = self.rooms.enter("#a[1]")
        state.add("Al[x]!u@host")
        self.assertIs(self.rooms.state("#A{1}"), state)
        self.assertEqual(state.mask_of("AL{X}"), "Al[x]!u@host")
        self.rooms.set_casemapping(CaseMapping.ASCII)
        self.assertIsNone(self.rooms.state("#A{1}"))
        self.assertIs(self.rooms.state("#A[1]"), state)
        self.assertIsNone(state.mask_of("AL{X}"))
        self.assertEqual(state.mask_of("AL[X]"), "Al[x]!u@host")
        self.rooms.rename("al[X]", "bob!u@host")
        self.assertEqual(list(state.masks), ["bob"])
