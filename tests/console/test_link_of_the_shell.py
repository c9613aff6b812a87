"""`errklein console-link`, on a real process."""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ERRKLEIN, TWISTD, adopting_daemons, free_port, kill, run, wait_for_daemon, write_config


class LinkOfTheShellTests(SynchronousTestCase):
    """A daemon, and commands in its directory."""

    timeout = 240

    def setUp(self) -> None:
        """Write a configuration."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.log = self.directory / "bot.log"

    def start(self, **settings: object) -> None:
        """Start the daemon, which ends with the test."""
        write_config(self.directory, {"BOT_LOG_FILE": str(self.log), **settings})
        with adopting_daemons():
            done = run(TWISTD, "--pidfile=bot.pid", "errklein", cwd=self.directory)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        pid = int((self.directory / "bot.pid").read_text())
        self.addCleanup(wait_for_daemon, pid)
        self.addCleanup(kill, pid)

    def link(self) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return run(ERRKLEIN, "console-link", "--config", "config.py", cwd=self.directory)

    def test_link(self) -> None:
        """The link lets the bot's user in, once, and the log has the login, but not the link."""
        port = free_port()
        self.start(CONSOLE=f"tcp:{port}:interface=127.0.0.1")
        done = self.link()
        url = done.stdout.strip()
        self.assertTrue(url.startswith(f"http://127.0.0.1:{port}/enter/"), done)
        own = {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}"}
        first, second = (self.post(port, urlsplit(url).path, own) for _ in range(2))
        self.assertEqual((first.status, second.status), (303, 401))
        log = self.log.read_text()
        self.assertIn("on the command line entered the console from 127.0.0.1", log)
        self.assertNotIn(url.rpartition("/")[2], log)

    def test_without_console(self) -> None:
        """Without a console, the error names the setting."""
        self.start()
        done = self.link()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("CONSOLE", done.stderr)

    def post(self, port: int, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Return the response to a request."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", path, "", headers)
            response = connection.getresponse()
            response.read()
            return response
        finally:
            connection.close()
