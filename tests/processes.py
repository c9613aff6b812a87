"""Helpers that run programs as users do and wait for their output, with a time limit."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import errklein
from tests import needs_network
from tests.forking import Forked

ROOT = Path(errklein.__file__).parent.parent

LIMIT = 240.0
"""The seconds after which a wait fails. Most waits end at once; a busy machine needs many times as long."""

TWISTD = [sys.executable, "-c", "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"]
TWIST = [sys.executable, "-m", "twisted"]
ERRKLEIN = [sys.executable, "-m", "errklein"]
_SUBREAPER = 36


def environment() -> dict[str, str]:
    """Return the environment of a process that imports this errklein."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": ""}


def run(
    command: Sequence[str], *arguments: str, cwd: Path, stdin: str = "", limit: float = LIMIT, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the program until it ends, at most `limit` seconds."""
    pipe = subprocess.PIPE
    process = start([*command, *arguments], cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, fresh=fresh)
    try:
        output = process.communicate(stdin.encode(), timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    texts = (text.decode("utf-8").replace("\r\n", "\n") for text in output)
    return subprocess.CompletedProcess(process.args, process.wait(), *texts)


def start(command: Sequence[str], *, cwd: Path, stdin: Any, stdout: Any, stderr: Any, fresh: bool = False) -> Any:
    """Start a process; one of Python is forked from another that has imported errklein, unless it must be `fresh`."""
    needs_network()
    kind = Forked if not fresh and Forked.can_run(command, environment()) else subprocess.Popen
    return kind(command, cwd=cwd, env=environment(), stdin=stdin, stdout=stdout, stderr=stderr)  # type: ignore[operator]


class Program:
    """A program that runs in the foreground.

    Its standard output and error are read together, unless `stderr` is given.
    """

    def __init__(
        self,
        command: Sequence[str],
        *arguments: str,
        cwd: Path,
        stdin: Any = subprocess.DEVNULL,
        stderr: Any = subprocess.STDOUT,
        fresh: bool = False,
    ) -> None:
        self.process = start(
            [*command, *arguments], cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, fresh=fresh
        )
        assert self.process.stdout is not None
        self.output = b""
        self._stdout = self.process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)

    @property
    def text(self) -> str:
        """The output so far."""
        return self.output.decode("utf-8", "replace")

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until the output contains the words; raise AssertionError if the program ends first, or after the time limit."""
        limit = time.monotonic() + LIMIT
        while self.text.count(words) < times:
            if not self._selector.select(limit - time.monotonic()):
                raise AssertionError(f"{words!r} was not said {times} times in {LIMIT} s, but:\n{self.text}")
            chunk = os.read(self._stdout.fileno(), 65536)
            if not chunk:
                raise AssertionError(f"the program ended before it said {words!r}:\n{self.text}")
            self.output += chunk

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until the program ends, and return the exit status; for a signal, its negative number."""
        rest, _ = self.process.communicate(timeout=LIMIT)
        self.output += rest
        return self.process.returncode

    def kill(self) -> None:
        """Kill the program if it still runs."""
        self._selector.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=LIMIT)


@contextmanager
def adopting_daemons() -> Iterator[None]:
    """Adopt daemons that are started in the context, so that their exit status can be read."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SUBREAPER, 0, 0, 0, 0)


def wait_for_daemon(pid: int) -> int:
    """Wait until an adopted daemon ends, and return its exit status as `Program.wait` does."""
    with selectors.DefaultSelector() as selector:
        process = os.pidfd_open(pid)
        try:
            selector.register(process, selectors.EVENT_READ)
            if not selector.select(LIMIT):
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"the daemon did not end in {LIMIT} s")
        finally:
            os.close(process)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for_adopted() -> None:
    """Wait until all adopted daemons have ended."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    # A daemon is adopted when the process between it and its command has ended.
    while adopted := [child for child in map(int, children.read_text().split()) if _has_own_session(child)]:
        for child in adopted:
            with suppress(ProcessLookupError, ChildProcessError):
                wait_for_daemon(child)


def _has_own_session(pid: int) -> bool:
    try:
        return os.getsid(pid) != os.getsid(0)
    except ProcessLookupError:
        return False


def kill(pid: int) -> None:
    """Kill a daemon if it still runs."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    needs_network()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_plugin(directory: Path, name: str, source: str, **settings: str) -> None:
    """Write a plugin with its .plug file into a folder of its own."""
    folder = directory / name.lower()
    folder.mkdir(parents=True)
    (folder / f"{name.lower()}.plug").write_text(f"[Core]\nName = {name}\nModule = {name.lower()}\n")
    (folder / f"{name.lower()}.py").write_text(source)


def write_config(directory: Path, settings: Mapping[str, object]) -> None:
    """Write a config.py with these settings, and by default the backend Null."""
    all_settings = {"BACKEND": "Null", "BOT_ADMINS": ("@admin",), "BOT_DATA_DIR": str(directory / "data")} | settings
    (directory / "config.py").write_text("".join(f"{name} = {value!r}\n" for name, value in all_settings.items()))
