"""The server's replies to JOIN, TOPIC and INVITE, which have no labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

_REASONS = {
    "401": "there is no person with that nick",
    "403": "there is no such room",
    "405": "the bot is in too many rooms",
    "437": "the room is unavailable for now",
    "442": "the bot is not in the room",
    "443": "the person is in the room already",
    "471": "the room is full",
    "473": "the room is for invited people only",
    "474": "the bot is banned from the room",
    "475": "the room has another password",
    "477": "the room is for identified people only",
    "482": "the bot is not an operator of the room",
}
_OF_MESSAGES = "404"
"""The rejection of a message to a room."""


@dataclass(eq=False)
class _Expected:
    command: str
    room: str
    person: str
    refusal: Deferred[str]


class RoomReplies:
    """Matches the replies on one connection with the commands that the bot has sent.

    :param same: Returns whether two names are equal on the server.
    """

    def __init__(self, same: Callable[[str, str], bool]) -> None:
        self._same = same
        self._expected: list[_Expected] = []

    def expect(self, command: str, room: str, person: str = "") -> Deferred[str]:
        """Return a Deferred of the reason for which the server refuses a command that is sent next; "" if it doesn't."""
        refusal: Deferred[str] = Deferred(lambda _: self._expected.remove(expected))
        expected = _Expected(command, room, person, refusal)
        self._expected.append(expected)
        return refusal

    def accepted(self, command: str, room: str, person: str = "") -> None:
        """Handle the server's confirmation."""
        for one in list(self._expected):
            if one.command == command and self._same(one.room, room) and self._same(one.person, person):
                self._settle(one, "")

    def rejected(self, number: str, params: Sequence[str]) -> None:
        """Handle a numeric reply, which may be an error about a room or person."""
        if number[0] not in "45" or number == _OF_MESSAGES:
            return
        for one in list(self._expected):
            names = (one.room, one.person) if one.person else (one.room,)
            if any(self._same(name, param) for name in names for param in params[1:-1]):
                known = _REASONS.get(number)
                self._settle(one, f"{known} ({params[-1]})" if known else params[-1])

    def lost(self) -> None:
        """Refuse what is still expected, since the connection is lost."""
        for one in list(self._expected):
            self._settle(one, "the connection was lost")

    def _settle(self, one: _Expected, refusal: str) -> None:
        self._expected.remove(one)
        one.refusal.callback(refusal)
