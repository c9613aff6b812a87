"""An IRC network that a test plays by hand: no sockets, no time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from errklein.backends.irc import IRCBackend
from tests.backends.irc.listening import config


class ReactorClock(Clock):
    """A clock that does what threads ask for when it is told to."""

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
    """Aborts at once."""

    def abortConnection(self) -> None:
        self.loseConnection()


class PlayedServer:
    """The endpoint of a backend, and the server behind it. `attempts` counts connections that were asked for.

    What the bot says is in `lines`, without the PINGs behind it, which are answered by `answer`.
    """

    def __init__(self) -> None:
        self.clock = ReactorClock()
        self.attempts = 0
        self.transport: Transport | None = None
        self.protocol: Any = None
        self.lines: list[str] = []
        self.pings: list[str] = []
        self._coming: Deferred[Any] | None = None
        self._factory: Any = None
        self._read = 0

    def backend(self, **settings: Any) -> IRCBackend:
        """A backend that has this server."""
        return IRCBackend(self.clock, config(**settings), endpoint=self, chance=lambda: 0.0)

    def connect(self, factory: Any) -> Deferred[Any]:
        """IStreamClientEndpoint."""
        self.attempts += 1
        self._factory = factory
        self._coming = Deferred()
        return self._coming

    def refuse(self) -> None:
        """Nobody listens."""
        assert self._coming is not None
        self._coming.errback(Failure(ConnectionRefusedError()))

    def accept(self) -> None:
        """The connection is made."""
        assert self._coming is not None
        self.protocol = self._factory.buildProtocol(None)
        self.transport = Transport()
        self.transport.protocol = self.protocol
        self._read = 0
        self.protocol.makeConnection(self.transport)
        self._coming.callback(self.protocol)
        self.read()

    def read(self) -> list[str]:
        """All lines that the bot has written, on all connections."""
        if self.transport is not None:
            data = self.transport.value()[self._read :]
            self._read += len(data)
            for line in data.decode("utf-8").split("\r\n")[:-1]:
                (self.pings if re.match(r"PING :errklein-\d", line) else self.lines).append(line)
        return self.lines

    def take(self) -> list[str]:
        """The lines since the last time."""
        lines, self.lines = self.read(), []
        return lines

    def say(self, *lines: str | bytes) -> None:
        """The server says these lines."""
        for line in lines:
            self.protocol.dataReceived((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        self.read()

    def welcome(self, nick: str = "errklein") -> None:
        """The connection is made, and the bot let in."""
        self.accept()
        self.say(f":irc.example 001 {nick} :Welcome")

    def pass_time(self, seconds: int) -> None:
        """Let time pass on a connection that lives."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.say("PING :alive")
        self.lines = [line for line in self.lines if line != "PONG :alive"]

    def enter(self, room: str, nick: str = "errklein", *others: str) -> None:
        """The bot is let into the room, where others are."""
        names = " ".join((nick, *others))
        self.say(f":{nick}!~e@host JOIN {room}", f":irc.example 353 {nick} = {room} :{names}")
        self.say(f":irc.example 366 {nick} {room} :End")

    def confirm(self) -> None:
        """Answer the PINGs that are there, without letting time pass."""
        self.read()
        while self.pings:
            self.say(f":irc.example PONG irc.example :{self.pings.pop(0).partition(':')[2]}")

    def answer(self) -> int:
        """Answer the PINGs behind lines, as long as there are any and time has to pass for more. How many there were."""
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
        """The server is gone."""
        self.read()
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.pings.clear()
