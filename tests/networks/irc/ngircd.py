"""A real IRC server on loopback, and a client for a second person."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from tests.server_program import ServerProgram, free_port


class Ngircd(ServerProgram):
    """An ngircd with its default limits.

    With `tls`, a certificate and its key in PEM format, it also listens on `tls_port`. `password` is the server's password.
    Without `penalties` it doesn't delay clients that send too fast.
    """

    def __init__(self, *, tls: tuple[bytes, bytes] | None = None, password: str = "", penalties: bool = True) -> None:
        super().__init__("ngircd")
        self.tls_port = free_port()
        self.configuration.write_text(self._configured(tls, password, penalties))
        self.configuration.chmod(0o644)

    def _configured(self, tls: tuple[bytes, bytes] | None, password: str, penalties: bool) -> str:
        user = "ServerUID = irc\nServerGID = irc\n" if os.getuid() == 0 else ""
        text = (
            f"[Global]\nName = irc.test.local\nInfo = tests\nAdminEMail = root@localhost\n"
            f"Listen = 127.0.0.1\nPorts = {self.port}\n{user}"
            + (f"Password = {password}\n" if password else "")
            + "[Limits]\nMaxConnectionsIP = 0\n"
            + ("" if penalties else "MaxPenaltyTime = 0\n")
            + "[Options]\nDNS = no\nIdent = no\nPAM = no\n"
        )
        if tls is not None:
            for name, content in zip(("cert.pem", "key.pem"), tls, strict=True):
                (self.directory / name).write_bytes(content)
                # The key is worth nothing, and the server reads it as another user.
                (self.directory / name).chmod(0o644)
            text += (
                f"[SSL]\nCertFile = {self.directory}/cert.pem\nKeyFile = {self.directory}/key.pem\n"
                f"Ports = {self.tls_port}\n"
            )
        return text

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        return "-n", "-f", str(self.configuration)


class Line:
    """A parsed line of the server."""

    def __init__(self, text: str) -> None:
        prefix, rest = "", text
        if text.startswith(":"):
            prefix, _, rest = text[1:].partition(" ")
        words, colon, trailing = rest.partition(" :")
        self.text = text
        self.nick = prefix.partition("!")[0]
        self.command, *self.params = words.split()
        if colon:
            self.params.append(trailing)

    def __repr__(self) -> str:
        return f"<{self.text}>"


class Person(LineOnlyReceiver):
    """A person with a minimal client. `lines` has all lines received, `texts` the texts of PRIVMSG and NOTICE."""

    delimiter = b"\r\n"

    def __init__(self, nick: str) -> None:
        self.nick = nick
        self.lines: list[Line] = []
        self.closed = False
        self._waiting: list[tuple[Callable[[Line], bool], Deferred[Line]]] = []
        self._ended: Deferred[None] | None = None

    @property
    def texts(self) -> list[str]:
        """Return the texts that this person received, in private or in a room."""
        return [line.params[1] for line in self.lines if line.command in ("PRIVMSG", "NOTICE") and line.nick]

    def connectionMade(self) -> None:
        """Register with the server."""
        self.send(f"NICK {self.nick}", f"USER {self.nick} 0 * :{self.nick}")

    def send(self, *lines: str | bytes) -> None:
        """Send lines unchanged."""
        for line in lines:
            self.transport.write((line if isinstance(line, bytes) else line.encode()) + b"\r\n")

    def lineReceived(self, data: bytes) -> None:
        """Record a line."""
        line = Line(data.decode("utf-8", "replace"))
        if line.command == "PING":
            self.send(f"PONG :{line.params[-1]}")
        self.lines.append(line)
        for entry in [entry for entry in self._waiting if entry[0](line)]:
            self._waiting.remove(entry)
            entry[1].callback(line)

    def wait_for(self, *wanted: str, seen: bool = True) -> Deferred[Line]:
        """Return the first line that contains all of `wanted`; with `seen`, among those received already too."""

        def matches(line: Line) -> bool:
            return all(text in line.text for text in wanted)

        for line in self.lines if seen else []:
            if matches(line):
                found: Deferred[Line] = Deferred()
                found.callback(line)
                return found
        coming: Deferred[Line] = Deferred()
        self._waiting.append((matches, coming))
        return coming

    def connectionLost(self, reason: Failure) -> None:
        """Fail the waiting Deferreds."""
        self.closed = True
        for _, waiting in self._waiting:
            waiting.errback(reason)
        self._waiting.clear()
        if self._ended is not None:
            self._ended.callback(None)

    def leave(self) -> Deferred[None]:
        """Close the connection."""
        ended: Deferred[None] = Deferred()
        if self.closed:
            ended.callback(None)
        else:
            self._ended = ended
            self.transport.abortConnection()
        return ended


async def join(reactor: object, port: int, nick: str, *rooms: str) -> Person:
    """Return a new person who has joined the rooms."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    factory = Factory.forProtocol(lambda: Person(nick))
    factory.noisy = False
    person: Person = await endpoint.connect(factory)
    await person.wait_for(f" 001 {nick} ")
    for room in rooms:
        person.send(f"JOIN {room}")
        await person.wait_for(" 366 ", room)
    return person
