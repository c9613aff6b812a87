"""Machines in network namespaces of this one: bots on two, and HAProxy, PostgreSQL and the source of webhooks on a third."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

from tests.authority import Authority
from tests.postgres.server import PostgresServer
from tests.processes import ERRKLEIN, LIMIT, ROOT, environment, write_plugin
from tests.server_program import require_program

FRONT, DATABASE = "10.0.0.10", "10.0.0.20"
"""The addresses of HAProxy and PostgreSQL in the guide."""

BOTS = {"bot1": "10.0.0.11", "bot2": "10.0.0.12"}
"""The addresses of the machines with bots."""

FILES = ROOT / "errklein" / "examples"
CLIENT = Path(__file__).with_name("source_of_webhooks.py")
_numbers = itertools.count()


def require_namespaces() -> None:
    """Skip the test, or fail if CI is set, unless this process can make network namespaces."""
    program = require_program("ip", package="iproute2")
    name = f"errklein-{os.getpid()}-{next(_numbers)}"
    done = subprocess.run([program, "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        missing = f"network namespaces can't be made, which needs root: {done.stderr.strip()}"
        if os.environ.get("CI"):
            raise AssertionError(f"{missing}, but CI requires them")
        raise unittest.SkipTest(missing)
    ip("netns", "del", name)


def ip(*arguments: str) -> None:
    """Run the program ip."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=LIMIT)


