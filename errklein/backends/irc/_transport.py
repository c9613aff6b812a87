"""The rules of IRC that the outbox needs: lines, their pace and their transmission."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail

from errklein.backends.irc._line_encoding import split_lines, text_capacity
from errklein.backends.irc._nickname import nicks
from errklein.backends.irc._rate_limiter import IRCRateLimiter
from errklein.backends.irc._transmission import WINDOW, MessageLine
from errklein.backends.irc.settings import IRCSettings
from errklein.backends.outbox import NotConfirmed
from errklein.chat import Message
from errklein.chat.outgoing import OutgoingMessage
from errklein.text import PARTS_CAP, at_most, estimated_parts

if TYPE_CHECKING:
    from errklein.backends.irc._protocol import IRCProtocol

_LEAST_ROOM = 64
"""The minimum number of bytes for text in a line. Names that servers allow leave more."""

_LOOK_AGAIN = 0.1
"""Seconds after which to ask again whether the server has caught up. The outbox also asks when a line is confirmed."""


class IRCTransport:
    """Splits messages into lines, and sends them at the pace of the server. Implements `outbox.Transport`.

    :param render: Converts Markdown to text with IRC formatting codes.
    :param limiter: The rate limits.
    :param protocol: Returns the current connection, or None.
    """

    window = WINDOW

    def __init__(
        self,
        settings: IRCSettings,
        render: Callable[[str], str],
        limiter: IRCRateLimiter,
        protocol: Callable[[], IRCProtocol | None],
    ) -> None:
        self._settings = settings
        self._render = render
        self._limiter = limiter
        self._protocol = protocol
        # The current nick has no influence, so that a message has the same lines after a reconnection or a restart.
        nick = max(nicks(settings.nickname), key=len)
        self._room = lru_cache(256)(partial(text_capacity, nick, settings.username))
        self._more_follow = False
        self._is_closing = False

    def estimate(self, body: str) -> int:
        """Return approximately how many lines a text has."""
        return estimated_parts(body, self._settings.message_size_limit)

    def split(self, message: OutgoingMessage, original: Message | None = None) -> Sequence[MessageLine]:
        """Return the lines of a message. Raises ValueError as `text_size`."""
        command = command_of(json.loads(message.details)) if message.details else "PRIVMSG"
        size = self.text_size(command, message.recipient)
        text = self._render(message.body)
        longest = PARTS_CAP * size
        lines = at_most(split_lines(text[:longest], size), cut=len(text) > longest)
        return [MessageLine(command, message.recipient, line) for line in lines]

    def text_size(self, command: str, target: str) -> int:
        """Return the number of bytes of text in a line; raises ValueError if the name of the target is too long."""
        room = self._room(command, target)
        if room < _LEAST_ROOM:
            raise ValueError(f"the name {target[:20]}… is too long: it leaves no room for text in a line of 512 bytes")
        return min(room, self._settings.message_size_limit)

    def wait_for(self, recipient: str) -> float:
        """Return 0.0 if a line may be sent to the recipient now, and count it; else the seconds after which to ask again."""
        protocol = self._protocol()
        is_behind = protocol is not None and protocol.transmission.is_behind
        wait = _LOOK_AGAIN if is_behind else self._limiter.take(recipient)
        # At a pace that is much slower than the server's, a PING for each line does no harm.
        self._more_follow = 0 < wait <= 2 * self._limiter.interval and not self._is_closing
        return wait

    def transmit(self, parts: Sequence[MessageLine]) -> Sequence[Deferred[None]]:
        """Send lines; see `Transmission.transmit`."""
        protocol = self._protocol()
        if protocol is None:
            return [fail(NotConfirmed(f"{self._settings.network} is not connected")) for _ in parts]
        return protocol.transmission.transmit(parts, self._more_follow)

    def confirm_all(self) -> None:
        """Let the server confirm all lines at once, also those that follow, since the connection is closed soon."""
        self._is_closing = True
        self._more_follow = False
        protocol = self._protocol()
        if protocol is not None:
            protocol.transmission.ask()


def command_of(details: dict[str, bool]) -> str:
    """Return NOTICE or PRIVMSG, by the extras of a message."""
    return "NOTICE" if details.get("notice") else "PRIVMSG"
