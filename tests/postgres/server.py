"""A PostgreSQL server for tests: one for each process that runs tests, started on first use, and a new database for each test."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
import unittest
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests import needs_network
from tests.server_program import free_port

BIN = "ERRKLEIN_TEST_POSTGRES"
"""The environment variable for the directory with initdb and pg_ctl. By default it is that of Debian's newest version."""

# Durability is not tested: a killed server loses nothing as long as the machine runs.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "128MB",
    "autovacuum_naptime": "10min",
    "jit": "off",
    "log_min_messages": "warning",
}

# Ends the server and removes its files when the process that runs the tests has ended, even by SIGKILL.
_GUARD = 'cat > /dev/null; "$0" -D data -s -m immediate stop; rm -rf "$PWD"'


def programs() -> Path:
    """Return the directory with PostgreSQL's programs. Without them, or psycopg, the test is skipped, or fails if CI is set."""
    needs_network()
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    directory = os.environ.get(BIN) or (found[-1].parent if found else None)
    missing = None if directory else "PostgreSQL is not installed; on Debian: apt-get install postgresql-17"
    try:
        import pgmq.sql  # noqa: F401
        import psycopg  # noqa: F401
    except ImportError as error:
        missing = f"errklein[postgres] is not installed: {error}"
    if directory is None or missing is not None:
        if os.environ.get("CI"):
            raise AssertionError(f"{missing}, but CI requires it")
        raise unittest.SkipTest(missing)
    return Path(directory)


class PostgresServer:
    """A server in a temporary directory, on a Unix socket and with `tcp` also on 127.0.0.1, that trusts all who connect.

    It is stopped and its files are removed by `remove`, or when the process ends. `settings` replace those for tests."""

    def __init__(self, tcp: bool = False, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._programs = programs()
        self._settings = {**_SETTINGS, **settings}
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port() if tcp else 5432
        # It refuses to run as root.
        self._user: dict[str, Any] = {"cwd": self.directory, "env": {**os.environ, "LC_ALL": "C"}}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._user |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
        # Others connect to the socket.
        self.directory.chmod(0o755)
        self._numbers = count()
        self._templates: dict[object, str] = {}
        command = ["/bin/sh", "-c", _GUARD, str(self._programs / "pg_ctl")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # Not in a session of its own: it is no daemon that a test has adopted.
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0, **quiet, **self._user)
        options = ["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", *options, "--no-instructions")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        log = self.directory / "programs.log"
        with log.open("ab") as file:
            command = [str(self._programs / program), *arguments]
            done = subprocess.run(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, check=False, **self._user
            )
        assert done.returncode == 0, f"{program} failed: {log.read_text()}\n{self.log}"

    @property
    def log(self) -> str:
        """The log of the server."""
        path = self.directory / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        settings = {
            **self._settings,
            "port": str(self.port),
            "listen_addresses": "" if self.port == 5432 else "127.0.0.1",
            "unix_socket_directories": str(self.directory),
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "-D", "data", "-l", "log", "-s", "-w", "-t", "60", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server and wait until it has ended: "fast" ends all sessions in order, "immediate" is a crash."""
        self._run("pg_ctl", "-D", "data", "-s", "-w", "-t", "60", "-m", mode, "stop")

    def remove(self) -> None:
        """Stop the server, if it runs, and remove its files."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def url(self, database: str = "postgres", user: str = "postgres", tcp: bool = False) -> str:
        """Return the URL of a database. Every user is trusted."""
        host = f"127.0.0.1&port={self.port}" if tcp else f"{self.directory}&port={self.port}"
        return f"postgresql:///{database}?user={user}&host={host}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each in a transaction of its own."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def new_database(self, prepare: Callable[[str], object] | None = None) -> str:
        """Create a database and return its name. With `prepare`, it is a copy of one to whose URL this was applied, once."""
        if prepare is not None and prepare not in self._templates:
            template = self.new_database()
            prepare(self.url(template))
            self._templates[prepare] = template
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self._templates.get(prepare, 'template1')} STRATEGY FILE_COPY")
        return name


@cache
def shared_server() -> PostgresServer:
    """Return the server that the tests of this process share. A test that stops it uses one of its own."""
    return PostgresServer()


def new_database(case: unittest.TestCase, prepare: Callable[[str], object] | None = None) -> str:
    """Return the URL of a new database, which is dropped after the test; see `PostgresServer.new_database`."""
    # A test that is skipped isn't cached.
    programs()
    server = shared_server()
    name = server.new_database(prepare)
    case.addCleanup(server.execute, f"DROP DATABASE {name} WITH (FORCE)")
    return server.url(name)


def new_bot_database(case: unittest.TestCase) -> str:
    """Return the URL of a new database with errklein's tables."""
    programs()
    from errklein.postgres import create_tables

    return new_database(case, create_tables)
