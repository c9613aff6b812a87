"""The server's replies to JOIN, TOPIC and INVITE, which have no labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


class RoomReplies:
    """Matches the replies on one connection with the commands that the bot has sent.

    :param same: Returns whether two names are equal on the server.
    """

    def __init__(self, same: Callable[[str, str], bool]) -> None:
        self._same = same
        self._expected: dict[Deferred[str], tuple[str, Sequence[str]]] = {}

    def expect(self, command: str, *names: str) -> Deferred[str]:
        """Return a Deferred of the reason for which the server refuses a command that was just sent; "" if it doesn't.

        `names` are those of the room and, for INVITE, of the person.
        """
        refusal: Deferred[str] = Deferred(self._expected.__delitem__)
        self._expected[refusal] = command, names
        return refusal

    def accepted(self, command: str, *names: str) -> None:
        """Handle the server's confirmation."""
        self._settle("", lambda sent, its: sent == command and all(map(self._same, its, names)))

    def rejected(self, number: str, params: Sequence[str]) -> None:
        """Handle a numeric reply, which may be an error about a room or person."""
        if self._expected and number[0] in "45" and number != _OF_MESSAGES:
            reason = f"{_REASONS[number]} ({params[-1]})" if number in _REASONS else params[-1]
            self._settle(reason, lambda _, its: any(self._same(name, one) for name in its for one in params[1:-1]))

    def lost(self) -> None:
        """Refuse what is still expected, since the connection is lost."""
        self._settle("the connection was lost", lambda *_: True)

    def _settle(self, refusal: str, matches: Callable[[str, Sequence[str]], bool]) -> None:
        for expected in [one for one, sent in self._expected.items() if matches(*sent)]:
            del self._expected[expected]
            expected.callback(refusal)
