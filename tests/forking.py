"""Processes that run errklein, forked from one that has imported it: an interpreter's start takes longer than most tests.

A `Forked` process has pipes, a working directory, an environment, an exit status and a command line of its own, like one of
`subprocess.Popen`. This file is also the program of the process that forks them, which doesn't import the tests.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

MODULES = (
    "errklein.cli._check",
    "errklein.cli.errbot_options",
    "errklein.service",
    "errklein.tap",
    "errklein.wiring",
    "twisted.scripts.twistd",
)
"""What bots and commands import. None of them installs a reactor."""

INTERPRETER = ("PYTHON", "LC_", "LANG", "TZ", "COVERAGE")
"""The beginnings of the names of variables that an interpreter reads when it starts."""


def serve(control: socket.socket) -> Callable[[], object]:
    """Fork a process for each request, until the tests have ended. Returns in such a process, with its program."""
    for name in MODULES:
        __import__(name)
    assert "twisted.internet.reactor" not in sys.modules, "each process chooses its reactor"
    while True:
        length, descriptors, _, _ = socket.recv_fds(control, 8, 4)
        if not length:
            with suppress(ChildProcessError):
                while os.wait():
                    pass
            os._exit(0)
        request = json.loads(control.recv(int(length), socket.MSG_WAITALL))
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            return fork_watched(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def fork_watched(request: Mapping[str, Any], descriptors: Sequence[int]) -> Callable[[], object]:
    """Fork the process itself, in which this returns. Tell its id and its status to the test."""
    pid = os.fork()
    if pid:
        for descriptor in descriptors[:3]:
            os.close(descriptor)
        # The test may have ended.
        with suppress(OSError):
            os.write(descriptors[3], f"{pid}\n".encode())
            os.write(descriptors[3], f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
        os._exit(0)
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, 256)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    option, code, *arguments = request["arguments"]
    sys.orig_argv[:] = [sys.executable, option, code, *arguments]
    sys.argv[:] = [option, *arguments]
    if option == "-c":
        sys.path[0] = ""
        return lambda: exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    sys.path[0] = os.getcwd()
    from runpy import run_module

    return lambda: run_module(code, run_name="__main__", alter_sys=True)


class Forked:
    """A process of `python -m MODULE` or `python -c CODE`, with the part of the interface of `subprocess.Popen` that tests use."""

    _control: socket.socket | None = None
    _environment: Mapping[str, str] = {}

    def __init__(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: Any, stdout: Any, stderr: Any
    ) -> None:
        self.args = command
        self.returncode: int | None = None
        ours: list[int | None] = []
        theirs: list[int] = []
        for number, wanted in enumerate((stdin, stdout, stderr)):
            if wanted == subprocess.PIPE:
                ends = os.pipe()
                ours.append(ends[1 - bool(number)])
                theirs.append(ends[bool(number)])
            else:
                ours.append(None)
                theirs.append(self._duplicate(wanted, number, theirs))
        self.stdin: IO[bytes] | None = None if ours[0] is None else open(ours[0], "wb", buffering=0)  # noqa: SIM115
        self.stdout, self.stderr = (None if one is None else open(one, "rb", buffering=0) for one in ours[1:])  # noqa: SIM115
        self._status, status = socket.socketpair()
        request = json.dumps({"cwd": str(Path(cwd).absolute()), "environment": dict(env), "arguments": command[1:]})
        control = self._connected(env)
        socket.send_fds(control, [f"{len(request.encode()):8}".encode()], [*theirs, status.fileno()])
        control.sendall(request.encode())
        for descriptor in theirs:
            os.close(descriptor)
        status.close()
        self._lines = self._status.makefile("rb")
        self.pid = int(self._lines.readline())

    @classmethod
    def can_run(cls, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Return whether the command is Python's, and the interpreter doesn't depend on other variables than the first one."""
        if command[0] != sys.executable or command[1] not in ("-m", "-c") or "COVERAGE_PROCESS_CONFIG" in env:
            return False
        return cls._control is None or _of_interpreter(env) == _of_interpreter(cls._environment)

    @classmethod
    def _connected(cls, env: Mapping[str, str]) -> socket.socket:
        if cls._control is None:
            cls._environment = env
            cls._control, other = socket.socketpair()
            command = [sys.executable, __file__, str(other.fileno())]
            descriptors = {"pass_fds": [other.fileno()], "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            process = subprocess.Popen(command, env=env, **descriptors)  # type: ignore[call-overload]
            other.close()
            # It ends when it can't get a request.
            atexit.register(_end, cls._control, process)
        return cls._control

    @staticmethod
    def _duplicate(wanted: Any, number: int, earlier: Sequence[int]) -> int:
        if wanted == subprocess.DEVNULL:
            return os.open(os.devnull, os.O_RDWR)
        if wanted == subprocess.STDOUT:
            return os.dup(earlier[1])
        return os.dup(number if wanted is None else wanted if isinstance(wanted, int) else wanted.fileno())

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._lines.readline())
            self._lines.close()
            self._status.close()
        return self.returncode

    def communicate(self, input: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write, read to the end of the process's output, and wait until it ends."""
        limit = time.monotonic() + (timeout if timeout is not None else 1e9)
        output: dict[Any, list[bytes]] = {self.stdout: [], self.stderr: []}
        with selectors.DefaultSelector() as selector:
            for file in output:
                if file is not None and not file.closed:
                    selector.register(file, selectors.EVENT_READ)
            if self.stdin is not None and not self.stdin.closed:
                os.set_blocking(self.stdin.fileno(), False)
                selector.register(self.stdin, selectors.EVENT_WRITE)
            while selector.get_map():
                ready = selector.select(limit - time.monotonic())
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                for key, _ in ready:
                    file: Any = key.fileobj
                    if file is self.stdin:
                        with suppress(BlockingIOError):
                            try:
                                input = input[os.write(file.fileno(), input[:4096]) if input else 0 :]
                            except BrokenPipeError:
                                input = b""
                            if input:
                                continue
                            selector.unregister(file)
                            file.close()
                    elif chunk := os.read(file.fileno(), 65536):
                        output[file].append(chunk)
                    else:
                        selector.unregister(file)
                        file.close()
        self.wait(max(0.0, limit - time.monotonic()))
        return b"".join(output[self.stdout]), b"".join(output[self.stderr]) if self.stderr else b""

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _end(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """End the process that forks, after those that it has forked."""
    control.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()


def _of_interpreter(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(INTERPRETER)}


if __name__ == "__main__":
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    program()
