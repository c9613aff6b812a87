"""An IRC server that a test plays by hand, without sockets and real time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import IRCBackend
from errklein.running import register_reactor_thread
from tests.networks.irc.listening import config


class ReactorClock(Clock):
    """A clock that also runs calls from threads when it advances."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        self.asked.append((function, args))

    def let_threads(self) -> None:
        while self.asked:
            function, args = self.asked.pop(0)
            function(*args)


class Transport(StringTransportWithDisconnection):
    """A transport that aborts at once."""

    def abortConnection(self) -> None:
        self.loseConnection()


class PlayedServer:
    """The endpoint of a backend, and the server behind it. `attempts` counts the attempts to connect.

    What the bot says is in `lines`, without the PINGs behind it, which are answered by `answer`.
    """

    def __init__(self) -> None:
        self.clock = ReactorClock()
        register_reactor_thread(self.clock)
        self.attempts = 0
        self.transport: Transport | None = None
        self.protocol: Any = None
        self.lines: list[str] = []
        self.pings: list[str] = []
        self._coming: Deferred[Any] | None = None
        self._factory: Any = None
        self._read = 0

    def backend(self, **settings: Any) -> IRCBackend:
        """Return a backend that connects to this server."""
        return IRCBackend(NetworkContext(self.clock, config(**settings), chance=lambda: 0.0), self)

    def connect(self, factory: Any) -> Deferred[Any]:
        """Record an attempt to connect (IStreamClientEndpoint)."""
        self.attempts += 1
        self._factory = factory
        self._coming = Deferred()
        return self._coming

    def refuse(self) -> None:
        """Refuse the connection."""
        assert self._coming is not None
        self._coming.errback(Failure(ConnectionRefusedError()))

    def accept(self) -> None:
        """Accept the connection."""
        assert self._coming is not None
        self.protocol = self._factory.buildProtocol(None)
        self.transport = Transport()
        self.transport.protocol = self.protocol
        self._read = 0
        self.protocol.makeConnection(self.transport)
        self._coming.callback(self.protocol)
        self.read()

    def read(self) -> list[str]:
        """Read all lines that the bot has written, on all connections."""
        if self.transport is not None:
            data = self.transport.value()[self._read :]
            self._read += len(data)
            for line in data.decode("utf-8").split("\r\n")[:-1]:
                (self.pings if re.match(r"PING :errklein-\d", line) else self.lines).append(line)
        return self.lines

    def take(self) -> list[str]:
        """Return the lines since the last call."""
        lines, self.lines = self.read(), []
        return lines

    def say(self, *lines: str | bytes) -> None:
        """Send lines to the bot."""
        for line in lines:
            self.protocol.dataReceived((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        self.read()

    def welcome(self, nick: str = "errklein") -> None:
        """Accept the connection and send the welcome."""
        self.accept()
        self.say(f":irc.example 001 {nick} :Welcome")

    def pass_time(self, seconds: int) -> None:
        """Advance the clock while the server replies to PINGs."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.say("PING :alive")
        self.lines = [line for line in self.lines if line != "PONG :alive"]

    def enter(self, room: str, nick: str = "errklein", *others: str) -> None:
        """Let the bot join the room, which has other occupants."""
        names = " ".join((nick, *others))
        self.say(f":{nick}!~e@host JOIN {room}", f":irc.example 353 {nick} = {room} :{names}")
        self.say(f":irc.example 366 {nick} {room} :End")

    def confirm(self) -> None:
        """Reply to the pending PINGs without advancing the clock."""
        self.read()
        while self.pings:
            self.say(f":irc.example PONG irc.example :{self.pings.pop(0).partition(':')[2]}")

    def answer(self) -> int:
        """Reply to PINGs, and advance the clock as long as more follow. Return their number."""
        answered = 0
        for _ in range(1000):
            self.read()
            if self.pings:
                answered += 1
                self.say(f":irc.example PONG irc.example :{self.pings.pop(0).partition(':')[2]}")
            elif answered and not self.pings:
                self.clock.advance(1)
                self.read()
                if not self.pings:
                    break
            else:
                break
        return answered

    def close(self) -> None:
        """Close the connection."""
        self.read()
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.pings.clear()
