"""Base class for servers that tests run as programs on loopback: IRC servers and proxies."""

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
    """Return a port on loopback that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_program(name: str, package: str = "") -> str:
    """Return the path of the program. Its Debian package has the same name unless another one is given.

    If it isn't installed, the test is skipped, or fails if the environment variable CI is set.
    """
    needs_network()
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("CI"):
            raise AssertionError(f"{name} is not installed, but CI requires it")
        raise unittest.SkipTest(f"{name} is not installed; on Debian: apt-get install {package or name}")
    return program


class ServerProgram:
    """The program `name` in the foreground, with a configuration file. It can be stopped, killed and started again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.program = require_program(name)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.directory.chmod(0o755)
        self.configuration = self.directory / "configuration"

    def arguments(self) -> Sequence[str]:
        """Return the program's arguments."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server. It accepts connections a few milliseconds later; see `wait_until_up`."""
        self.process = subprocess.Popen(
            [self.program, *self.arguments()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_up(self) -> bool:
        """Return whether the server accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def wait_until_up(self, reactor: object) -> None:
        """Wait until the server accepts connections; raises AssertionError if it ends or takes too long."""
        for _ in range(500):
            assert self.process is not None and self.process.poll() is None, f"{self.name} has ended"
            if self.is_up():
                return
            await deferLater(reactor, 0.02)
        raise AssertionError(f"{self.name} doesn't accept connections")

    def kill(self) -> None:
        """Kill the server, as in a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self, frozen: bool = True) -> None:
        """Suspend the server: connections stay open, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(19 if frozen else 18)

    def stop(self) -> None:
        """Stop the server, and remove its files."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
