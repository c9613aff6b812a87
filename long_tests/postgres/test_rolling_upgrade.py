"""A bot of two processes behind HAProxy is upgraded while webhooks arrive: first one process and the tables, then the other one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from long_tests.postgres.machines import CLIENT, FILES, Source
from long_tests.postgres.test_two_machines import PLUGIN
from tests.authority import Authority
from tests.postgres.server import new_database, programs
from tests.processes import ERRKLEIN, LIMIT, ROOT, environment, write_config, write_plugin
from tests.server_program import ServerProgram, free_port

STEPS = (
    # What a migration does to tables that are used all the time.
    """
    ALTER TABLE deliveries ADD COLUMN more text NOT NULL DEFAULT '';
    ALTER TABLE stored ADD COLUMN more text;
    ALTER TABLE outbox ADD COLUMN more text;
    ALTER TABLE nodes ADD COLUMN more text NOT NULL DEFAULT '';
    CREATE INDEX more ON deliveries (more);
    """,
    "ALTER TABLE deliveries ADD COLUMN most text;",
)


class Version:
    """An errklein, in a directory of its own unless it is this one, whose tables have further migrations."""

    def __init__(self, directory: Path, steps: Sequence[str]) -> None:
        self._environment = environment()
        if steps:
            shutil.copytree(ROOT / "errklein", directory / "errklein", ignore=shutil.ignore_patterns("__pycache__"))
            migrations = directory / "errklein" / "postgres" / "migrations"
            migrations.mkdir(exist_ok=True)
            for number, step in enumerate(steps):
                (migrations / f"z{number}.sql").write_text(step)
            version = directory / "errklein" / "_version.py"
            version.write_text(version.read_text() + f'\n__version__ = "99.{len(steps)}"\n')
            self._environment["PYTHONPATH"] = f"{directory}:{ROOT}"

    def environment(self, runs: Path) -> Mapping[str, str]:
        """Return the environment of its processes."""
        return {**self._environment, "RUNS": str(runs)}


class Balancer(ServerProgram):
    """HAProxy as in the guide, but on loopback."""

    def __init__(self, bots: Mapping[str, tuple[int, int]], certificate: Path) -> None:
        super().__init__("haproxy")
        text = (FILES / "haproxy-machines.cfg").read_text()
        replaced = {
            "bind :::80 v4v6": f"bind 127.0.0.1:{free_port()}",
            "bind :::443 v4v6": f"bind 127.0.0.1:{self.port}",
            "/etc/haproxy/bot.example.net.pem": str(certificate),
            "10.0.0.11:3142": "127.0.0.1:{} port {}".format(*bots["bot1"]),
            "10.0.0.12:3142": "127.0.0.1:{} port {}".format(*bots["bot2"]),
        }
        for part, other in replaced.items():
            assert part in text, part
            text = text.replace(part, other)
        self.configuration.write_text(text)

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        return "-db", "-f", str(self.configuration)


class RollingUpgradeTests(SynchronousTestCase):
    """Two processes of this errklein, a later one with one migration more, and one with two."""

    timeout = 600

    def setUp(self) -> None:
        """Make the tables of this errklein."""
        programs()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_plugin(self.directory / "plugins", "Counter", dedent(PLUGIN))
        extra = str(self.directory / "plugins")
        write_config(self.directory, {"ERRKLEIN_DATABASE": new_database(self), "BOT_EXTRA_PLUGIN_DIR": extra})
        self.old, self.new, self.newest = (
            Version(self.directory / f"version{number}", STEPS[:number]) for number in range(3)
        )
        self.ports = {name: (free_port(), free_port()) for name in ("bot1", "bot2")}
        self.command(self.old, "storage", "init")

    def program(self, version: Version, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a program of this version. Return it with the file that has its output."""
        output = self.directory / f"output {len(list(self.directory.glob('output *')))}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*ERRKLEIN, *arguments],
                cwd=self.directory,
                env=version.environment(self.directory / "runs"),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, output

    def command(self, version: Version, *arguments: str, status: int = 0) -> str:
        """Run a command of this version, and return its output."""
        process, output = self.program(version, *arguments)
        found = process.wait(LIMIT), output.read_text()
        self.assertEqual(found[0], status, found[1])
        return found[1]

    def start(self, version: Version, name: str) -> subprocess.Popen[bytes]:
        """Start a bot on its ports."""
        web, status = (f"tcp:{port}:interface=127.0.0.1" for port in self.ports[name])
        options = ["--web", web, "--status", status, "--node", "tcp:0:interface=127.0.0.1"]
        process, output = self.program(version, "run", *options)
        self.until(lambda: "ControlSocket starting" in output.read_text(), "the bot doesn't start")
        return process

    def nodes(self) -> list[str]:
        """Return the lines of `errklein nodes`."""
        return self.command(self.old, "nodes").splitlines()

    def post(self) -> Source:
        """Start HAProxy, and the source of webhooks."""
        authority = Authority()
        bundle = self.directory / "bundle.pem"
        bundle.write_bytes(authority.bundle(authority.issue("bot.example.net")))
        balancer = Balancer(self.ports, bundle)
        self.addCleanup(balancer.stop)
        balancer.start()
        source = Source([sys.executable, str(CLIENT), f"127.0.0.1:{balancer.port}", "0.02"])
        self.addCleanup(source.stop)
        self.until(lambda: source.latest(20) == {"202"}, "webhooks aren't accepted")
        return source

    def until(self, condition: object, problem: str) -> None:
        """Wait until the function returns a true value."""
        end = time.monotonic() + LIMIT
        while not condition():  # type: ignore[operator]
            self.assertLess(time.monotonic(), end, problem)
            time.sleep(0.05)

    def test_under_load(self) -> None:
        """No webhook is refused, and none that was accepted is lost, while processes of both versions run side by side."""
        first = self.start(self.old, "bot1")
        self.until(lambda: any("owns plugins" in line for line in self.nodes()), "nobody owns the plugins")
        second = self.start(self.old, "bot2")
        source = self.post()
        began = time.monotonic()
        for name, before in (("bot1", first), ("bot2", second)):
            pid = before.pid
            [node] = [line.split()[1] for line in self.nodes() if f":{pid}:" in line]
            self.command(self.old, "drain", node.rstrip(":"))
            self.assertEqual(before.wait(LIMIT), 0)
            if name == "bot1":
                self.assertIn("tables of version", self.command(self.new, "storage", "init"))
                # An old process can start once more.
                again, _ = self.program(self.old, "run", "--role", "worker")
                self.until(lambda: len(self.nodes()) == 2, "the old version doesn't start with the new tables")
                again.kill()
                again.wait()
            self.start(self.new, name)
            self.until(
                lambda: sum("errklein 99.1" in line for line in self.nodes()) >= 1, "the new version doesn't run"
            )
            moment = time.monotonic()
            self.until(lambda: len(source.since(moment)) > 200, "no webhooks arrive")  # noqa: B023
        source.stop()
        self.assertEqual({*source.since(began)}, {"202"})
        runs = self.directory / "runs"
        self.until(lambda: source.accepted <= {*map(int, runs.read_text().split())}, "webhooks were lost")

    def test_two_steps(self) -> None:
        """A version refuses tables that are more than one step away from its own, and names what helps."""
        config = "--config", str(self.directory / "config.py")
        self.assertIn("upgrade them with `errklein storage init`", self.command(self.newest, "run", *config, status=1))
        running = self.start(self.old, "bot1")
        refused = self.command(self.newest, "storage", "init", status=1)
        self.assertIn("processes of the bot use it", refused)
        running.kill()
        running.wait()
        self.command(self.new, "storage", "init")
        self.assertIn("tables of version", self.command(self.newest, "storage", "init"))
        self.assertIn("install the newer errklein", self.command(self.old, "run", *config, status=1))
