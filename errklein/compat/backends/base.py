"""The abstract base class of errbot's backends."""

from __future__ import annotations

from abc import ABC
from typing import Any

from errklein.chat import ONLINE, Identifier, Message, Room


class BackendBase(ABC):
    """The methods that a third-party backend implements. Backends subclass `ErrBot`, which inherits from this class.

    A method that the backend lacks raises NotImplementedError when it is called.
    """

    cmd_history: Any
    MSG_ERROR_OCCURRED = "Computer says nooo. See logs for details"

    @property
    def mode(self) -> str:
        """The kind of network, as one lower-case word such as "irc"."""
        raise self._left_out("mode")

    def connect(self) -> Any:
        """Connect if necessary and return the connection object. Optional."""
        raise self._left_out("connect()")

    def serve_once(self) -> Any:
        """Connect, and serve until the connection ends.

        :returns: True if the backend has ended for good. After any other value, `serve_forever` connects again.
        """
        raise self._left_out("serve_once()")

    def build_identifier(self, text_representation: str) -> Identifier:
        """Return the person, occupant or room with that name.

        :param text_representation: The name, as administrators write it in the configuration and in commands.
        :raises ValueError: if the name is invalid.
        """
        raise self._left_out("build_identifier()")

    def build_reply(
        self, msg: Message, text: str | None = None, private: bool = False, threaded: bool = False
    ) -> Message:
        """Return a reply to the message.

        :param msg: The message to reply to.
        :param text: The text of the reply.
        :param private: Whether the reply goes to the sender instead of the room.
        :param threaded: Whether the reply belongs to the message's thread.
        """
        raise self._left_out("build_reply()")

    def change_presence(self, status: str = ONLINE, message: str = "") -> None:
        """Set the bot's presence.

        :param status: ONLINE, OFFLINE, AWAY or DND.
        :param message: A text that is displayed with the status.
        """
        raise self._left_out("change_presence()")

    def query_room(self, room: str) -> Room:
        """Return the room with that name, whether the bot is in it or not.

        :raises RoomDoesNotExistError: if there is no such room.
        """
        raise self._left_out("query_room()")

    @property
    def rooms(self) -> Any:
        """The rooms that the bot is in. Many backends implement it as a method."""
        raise self._left_out("rooms")

    def _left_out(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} doesn't implement {what}")
