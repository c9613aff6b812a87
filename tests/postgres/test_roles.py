"""Real processes of a bot on one PostgreSQL database, one of which owns the plugins."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from urllib.request import Request, urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.postgres.server import new_bot_database
from tests.processes import ERRKLEIN, LIMIT, Program, free_port, run, write_config, write_plugin

PLUGIN = """
import os
from errklein import BotPlugin, webhook

class Steps(BotPlugin):
    def activate(self):
        super().activate()
        self.note("activated")

    def deactivate(self):
        super().deactivate()
        self.note("deactivated")

    @webhook("/later", ack="now")
    def later(self, payload):
        self["last"] = payload
        self.note(f"later {payload}")

    @webhook("/anywhere", ack="now", anywhere=True)
    def anywhere(self, payload):
        self.note(f"anywhere {payload}, last {self['last']}")

    @webhook("/which")
    def which(self, payload):
        return str(os.getpid())

    def note(self, text):
        with open("notes.txt", "a") as file:
            file.write(f"{os.getpid()} {text}\\n")
"""


class RoleTests(SynchronousTestCase):
    """Processes with all roles, and a plugin that notes what it is called for."""

    def setUp(self) -> None:
        """Start the first one."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_plugin(self.directory / "plugins", "Steps", PLUGIN)
        extra = str(self.directory / "plugins")
        write_config(self.directory, {"ERRKLEIN_DATABASE": new_bot_database(self), "BOT_EXTRA_PLUGIN_DIR": extra})
        self.ports: dict[Program, int] = {}
        self.owner = self.start()
        self.owner.wait_for("owns plugins")
        self.noted(1)

    def start(self) -> Program:
        """Start a process."""
        port = free_port()
        arguments = ["--web", f"tcp:{port}:interface=127.0.0.1", "--node", "tcp:0:interface=127.0.0.1"]
        program = Program(ERRKLEIN, "run", *arguments, cwd=self.directory)
        self.addCleanup(program.kill)
        self.ports[program] = port
        program.wait_for("starting")
        return program

    def noted(self, count: int) -> list[str]:
        """Return the notes when there are so many."""
        path, limit = self.directory / "notes.txt", time.monotonic() + LIMIT
        while True:
            notes = path.read_text().splitlines() if path.exists() else []
            if len(notes) >= count:
                return notes
            self.assertLess(time.monotonic(), limit, notes)
            time.sleep(0.02)

    def post(self, program: Program, path: str, data: str) -> tuple[int, str]:
        """Send a request, again until the process listens, and return the response."""
        limit = time.monotonic() + LIMIT
        while True:
            try:
                url = f"http://127.0.0.1:{self.ports[program]}{path}"
                request = Request(url, data.encode(), {"Content-Type": "text/plain"})
                with urlopen(request, timeout=LIMIT) as response:
                    return response.status, response.read().decode()
            except OSError as error:
                if time.monotonic() > limit:
                    raise AssertionError(f"{path}: {error}\n{program.text}") from error
                time.sleep(0.05)

    def test_one_owner(self) -> None:
        """Others receive and run what is recorded, and one of them takes over when the owner is killed, stopped or suspended."""
        owner, other = self.owner, self.start()
        self.assertEqual(self.post(other, "/later", "1")[0], 202)
        self.assertEqual(self.noted(2)[1], f"{owner.process.pid} later 1")
        self.assertEqual(self.post(other, "/which", ""), (200, str(owner.process.pid)))
        self.run_elsewhere(owner, other)
        done = len(self.noted(2))

        owner.process.kill()
        began = time.monotonic()
        self.assertEqual(self.post(other, "/later", "3")[0], 202)
        self.assertEqual(
            self.noted(done + 2)[done:], [f"{other.process.pid} {text}" for text in ("activated", "later 3")]
        )
        # The machine may be busy with other tests.
        self.assertLess(time.monotonic() - began, 10)

        owner, other, done = other, self.start(), done + 2
        self.assertEqual(self.post(other, "/which", ""), (200, str(owner.process.pid)))
        owner.signal(signal.SIGTERM)
        texts = [f"{owner.process.pid} deactivated", f"{other.process.pid} activated"]
        self.assertEqual(self.noted(done + 2)[done:], texts)
        owner.wait()

        owner, other, done = other, self.start(), done + 2
        self.assertEqual(self.post(other, "/which", ""), (200, str(owner.process.pid)))
        owner.signal(signal.SIGSTOP)
        self.assertEqual(self.noted(done + 1)[done:], [f"{other.process.pid} activated"])
        owner.signal(signal.SIGCONT)
        owner.wait_for("isn't the owner any more, and restarts")
        # It is another process among the others now.
        self.assertEqual(self.post(owner, "/which", ""), (200, str(other.process.pid)))
        self.assertEqual(len(self.noted(done + 1)), done + 1)

    def test_address_of_webhooks(self) -> None:
        """An owner that accepts no connections names the endpoint that others open, and not the one between processes."""
        self.owner.signal(signal.SIGTERM)
        self.owner.wait()
        arguments = ["--web", "tcp:3141:interface=127.0.0.1", "--node", "tcp:0:interface=127.0.0.1"]
        owner = Program(ERRKLEIN, "run", "--role", "chat", *arguments, cwd=self.directory)
        self.addCleanup(owner.kill)
        owner.wait_for("owns plugins")
        self.noted(3)
        made = run(ERRKLEIN, "webhook", "new", "github", "#ops", cwd=self.directory)
        self.assertIn("http://127.0.0.1:3141/", made.stdout, made.stderr)

    def run_elsewhere(self, owner: Program, other: Program) -> None:
        """Send deliveries that may run anywhere until the owner knows that there is another worker, which runs one."""
        for number in range(3, 300):
            self.assertEqual(self.post(owner, "/anywhere", "2")[0], 202)
            if f"{other.process.pid} anywhere 2, last 1" in self.noted(number):
                return
        self.fail(f"no delivery ran in {other.process.pid}: {self.noted(3)}")
