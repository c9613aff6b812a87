"""Tests for the status server: its pages, and a real bot that is watched from its start to its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import time
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import LIMIT, TWISTD, Program, free_port, write_config, write_plugin
from tests.status.kit import StatusCase

SLOW = """
import threading
from errklein import BotPlugin

class Slow(BotPlugin):
    def deactivate(self):
        print("deactivating")
        threading.Event().wait(2)
        super().deactivate()
"""


class PageTests(StatusCase):
    """The pages, without sockets."""

    def test_health(self) -> None:
        """/health is 200 with "ok"."""
        self.assertEqual(self.get("/health"), (200, b"ok\n"))

    def test_nothing_else(self) -> None:
        """Other paths are 404, and the web server of plugins has none of the pages."""
        self.assertEqual(self.get("/")[0], 404)
        for path in ("/health", "/ready", "/metrics"):
            self.assertEqual(self.successResultOf(self.bot.get(path)).status, 404)


class WatchedBotTests(SynchronousTestCase):
    """A bot in a process of its own."""

    def setUp(self) -> None:
        """Start a bot whose plugin takes two seconds to stop."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory)})
        write_plugin(directory, "Slow", SLOW)
        self.port = free_port()
        status = f"tcp:{self.port}:interface=127.0.0.1"
        self.program = Program(TWISTD, "-n", "--pidfile=", "errklein", "--status", status, cwd=directory)
        self.addCleanup(self.program.kill)
        self.until(200, {})

    def get(self, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
        """Return the status and the body of the response to a GET request; (0, b"") without a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def until(self, status: int, parts: dict[str, Any], seconds: float = LIMIT) -> None:
        """Wait until /ready has the status, and these texts as parts of its parts."""
        limit = time.monotonic() + seconds
        while True:
            found, body = self.get("/ready")
            shown = json.loads(body) if body else {}
            if found == status and all(text in shown.get(part, "") for part, text in parts.items()):
                return
            self.assertLess(time.monotonic(), limit, body)

    def test_frozen_process_has_no_health(self) -> None:
        """A process that was stopped with SIGSTOP doesn't respond to /health, until it continues."""
        self.program.signal(signal.SIGSTOP)
        self.assertEqual(self.get("/health", timeout=1), (0, b""))
        self.program.signal(signal.SIGCONT)
        self.assertEqual(self.get("/health"), (200, b"ok\n"))

    def test_many_idle_connections(self) -> None:
        """100 connections stay open: a new one closes the one that has been idle for longest, so /health responds."""
        connections = [socket.create_connection(("127.0.0.1", self.port), LIMIT) for _ in range(100)]
        for connection in connections:
            self.addCleanup(connection.close)
        self.check_health(connections[0])
        for _ in range(20):
            self.assertEqual(self.get("/health"), (200, b"ok\n"))
            # Otherwise the connection that the client has closed would make room.
            connections.append(socket.create_connection(("127.0.0.1", self.port), LIMIT))
            self.addCleanup(connections[-1].close)
        with self.assertRaises(ConnectionError):
            connections[1].recv(1)
        for active in (connections[0], connections[-1]):
            self.check_health(active)

    def check_health(self, connection: socket.socket) -> None:
        """Fail unless /health is 200 on an open connection. The whole response is read."""
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        response = b""
        while not response.endswith(b"0\r\n\r\n"):
            received = connection.recv(4096)
            self.assertNotEqual(received, b"")
            response += received
        self.assertIn(b" 200 ", response)

    def test_large_body(self) -> None:
        """The body of a request is discarded, as no page has one; nothing of it is stored in a file."""
        with socket.create_connection(("127.0.0.1", self.port), LIMIT) as connection:
            connection.sendall(
                b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 2000001\r\n\r\n" + b"x" * 2_000_000
            )
            self.assertEqual(self.get("/health")[0], 200)
            for file in Path(f"/proc/{self.program.process.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if "(deleted)" in str(file.readlink()):
                        self.assertEqual(file.stat().st_size, 0)
            connection.sendall(b"x")
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 405 "))

    def test_metrics(self) -> None:
        """A running bot has metrics, those of its process among them."""
        status, body = self.get("/metrics")
        self.assertEqual(status, 200)
        for name in (
            b'errklein_plugin_state{plugin="Slow",state="active"} 1.0',
            b"process_open_fds ",
            b"process_start_time",
        ):
            self.assertIn(name, body)

    def test_full_disk_is_not_ready(self) -> None:
        """Within 5 seconds, /ready shows that the journal can't be written, and later that it can."""
        prlimit(self.program.process.pid, RLIMIT_FSIZE, (0, RLIM_INFINITY))
        self.until(503, {"journal": "journal.sqlite"}, 5)
        self.assertEqual(self.get("/health"), (200, b"ok\n"))
        prlimit(self.program.process.pid, RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))
        self.until(200, {}, 5)

    def test_stopping_process_is_not_ready(self) -> None:
        """/ready shows that the bot is stopping until it has stopped."""
        self.program.signal(signal.SIGTERM)
        self.until(503, {"phase": "the bot is stopping"}, 1)
        self.program.wait_for("deactivating")
        self.assertEqual(self.get("/health"), (200, b"ok\n"))
        self.program.wait()
        self.assertEqual(self.get("/health", timeout=1), (0, b""))
