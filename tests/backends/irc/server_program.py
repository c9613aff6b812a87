"""A program that is an IRC server on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.task import deferLater

from tests import needs_network


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_program(name: str) -> str:
    """The path of the program, whose package in Debian has the same name; without it the test is skipped, or fails where
    CI says that it has to be there."""
    needs_network()
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("CI"):
            raise AssertionError(f"{name} is not installed, and in CI it has to be")
        raise unittest.SkipTest(f"{name} is not installed; on Debian: apt-get install {name}")
    return program


class ServerProgram:
    """The program `name` in the foreground, which reads `configuration`; `start` it, `stop` or `kill` it, start it again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.program = require_program(name)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.directory.chmod(0o755)
        self.configuration = self.directory / "configuration"

    def arguments(self) -> Sequence[str]:
        """The program's command line."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server. It accepts connections a few milliseconds later; see `wait_until_up`."""
        self.process = subprocess.Popen(
            [self.program, *self.arguments()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_up(self) -> bool:
        """Whether it accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def wait_until_up(self, reactor: object) -> None:
        """Return as soon as the server accepts connections; raises AssertionError if it ends or takes too long."""
        for _ in range(500):
            assert self.process is not None and self.process.poll() is None, f"{self.name} has ended"
            if self.is_up():
                return
            await deferLater(reactor, 0.02)
        raise AssertionError(f"{self.name} doesn't accept connections")

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
