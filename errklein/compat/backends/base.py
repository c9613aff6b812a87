"""What every network that was written for errbot says of itself."""

from __future__ import annotations

from abc import ABC
from typing import Any

from errklein.chat import ONLINE, Identifier, Message, Room


class BackendBase(ABC):
    """The methods that a network has to have. What it leaves out raises NotImplementedError when it is asked for."""

    cmd_history: Any
    MSG_ERROR_OCCURRED = "Computer says nooo. See logs for details"

    @property
    def mode(self) -> str:
        """The kind of network, in one lower-case word."""
        raise self._left_out("mode")

    def connect(self) -> Any:
        """The connection, made if there is none yet; for backends that have use for it."""
        raise self._left_out("connect()")

    def serve_once(self) -> Any:
        """Connect and serve until the connection ends. True: for good; else connect again."""
        raise self._left_out("serve_once()")

    def build_identifier(self, text_representation: str) -> Identifier:
        """Who or what the text names."""
        raise self._left_out("build_identifier()")

    def build_reply(
        self, msg: Message, text: str | None = None, private: bool = False, threaded: bool = False
    ) -> Message:
        """An answer to the message."""
        raise self._left_out("build_reply()")

    def change_presence(self, status: str = ONLINE, message: str = "") -> None:
        """Show others that the bot is `status`."""
        raise self._left_out("change_presence()")

    def query_room(self, room: str) -> Room:
        """The room of that name."""
        raise self._left_out("query_room()")

    @property
    def rooms(self) -> Any:
        """The rooms that the bot is in. Many backends have it as a method."""
        raise self._left_out("rooms")

    def _left_out(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {what}")
