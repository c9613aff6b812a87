"""A robust base class for IRC connections, on top of Twisted's IRCClient.

IRCClient raises for bytes that aren't UTF-8 and for lines that it can't parse, sends lines that are too long, and replies
to CTCP requests without a limit. Its heartbeat runs on the global reactor, and doesn't detect a silent server. This class
replaces these parts.

Importing this module imports the reactor.
"""

from __future__ import annotations

import re
import socket
from typing import cast

from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols import irc

from errklein.backends.irc._line_encoding import decode_line, encode_line

_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ACKNOWLEDGE: int | None = getattr(socket, "TCP_QUICKACK", None)
"""The option that acknowledges data at once; None if the system has none."""

_ESCAPED = {":": ";", "s": " ", "r": "\r", "n": "\n"}


class RobustIRCClient(irc.IRCClient):
    """An IRC client that ignores invalid input from the server, and closes connections on which nothing arrives.

    `reason` is the reason for closing the connection: this client's, or that of the server's ERROR. `tags` are the message
    tags of the line being handled.
    """

    log = Logger()

    heartbeatInterval = None  # type: ignore[assignment]  # None turns Twisted's heartbeat off

    PING_AFTER = 20.0
    """Seconds of silence after which a PING is sent."""

    DEAD_AFTER = 45.0
    """Seconds of silence after which the connection is closed."""

    def __init__(self, reactor: IReactorTime) -> None:
        self.reason = ""
        self.tags: dict[str, str] = {}
        self.clock = reactor
        self._last_received = 0.0
        self._pinged = False
        self._watch = LoopingCall(self.check_alive)
        self._watch.clock = reactor
        self._socket: socket.socket | None = None

    def connectionMade(self) -> None:
        """Register with the server, and start watching for silence."""
        self._last_received = self.clock.seconds()
        self._socket = _tcp_socket(self.transport)
        if self._socket is not None:
            # With Nagle's algorithm (RFC 896), a line would wait until the server has acknowledged the one before, up to 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch.start(5.0, now=False)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop watching for silence."""
        if self._watch.running:
            self._watch.stop()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def abort(self, reason: str) -> None:
        """Close the connection at once. `reason` is kept unless there is one already."""
        self.reason = self.reason or reason
        cast(ITCPTransport, self.transport).abortConnection()

    def check_alive(self) -> None:
        """Send a PING, or close the connection, after a long silence. Called every 5 s."""
        silent = self.clock.seconds() - self._last_received
        if silent >= self.DEAD_AFTER:
            self.abort(f"nothing was received from the server for {silent:.0f} s")
        elif silent >= self.PING_AFTER and not self._pinged:
            self._pinged = True
            self.sendLine("PING :errklein-alive")

    def dataReceived(self, data: bytes) -> None:
        """Note the time, and acknowledge and handle the bytes."""
        if self._socket is not None and _ACKNOWLEDGE is not None:
            # The kernel would wait up to 40 ms for something to send with the acknowledgement, and a server with Nagle's
            # algorithm sends the next command only after it. Replies such as PONG are answered with nothing.
            self._socket.setsockopt(socket.IPPROTO_TCP, _ACKNOWLEDGE, 1)
        self._last_received = self.clock.seconds()
        self._pinged = False
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """Parse a line and call its handler. An invalid line is ignored."""
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
        if command.isdigit() and params:
            self.numeric_received(command, params)
        self.handleCommand(irc.numeric_to_symbolic.get(command, command), prefix, params)

    def numeric_received(self, number: str, params: list[str]) -> None:
        """Handle a numeric reply; called before the method for that reply."""

    def handleCommand(self, command: str, prefix: str, params: list[str]) -> None:
        """Call the method for the command. A line that lacks what its command needs is ignored."""
        method = getattr(self, f"irc_{command}", None)
        if method is None:
            return
        try:
            method(prefix, params)
        except (IndexError, ValueError) as error:
            self.log.debug("{command} from the server is invalid: {error}", command=command, error=error)
        except Exception:
            self.log.failure("Handling {command} from the server failed", command=command)

    def sendLine(self, line: str) -> None:
        """Write one line, truncated to 512 bytes. Used for all lines except messages to people and rooms."""
        self.write_lines(encode_line(line))

    def write_lines(self, *lines: bytes) -> None:
        """Write lines that `encode_line` has returned, in one call."""
        if self.transport is not None:
            self.transport.write(b"".join(line + b"\r\n" for line in lines))

    def irc_PING(self, prefix: str, params: list[str]) -> None:
        """Reply with PONG."""
        self.sendLine(f"PONG :{params[-1]}")

    def irc_MODE(self, prefix: str, params: list[str]) -> None:
        """Ignore modes. Twisted's parser logs errors for modes that it doesn't know."""

    def irc_PRIVMSG(self, prefix: str, params: list[str]) -> None:
        """Report a message. Of CTCP requests only ACTION is supported; the others are ignored."""
        target, text = params[0], params[1]
        if text.startswith("\x01"):
            tag, _, text = text.strip("\x01").partition(" ")
            if tag == "ACTION":
                self.message_received(prefix, target, text, "action")
        elif text:
            self.message_received(prefix, target, text, "message")

    def irc_NOTICE(self, prefix: str, params: list[str]) -> None:
        """Report a notice. Replies to CTCP requests are ignored."""
        target, text = params[0], params[1]
        if text and not text.startswith("\x01"):
            self.message_received(prefix, target, text, "notice")

    def message_received(self, sender: str, target: str, text: str, kind: str) -> None:
        """Handle a message from the mask `sender`; `kind` is "message", "notice" or "action"."""


def _tcp_socket(transport: object) -> socket.socket | None:
    """Return the TCP socket of a connection, also below TLS; None if it has none."""
    get_handle = getattr(getattr(transport, "transport", transport), "getHandle", None)
    handle = None if get_handle is None else get_handle()
    is_tcp = isinstance(handle, socket.socket) and handle.family in (socket.AF_INET, socket.AF_INET6)
    return handle if is_tcp else None


def parse_tags(text: str) -> dict[str, str]:
    r"""Return the message tags by key, from the text between "@" and the first space.

    A tag without a value has the value "". If a key occurs twice, the last value counts. An invalid escape such as `\b`
    yields the character after the backslash; a backslash at the end is dropped. Source:
    https://ircv3.net/specs/extensions/message-tags.
    """
    tags = {}
    for tag in text.split(";"):
        key, _, value = tag.partition("=")
        if key:
            tags[key] = (
                _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), value) if "\\" in value else value
            )
    return tags