class Machines:
    """The machines, connected by a bridge in the namespace of the third one."""

    def __init__(self, directory: Path, plugin: str) -> None:
        require_namespaces()
        self._haproxy = require_program("haproxy")
        self.directory = directory
        self._prefix = f"errklein-{os.getpid()}-{next(_numbers)}"
        self._running: dict[str, list[subprocess.Popen[bytes]]] = {name: [] for name in (*BOTS, "front")}
        write_plugin(directory / "plugins", "Counter", dedent(plugin))
        shutil.copy(ROOT / "docs" / "examples" / "config_machines.py", directory / "config.py")
        (directory / "pgpass").write_text(f"{DATABASE}:*:*:errklein:secret\n")
        (directory / "pgpass").chmod(0o600)
        for name in BOTS:
            (directory / name).mkdir()
        self.database = PostgresServer()
        try:
            self._connect()
            self._start_database()
            self._start_haproxy()
        except BaseException:
            self.stop()
            raise

    def namespace(self, name: str) -> str:
        """Return the name of the namespace of a machine."""
        return f"{self._prefix}-{name}"

    def _connect(self) -> None:
        front = self.namespace("front")
        ip("netns", "add", front)
        ip("-n", front, "link", "set", "lo", "up")
        ip("-n", front, "link", "add", "bridge", "type", "bridge")
        ip("-n", front, "link", "set", "bridge", "up")
        for address in (FRONT, DATABASE):
            ip("-n", front, "addr", "add", f"{address}/24", "dev", "bridge")
        for name, address in BOTS.items():
            own = self.namespace(name)
            ip("netns", "add", own)
            ip("-n", own, "link", "set", "lo", "up")
            ip("-n", front, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", own)
            ip("-n", front, "link", "set", name, "master", "bridge", "up")
            ip("-n", own, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", own, "link", "set", "eth0", "up")

    def _start_database(self) -> None:
        """Start PostgreSQL with what the guide adds to its configuration."""
        database = self.database
        database.execute("CREATE ROLE errklein LOGIN PASSWORD 'secret'", "CREATE DATABASE errklein OWNER errklein")
        database.stop()
        guide = (ROOT / "docs" / "guides" / "several-machines.md").read_text("utf-8")
        [settings] = re.findall(r"In `postgresql.conf`.*?```text\n(.*?)```", guide, re.DOTALL)
        [access] = re.findall(r"in `pg_hba.conf`.*?```text\n(.*?)```", guide, re.DOTALL)
        data = database.directory / "data"
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(settings + f"unix_socket_directories = '{database.directory}'\n")
        with (data / "pg_hba.conf").open("a") as file:
            file.write(access)
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        command += [str(database._programs / "postgres"), "-D", str(data)]
        self._run("front", command)
        self.until(lambda: self._ready(database), "PostgreSQL doesn't start")

    def _ready(self, database: PostgresServer) -> bool:
        import psycopg

        with suppress(psycopg.Error):
            database.execute("SELECT 1")
            return True
        return False

    def _start_haproxy(self) -> None:
        authority = Authority()
        bundle, configuration = self.directory / "bundle.pem", self.directory / "haproxy.cfg"
        bundle.write_bytes(authority.bundle(authority.issue("bot.example.net")))
        text = (FILES / "haproxy-machines.cfg").read_text()
        certificate = "/etc/haproxy/bot.example.net.pem"
        assert certificate in text
        configuration.write_text(text.replace(certificate, str(bundle)))
        (self.directory / "root.pem").write_bytes(authority.root.pem)
        self._run("front", [self._haproxy, "-db", "-f", str(configuration)])

    def _environment(self, machine: str) -> Mapping[str, str]:
        return environment() | {
            "ERRKLEIN_SET__BOT_DATA_DIR": str(self.directory / machine),
            "ERRKLEIN_SET__BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"),
            "PGPASSFILE": str(self.directory / "pgpass"),
            "RUNS": str(self.directory / "runs"),
        }

    def _run(self, machine: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.directory / f"{machine}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace(machine), *command],
                env=self._environment(machine),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running[machine].append(process)
        return process

    def options(self, machine: str) -> Sequence[str]:
        """Return the options of the unit in the guide, with the address of the machine."""
        text = (FILES / "machine.conf").read_text().replace("\\\n", "").replace(BOTS["bot1"], BOTS[machine])
        [command] = re.findall(r"^ExecStart=(/.*)$", text, re.MULTILINE)
        words = shlex.split(command)
        words = words[words.index("errklein") + 1 :]
        words[words.index("--config") + 1] = str(self.directory / "config.py")
        return words

    def start(self, machine: str, *more: str) -> None:
        """Start the bot on a machine."""
        self._run(machine, [*ERRKLEIN, "run", *self.options(machine), *more])

    def command(self, machine: str, *words: str) -> str:
        """Run a command of errklein on a machine, and return what it prints."""
        command = [*ERRKLEIN, *words, "--config", str(self.directory / "config.py")]
        command = ["ip", "netns", "exec", self.namespace(machine), *command]
        done = subprocess.run(
            command, env=self._environment(machine), cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def post(self, pause: float) -> Source:
        """Let the source post webhooks until it is stopped, each so many seconds after the one before."""
        return Source(["ip", "netns", "exec", self.namespace("front"), sys.executable, str(CLIENT), FRONT, str(pause)])

    def fetch(self, path: str) -> str:
        """Return the page with this path, which HAProxy sends."""
        curl = [require_program("curl"), "--silent", "--insecure", f"https://{FRONT}{path}"]
        command = ["ip", "netns", "exec", self.namespace("front"), *curl]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT).stdout

    def set_link(self, machine: str, up: bool) -> None:
        """Cut a machine off from the network, or connect it again."""
        ip("-n", self.namespace("front"), "link", "set", machine, "up" if up else "down")
        if up:
            # As network-online.target does for a unit.
            code = "import socket, sys; socket.create_connection((sys.argv[1], 5432), 1)"
            probe = ["ip", "netns", "exec", self.namespace(machine), sys.executable, "-c", code, DATABASE]
            self.until(lambda: not subprocess.run(probe, capture_output=True, check=False).returncode, "no network")

    def power_off(self, machine: str) -> None:
        """End all processes of a machine, which nobody is told."""
        self.set_link(machine, False)
        self._kill(machine)

    def _kill(self, machine: str) -> None:
        pids = subprocess.run(["ip", "netns", "pids", self.namespace(machine)], capture_output=True, check=False).stdout
        for pid in map(int, pids.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._running[machine]:
            process.kill()
            process.wait()
        self._running[machine].clear()

    def ended(self, machine: str) -> bool:
        """Return whether the bot of a machine has ended."""
        return all(process.poll() is not None for process in self._running[machine])

    def read(self, query: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        import psycopg

        with psycopg.connect(self.database.url("errklein"), options="-c search_path=errklein") as connection:
            return connection.execute(query.encode()).fetchall()

    def until(self, condition: object, problem: str, limit: float = LIMIT) -> None:
        """Wait until the function returns a true value."""
        end = time.monotonic() + limit
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < end, f"{problem}\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        """Return the ends of the logs."""
        parts = []
        for path in sorted(self.directory.glob("*.log")):
            lines = [line for line in path.read_text(errors="replace").splitlines() if "POST /" not in line]
            parts += [f"--- {path.name}", *lines[-25:]]
        return "\n".join(parts)

    def stop(self) -> None:
        """End everything."""
        self.database.remove()
        for machine in self._running:
            with suppress(subprocess.CalledProcessError):
                self._kill(machine)
                ip("netns", "del", self.namespace(machine))


class Source:
    """A source of webhooks that runs: the numbers that it has posted, with the statuses of the responses and when these came."""

    def __init__(self, command: Sequence[str]) -> None:
        self.responses: list[tuple[float, int, str]] = []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, _, status = line.strip().partition(" ")
            self.responses.append((time.monotonic(), int(number), status))

    def since(self, moment: float) -> Sequence[str]:
        """Return the statuses of the responses that have come since."""
        return [status for when, _, status in self.responses if when >= moment]

    def latest(self, number: int) -> set[str]:
        """Return the different statuses of the last responses; none if there are fewer."""
        found = [status for _, _, status in self.responses[-number:]]
        return {*found} if len(found) == number else set()

    @property
    def accepted(self) -> set[int]:
        """The numbers of those that were acknowledged."""
        return {number for _, number, status in self.responses if status in ("200", "202")}

    def stop(self) -> None:
        """Let it end when the responses that it waits for have come."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._reading.join(LIMIT)
