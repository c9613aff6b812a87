"""The command `errklein healthcheck`."""

from __future__ import annotations

import io
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.cli import _control
from tests import needs_network
from tests.processes import ERRKLEIN, Program, free_port, run, write_config


class Unwell(BaseHTTPRequestHandler):
    """A server that responds with 503."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b"something else\n")

    def log_message(self, *args: object) -> None:
        """Do nothing."""


class HealthcheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make a directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def check(self, *arguments: str) -> tuple[int, str]:
        """Return the exit status, and the line that is printed."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", out)
        status = cli.main(["healthcheck", *arguments])
        return status, out.getvalue()

    def test_running_bot(self) -> None:
        """The status is 0 while the bot of the configuration runs, and 1 before and afterwards."""
        endpoint = f"tcp:{free_port()}"
        write_config(self.directory, {"STATUS": endpoint})
        refused = f"errklein: no response from {endpoint}: Connection refused\n"
        before = run(ERRKLEIN, "healthcheck", cwd=self.directory)
        self.assertEqual((before.returncode, before.stdout, before.stderr), (1, "", refused))
        bot = Program(ERRKLEIN, "run", cwd=self.directory)
        self.addCleanup(bot.kill)
        bot.wait_for(endpoint)
        running = run(ERRKLEIN, "healthcheck", cwd=self.directory)
        self.assertEqual((running.returncode, running.stdout, running.stderr), (0, f"{endpoint}: ok\n", ""))
        bot.signal(signal.SIGTERM)
        bot.wait()
        self.assertEqual(run(ERRKLEIN, "healthcheck", cwd=self.directory).stderr, refused)

    def test_unix_socket(self) -> None:
        """The endpoint may be a Unix socket."""
        # The path of a socket has at most 107 characters.
        path = Path(self.directory.relative_to(Path.cwd()), "s")
        write_config(self.directory, {})
        bot = Program(ERRKLEIN, "run", "--status", f"unix:{path.name}", cwd=self.directory)
        self.addCleanup(bot.kill)
        bot.wait_for(f"unix:{path.name}")
        self.assertEqual(self.check("--status", f"unix:{path}"), (0, f"unix:{path}: ok\n"))

    def test_another_program(self) -> None:
        """A response of another status isn't one of a bot that works."""
        needs_network()
        server = HTTPServer(("127.0.0.1", 0), Unwell)
        self.addCleanup(server.server_close)
        thread = Thread(target=server.handle_request)
        thread.start()
        self.addCleanup(thread.join)
        endpoint = f"tcp:port={server.server_port}:interface=127.0.0.1"
        self.assertEqual(
            self.check("--status", endpoint), (1, f"errklein: {endpoint} responds with 503: something else\n")
        )

    def test_bot_that_hangs(self) -> None:
        """Without a response in time, the status is 1."""
        needs_network()
        self.patch(_control, "HEALTH_TIMEOUT", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = f"tcp:{server.getsockname()[1]}"
            self.assertEqual(
                self.check("--status", endpoint), (1, f"errklein: no response from {endpoint}: timed out\n")
            )

    def test_nothing_to_ask(self) -> None:
        """Without STATUS, and for an endpoint that can't be asked, the line says what to do."""
        write_config(self.directory, {})
        status, line = self.check("--config", str(self.directory / "config.py"))
        self.assertEqual(
            (status, line),
            (1, "errklein: STATUS isn't set, so the bot has no endpoint to ask; set it, or name one with --status\n"),
        )
        for endpoint in ("", "9141", "tcp:status", "tls:/etc/errklein/certificates:9141"):
            status, line = self.check("--status", endpoint)
            self.assertEqual((status, line.count("\n")), (1, 1))
            self.assertIn("such as tcp:", line)
