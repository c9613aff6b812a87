"""The control socket: who may use it, and for which operations."""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands.operations import Actor, operation
from errklein.config import ConfigError
from errklein.service import DataDirectory
from errklein.service.control import ControlSocket, control_address, control_sockets


@dataclass(frozen=True)
class Sum:
    """The result of an operation."""

    by: str
    total: int
    path: Path


class Parts:
    """A part of a bot with operations."""

    @operation("add", "numbers")
    async def add(self, by: Actor, numbers: list[int]) -> Sum:
        """Return the sum."""
        return Sum(by.name, sum(numbers), Path("/sums"))

    @operation("fail")
    async def fail_with(self, by: Actor, text: str, is_own: bool) -> None:
        """Raise an exception."""
        raise ConfigError(text) if is_own else ZeroDivisionError(text)

    @operation("block")
    def block(self, by: Actor) -> None:
        """Block."""

    async def unmarked(self, by: Actor) -> None:
        """Do something that no operation is."""


class Host:
    """A bot."""

    parts = Parts()

    def by(self, name: str, way: str, reads_details: bool) -> Actor:
        """Return who performs an operation."""
        return Actor(f"{name}, by {way}", reads_details)


class Transport(StringTransport):
    """A connection of a process of some user."""

    uid = os.geteuid()

    def getHandle(self) -> Any:
        """Return what has the credentials."""
        return self

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Return the credentials."""
        return struct.pack("iII", 1, self.uid, 0)


class RequestTests(SynchronousTestCase):
    """Requests and responses."""

    def perform(self, name: str, uid: int | None = None, **arguments: object) -> Any:
        """Return the response to a request."""
        connection: Any = ControlSocket(MemoryReactor(), DataDirectory(Path()), Host()).buildProtocol(None)  # type: ignore[arg-type]
        transport = Transport()
        transport.uid = os.geteuid() if uid is None else uid
        connection.makeConnection(transport)
        connection.dataReceived(json.dumps({"operation": name, "arguments": arguments}).encode() + b"\n")
        self.assertTrue(transport.disconnecting)
        return json.loads(transport.value())

    def test_result(self) -> None:
        """The result is JSON, and the operation knows who has asked."""
        result = self.perform("parts.add", numbers=[1, 2])["result"]
        self.assertEqual((result["total"], result["path"]), (3, "/sums"))
        self.assertTrue(result["by"].endswith(" on the command line, by shell"))

    def test_error(self) -> None:
        """errklein's own errors are passed on; others are logged, too."""
        self.assertEqual(self.perform("parts.fail_with", text="no", is_own=True), {"error": "no"})
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.perform("parts.fail_with", text="no", is_own=False), {"error": "no"})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_operations_only(self) -> None:
        """What isn't marked as an operation, or may block, is unknown."""
        for name in ("parts.unmarked", "parts.block", "parts.no_such", "no_such.add", "parts", "", "parts.__class__"):
            self.assertIn("unknown operation", self.perform(name)["error"], name)

    def test_other_owner(self) -> None:
        """A process that doesn't own the plugins names the one that does."""
        control = ControlSocket(MemoryReactor(), DataDirectory(Path()), Host())  # type: ignore[arg-type]
        control.elsewhere = lambda: "a.example.net:4711"
        connection: Any = control.buildProtocol(None)
        transport = Transport()
        connection.makeConnection(transport)
        connection.dataReceived(b'{"operation": "parts.add", "arguments": {"numbers": [1]}}\n')
        self.assertEqual(json.loads(transport.value()), {"elsewhere": "a.example.net:4711"})

    def test_users(self) -> None:
        """Only the bot's user and root may use it."""
        self.assertIn("result", self.perform("parts.add", uid=0, numbers=[]))
        for uid in (os.geteuid() + 1, 4294967294):
            self.assertIn("only ", self.perform("parts.add", uid=uid, numbers=[])["error"])


class FileTests(SynchronousTestCase):
    """The socket's file."""

    def test_without_sockets(self) -> None:
        """Where no socket can be made, the bot starts nevertheless."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "control.sock").mkdir()
        control = ControlSocket(MemoryReactor(), DataDirectory(directory), Host())  # type: ignore[arg-type]
        control.open()
        self.assertTrue((directory / "control.sock").is_dir())

    def test_shared_directory(self) -> None:
        """Each process that shares the directory has a socket of its own, and removes those of killed ones."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name in ("control-1.sock", "control-2.sock"):
            with control_address(directory, name) as address, socket.socket(socket.AF_UNIX) as server:
                server.bind(address)
                if name == "control-2.sock":
                    server.listen()
                    self.addCleanup(os.close, os.dup(server.fileno()))
        reactor = MemoryReactor()
        ControlSocket(reactor, DataDirectory(directory, is_shared=True), Host()).open()  # type: ignore[arg-type]
        self.assertEqual(control_sockets(directory), ["control-2.sock"])
        self.assertTrue(reactor.unixServers[0][0].endswith(f"/control-{os.getpid()}.sock"))

    def test_address(self) -> None:
        """The address has at most 107 bytes, whatever the path is."""
        directory = Path(self.mktemp()).absolute()
        for length in (10, 200):
            data = directory / ("é" * (length // 2))
            data.mkdir(parents=True)
            with control_address(data) as address:
                self.assertLess(len(os.fsencode(address)), 108)
                self.assertEqual(os.path.realpath(address), os.path.realpath(data / "control.sock"))
