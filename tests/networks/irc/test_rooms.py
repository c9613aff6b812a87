"""Rooms and their occupants, by the server's case mapping."""

from __future__ import annotations

from tests.networks.irc.test_backend import PlayedTests

ASCII = ":irc.example 005 errklein CASEMAPPING=ascii :are supported by this server"


class RoomsTests(PlayedTests):
    """Two configured rooms that are equal in RFC 1459."""

    def setUp(self) -> None:
        """Create a backend that is connecting."""
        super().setUp()
        self.connecting(rooms=[("#a[1]", "x"), ("#a{1}", "y")])

    def joins(self, *names: str, password: str | None = None) -> list[str]:
        """Join rooms as a plugin does, and return the commands."""
        self.server.take()
        for name in names:
            self.backend.query_room(name).join(password=password)
        self.server.clock.let_threads()
        self.server.clock.advance(2)
        return self.server.take()

    def joins_of_next_connection(self) -> list[str]:
        """Let the connection break, and return the JOINs of the next one."""
        attempts = self.server.attempts
        self.server.close()
        while self.server.attempts == attempts:
            self.server.clock.advance(1)
        self.server.welcome()
        self.server.clock.advance(2)
        return [line for line in self.server.take() if line.startswith("JOIN")]

    def test_rooms_of_the_configuration(self) -> None:
        """Both rooms are joined, and keep their passwords when the server announces its mapping."""
        self.server.welcome()
        self.assertEqual(self.server.take()[-1], "JOIN #a[1],#a{1} x,y")
        self.server.say(ASCII)
        self.assertEqual(self.joins("#A[1]", "#A{1}"), ["JOIN #A[1],#A{1} x,y"])

    def test_another_spelling(self) -> None:
        """Another spelling of a room replaces the first one where they are equal."""
        self.server.welcome()
        self.joins("#A[1]", password="z")
        self.assertEqual(self.joins_of_next_connection(), ["JOIN #A[1] z"])
        self.server.say(ASCII)
        self.joins("#a{1}")
        self.assertEqual(self.joins_of_next_connection(), ["JOIN #A[1],#a{1} z"])
        self.server.say(ASCII)
        self.backend.query_room("#a[1]").leave()
        self.assertEqual(self.joins_of_next_connection(), ["JOIN #a{1}"])

    def test_mapping_after_joining(self) -> None:
        """Rooms and occupants are found by a mapping that is announced later."""
        self.server.welcome()
        self.server.enter("#a[1]")
        self.server.say(":Al[x]!u@host JOIN #a[1]")
        self.assertTrue(self.backend.query_room("#A{1}").joined)
        self.assertEqual(str(self.backend.current_holder(self.backend.build_identifier("AL{X}"))), "Al[x]!u@host")
        self.server.say(ASCII)
        self.assertFalse(self.backend.query_room("#A{1}").joined)
        self.assertTrue(self.backend.query_room("#A[1]").joined)
        self.assertIsNone(self.backend.current_holder(self.backend.build_identifier("AL{X}")))
        self.server.say(":al[X]!u@host NICK bob")
        self.assertEqual({one.nick for one in self.backend.query_room("#A[1]").occupants}, {"errklein", "bob"})
