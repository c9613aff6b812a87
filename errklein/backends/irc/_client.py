"""Twisted's IRC client, mended.

IRCClient raises on bytes that aren't UTF-8 and on lines that it can't parse, makes lines that are too long, answers
every CTCP request as fast as anybody asks, and runs its heartbeat on the global reactor without ever missing an answer.
Importing this module imports the reactor.
"""

from __future__ import annotations

import re
from typing import cast

from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols import irc

from errklein.backends.irc._line_encoding import decode_line, encode_line

# Of message tags: https://ircv3.net/specs/extensions/message-tags.
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {":": ";", "s": " ", "r": "\r", "n": "\n"}


class RobustIRCClient(irc.IRCClient):
    """An IRC client that survives any input from the server, and closes connections on which nothing arrives any more.

    `reason` is the reason for closing the connection, or the server's own in its ERROR. `tags` are the message tags of the
    line that is being handled.
    """

    log = Logger()

    heartbeatInterval = None  # type: ignore[assignment]  # documented so

    PING_AFTER = 20.0
    """Seconds of silence after which the server is asked whether it is still there."""

    DEAD_AFTER = 45.0
    """Seconds of silence after which the connection is given up."""

    def __init__(self, reactor: IReactorTime) -> None:
        self.reason = ""
        self.tags: dict[str, str] = {}
        self.clock = reactor
        self._last_received = 0.0
        self._pinged = False
        self._watch = LoopingCall(self.check_alive)
        self._watch.clock = reactor

    def connectionMade(self) -> None:
        """Log in, and listen for silence."""
        self._last_received = self.clock.seconds()
        self._watch.start(5.0, now=False)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop listening."""
        if self._watch.running:
            self._watch.stop()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def abort(self, reason: str) -> None:
        """Drop the connection without waiting for anything."""
        self.reason = self.reason or reason
        cast(ITCPTransport, self.transport).abortConnection()

    def check_alive(self) -> None:
        """Called every 5 s."""
        silent = self.clock.seconds() - self._last_received
        if silent >= self.DEAD_AFTER:
            self.abort(f"nothing was heard from the server for {silent:.0f} s")
        elif silent >= self.PING_AFTER and not self._pinged:
            self._pinged = True
            self.sendLine("PING :errklein-alive")

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the server."""
        self._last_received = self.clock.seconds()
        self._pinged = False
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """A line from the server, whatever it may contain."""
        self.tags = {}
        if line.startswith(b"@"):
            # Tags are UTF-8; the rest of the line may be in another encoding.
            tags, _, line = line[1:].partition(b" ")
            self.tags = parse_tags(decode_line(tags))
            line = line.lstrip(b" ")
        text = decode_line(line).replace("\x00", "")
        try:
            prefix, command, params = irc.parsemsg(text)
        except (irc.IRCBadMessage, ValueError, IndexError):
            return
        if command.isdigit():
            self.numeric_received(command, params)
        self.handleCommand(irc.numeric_to_symbolic.get(command, command), prefix, params)

    def numeric_received(self, number: str, params: list[str]) -> None:
        """An answer of the server by its number, before the method that is named after it."""

    def handleCommand(self, command: str, prefix: str, params: list[str]) -> None:
        """Call the method for the command. A line that lacks what its command needs is ignored."""
        method = getattr(self, f"irc_{command}", None)
        if method is None:
            return
        try:
            method(prefix, params)
        except (IndexError, ValueError) as error:
            self.log.debug("{command} from the server makes no sense: {error}", command=command, error=error)
        except Exception:
            self.log.failure("{command} from the server could not be handled", command=command)

    def sendLine(self, line: str) -> None:
        """Write one line, of at most 512 bytes; all but what is said to people goes this way."""
        self.write_lines(encode_line(line))

    def write_lines(self, *lines: bytes) -> None:
        """Write encode_line lines, in one go."""
        if self.transport is not None:
            self.transport.write(b"".join(line + b"\r\n" for line in lines))

    def irc_PING(self, prefix: str, params: list[str]) -> None:
        """The server wants to know whether the bot is there."""
        self.sendLine(f"PONG :{params[-1]}")

    def irc_MODE(self, prefix: str, params: list[str]) -> None:
        """Modes mean nothing to a bot, and Twisted's parser logs errors about those that it doesn't know."""

    def irc_PRIVMSG(self, prefix: str, params: list[str]) -> None:
        """Somebody says something. Of CTCP only actions are heard; nothing is answered by itself."""
        target, text = params[0], params[1]
        if text.startswith("\x01"):
            tag, _, text = text.strip("\x01").partition(" ")
            if tag == "ACTION":
                self.message_received(prefix, target, text, "action")
        elif text:
            self.message_received(prefix, target, text, "message")

    def irc_NOTICE(self, prefix: str, params: list[str]) -> None:
        """Somebody says something that nobody should answer by itself."""
        target, text = params[0], params[1]
        if text and not text.startswith("\x01"):
            self.message_received(prefix, target, text, "notice")

    def message_received(self, sender: str, target: str, text: str, kind: str) -> None:
        """`sender`, a mask, said something; `kind` is "message", "notice" or "action"."""


def parse_tags(text: str) -> dict[str, str]:
    r"""The tags of a message by key, from the text between "@" and the space.

    The value of a tag without one is "". If a key occurs twice, the last value counts. An invalid escape such as `\b` yields
    the character after the backslash; a backslash at the end is dropped.
    """
    tags = {}
    for tag in text.split(";"):
        key, _, value = tag.partition("=")
        if key:
            tags[key] = (
                _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), value) if "\\" in value else value
            )
    return tags
