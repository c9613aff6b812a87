"""A second machine takes the place of the first one, as docs/guides/standby.md describes it for bots on SQLite."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from textwrap import dedent
from urllib.request import Request, urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ERRKLEIN, LIMIT, Program, free_port, run, write_config, write_plugin

PLUGIN = """
    import time
    from pathlib import Path
    from errklein import BotPlugin, webhook

    class Orders(BotPlugin):
        @webhook("/order", ack="now")
        def order(self, payload):
            self["latest"] = payload
            while not Path("open").exists():
                time.sleep(0.05)
            with open("runs", "a") as file:
                file.write(f"{payload} {self['latest']}\\n")
"""


class StandbyTests(SynchronousTestCase):
    """Two directories stand for two machines. A delivery has begun on the first one, and can't end there."""

    timeout = 300

    def setUp(self) -> None:
        """Start the bot on the first machine, and let it receive a webhook."""
        directory = Path(self.mktemp()).absolute()
        self.machines = [directory / name for name in ("bot1", "bot2")]
        for machine in self.machines:
            machine.mkdir(parents=True)
            write_plugin(machine / "plugins", "Orders", dedent(PLUGIN))
            write_config(machine, {"BOT_EXTRA_PLUGIN_DIR": str(machine / "plugins"), "GRACE_PERIOD": 1})
        self.port = free_port()
        self.active = self.start(self.machines[0])
        request = Request(f"http://127.0.0.1:{self.port}/order", b"tea", {"Content-Type": "text/plain"})
        with urlopen(request, timeout=LIMIT) as response:
            self.assertEqual(response.status, 202)

    def start(self, machine: Path) -> Program:
        """Start the bot on a machine, and wait until it receives webhooks."""
        program = Program(ERRKLEIN, "run", "--web", f"tcp:{self.port}:interface=127.0.0.1", cwd=machine)
        self.addCleanup(program.kill)
        program.wait_for("ControlSocket starting")
        return program

    def command(self, machine: Path, *arguments: str) -> str:
        """Run a command of errklein on a machine, and return what it prints."""
        done = run(ERRKLEIN, *arguments, cwd=machine)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def await_run(self) -> None:
        """Let the handler end on the second machine, and wait for it."""
        (self.machines[1] / "open").touch()
        runs, limit = self.machines[1] / "runs", time.monotonic() + LIMIT
        while not runs.exists():
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.05)
        self.assertEqual(runs.read_text(), "tea tea\n")

    def test_change_of_machines(self) -> None:
        """The files of a stopped bot are copied: what waited runs on the other machine."""
        self.active.signal(signal.SIGTERM)
        self.active.wait()
        first, second = (machine / "data" for machine in self.machines)
        subprocess.run(["cp", "-a", f"{first}/.", second], check=True)
        shutil.rmtree(first)
        self.start(self.machines[1])
        self.await_run()

    def test_lost_machine(self) -> None:
        """A backup is restored: values are there, and what waited does so until somebody lets it run."""
        first, second = self.machines
        self.command(first, "backup")
        self.active.signal(signal.SIGKILL)
        self.active.wait()
        (second / "data").mkdir(mode=0o700)
        for file in (first / "data").glob("backup.*"):
            shutil.copy(file, second / "data")
        shutil.rmtree(first / "data")
        self.assertIn("1 of which wait", self.command(second, "restore", "--with-deliveries"))
        self.start(second)
        self.assertFalse((second / "runs").exists())
        self.command(second, "webhook", "resume", "Orders:order")
        self.await_run()
