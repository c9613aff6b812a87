"""A real IRC server on loopback, and a second person to talk to the bot over it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from tests import needs_network

PROGRAM = shutil.which("ngircd") or shutil.which("ngircd", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_ngircd() -> str:
    """The program; without it the test is skipped, or fails where CI says that it has to be there."""
    needs_network()
    if PROGRAM is None:
        if os.environ.get("CI"):
            raise AssertionError("ngircd is not installed, and in CI it has to be")
        raise unittest.SkipTest("ngircd is not installed; on Debian: apt-get install ngircd")
    return PROGRAM


class Ngircd:
    """An ngircd with its default limits, in the foreground; `start` it, `stop` or `kill` it, and start it again.

    `tls` is a certificate and its key, both PEM; then `tls_port` speaks TLS. `password` is the server's. Without
    `penalties` it doesn't slow down who is too fast.
    """

    def __init__(self, *, tls: tuple[bytes, bytes] | None = None, password: str = "", penalties: bool = True) -> None:
        self.program = require_ngircd()
        self.port = free_port()
        self.tls_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="ngircd-"))
        self.directory.chmod(0o755)
        self.configuration = self.directory / "ngircd.conf"
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

    def start(self) -> None:
        """Start the server. It accepts connections a few milliseconds later; see `wait_until_up`."""
        self.process = subprocess.Popen(
            [self.program, "-n", "-f", str(self.configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_up(self) -> bool:
        """Whether it accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def wait_until_up(self, reactor: object) -> None:
        """Return as soon as the server accepts connections; raises AssertionError if it ends or takes too long."""
        for _ in range(500):
            assert self.process is not None and self.process.poll() is None, "ngircd has ended"
            if self.is_up():
                return
            await deferLater(reactor, 0.02)
        raise AssertionError("ngircd doesn't accept connections")

    def kill(self) -> None:
        """As a crash: no good-bye to anybody."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self, frozen: bool = True) -> None:
        """As a half-open connection: everything stays connected, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(19 if frozen else 18)

    def stop(self) -> None:
        """End it, and remove what it needed."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Line:
    """A line from the server, taken apart."""

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
    """Somebody with a very small client. `lines` is all that was heard; `said` the texts of PRIVMSG and NOTICE."""

    delimiter = b"\r\n"

    def __init__(self, nick: str) -> None:
        self.nick = nick
        self.lines: list[Line] = []
        self.closed = False
        self._waiting: list[tuple[Callable[[Line], bool], Deferred[Line]]] = []
        self._ended: Deferred[None] | None = None

    @property
    def said(self) -> list[str]:
        """What was said to this person, or in a room."""
        return [line.params[1] for line in self.lines if line.command in ("PRIVMSG", "NOTICE") and line.nick]

    def connectionMade(self) -> None:
        """Log in."""
        self.send(f"NICK {self.nick}", f"USER {self.nick} 0 * :{self.nick}")

    def send(self, *lines: str | bytes) -> None:
        """Send lines as they are."""
        for line in lines:
            self.transport.write((line if isinstance(line, bytes) else line.encode()) + b"\r\n")

    def lineReceived(self, data: bytes) -> None:
        """A line from the server."""
        line = Line(data.decode("utf-8", "replace"))
        if line.command == "PING":
            self.send(f"PONG :{line.params[-1]}")
        self.lines.append(line)
        for entry in [entry for entry in self._waiting if entry[0](line)]:
            self._waiting.remove(entry)
            entry[1].callback(line)

    def wait_for(self, *wanted: str, seen: bool = True) -> Deferred[Line]:
        """The first line that contains all of `wanted`, of those heard already too if `seen`."""

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
        """Whoever still waits, waits in vain."""
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
    """A new person who is in the rooms."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    factory = Factory.forProtocol(lambda: Person(nick))
    factory.noisy = False
    person: Person = await endpoint.connect(factory)
    await person.wait_for(f" 001 {nick} ")
    for room in rooms:
        person.send(f"JOIN {room}")
        await person.wait_for(" 366 ", room)
    return person
