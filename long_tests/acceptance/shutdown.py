"""The scenario shutdown: after SIGTERM handlers respond, and the process ends in time, even if one handler hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from long_tests.acceptance.wire import Answer, ask_at_once, run, statuses
from tests.processes import (
    LIMIT,
    TWISTD,
    Program,
    adopting_daemons,
    free_port,
    kill,
    wait_for_daemon,
    write_config,
    write_plugin,
)
from tests.processes import run as run_program

ENDLESS = ("waiting", "computing", "coroutine")
"""The handlers that never end: a thread that waits, a thread that computes, a coroutine."""

PLUGIN = """
    import asyncio
    import threading
    import time
    from errklein import BotPlugin, webhook
    from twisted.internet import defer, reactor, task

    class Handlers(BotPlugin):
        @webhook
        def short(self, request):
            print("a handler begins")
            time.sleep({short})
            return "done"

        @webhook
        async def short_async(self, request):
            print("a handler begins")
            await task.deferLater(reactor, {short})
            return "done"

        @webhook
        def waiting(self, request):
            print("a handler begins")
            threading.Event().wait()

        @webhook
        def computing(self, request):
            print("a handler begins")
            while True:
                pass

        @webhook
        async def coroutine(self, request):
            print("a handler begins")
            await defer.Deferred()

        @webhook
        async def futures(self, request):
            async with asyncio.timeout(5):
                one, two = await asyncio.gather(asyncio.sleep(0.01, "one"), asyncio.sleep(0.02, "two"))
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(5)
            except TimeoutError:
                return f"{{one}} {{two}} three"

        @webhook
        async def deferreds(self, request):
            late = task.deferLater(reactor, 0.01, lambda: "one")
            results = await defer.gatherResults([late, defer.succeed("two")])
            return " ".join(results) + " three"

        @webhook
        async def both(self, request):
            async def late():
                return await task.deferLater(reactor, 0.01, lambda: "one")

            one, two = await asyncio.gather(late(), asyncio.sleep(0.01, "two"))
            return f"{{one}} {{two}} three"
"""


@dataclass(frozen=True)
class Figures:
    """The measured figures. `gone` is the time in seconds from SIGTERM to the end of the process, `status` its
    status.
    """

    endless: str
    grace: float
    answers: Sequence[Answer]
    gone: float
    status: int
    pid_file_left: bool

    def report(self) -> str:
        """Return the figures as text."""
        return (
            f"SIGTERM with {len(self.answers)} handlers running and one that never ends ({self.endless}), grace period "
            f"{self.grace:g} s: {statuses(self.answers)}; ended after {self.gone:.2f} s by {_by(self.status)}"
        )

    def problems(self, slack: float = 0.25) -> list[str]:
        """Return a line for each failed expectation; the process may end `slack` seconds late."""
        found = []
        if [(answer.status, answer.body) for answer in self.answers] != [(200, "done")] * len(self.answers):
            found.append(f"responses: {statuses(self.answers)}")
        if not self.grace <= self.gone <= self.grace + 1 + slack:
            found.append(f"ended after {self.gone:.2f} s")
        if self.status != -signal.SIGTERM:
            found.append(f"ended by {_by(self.status)}")
        if self.pid_file_left:
            found.append("the pid file still exists")
        return found


def shutdown(directory: Path, endless: str, *, grace: float = 10.0, short: float = 1.0) -> Figures:
    """Terminate `twistd -n errklein` while 14 handlers sleep for `short` seconds, and the handler `endless` never
    ends.
    """
    port = _prepare(directory, grace, short)
    program = Program(TWISTD, "-n", "errklein", "--web", f"tcp:{port}:interface=127.0.0.1", cwd=directory)
    try:
        program.wait_for("Connected to null")
        with ThreadPoolExecutor(3) as clients:
            answers = [clients.submit(run, ask_at_once(port, path, 7)) for path in ("/short", "/short_async")]
            # This one is last, since a thread that computes slows down the others.
            program.wait_for("a handler begins", times=14)
            clients.submit(run, ask_at_once(port, f"/{endless}", 1))
            program.wait_for("a handler begins", times=15)
            program.signal(signal.SIGTERM)
            signalled = time.monotonic()
            status = program.process.wait(LIMIT)
            gone = time.monotonic() - signalled
    finally:
        program.kill()
    received = [answer for batch in answers for answer in batch.result()]
    return Figures(endless, grace, received, gone, status, (directory / "twistd.pid").exists())


@dataclass(frozen=True)
class Daemon:
    """The responses of a daemon."""

    answers: Sequence[Answer]
    status: int

    def report(self) -> str:
        """Return the responses as text."""
        return f"daemon: {[answer.body for answer in self.answers]}; ended by {_by(self.status)}"

    def problems(self) -> list[str]:
        """Return a line for each failed expectation."""
        found = [f"unexpected response: {answer}" for answer in self.answers if answer.body != "one two three"]
        if self.status != -signal.SIGTERM:
            found.append(f"ended by {_by(self.status)}")
        return found


def daemon(directory: Path) -> Daemon:
    """Call a daemon's handlers that use asyncio, Deferreds, or both; then terminate it."""
    port = _prepare(directory, 1.0, 0.1)
    with adopting_daemons():
        started = run_program(TWISTD, "errklein", "--web", f"tcp:{port}:interface=127.0.0.1", cwd=directory)
        assert started.returncode == 0, started.stderr
        pid = int((directory / "twistd.pid").read_text())
        try:
            answers = [run(ask_at_once(port, path, 1))[0] for path in ("/futures", "/deferreds", "/both")]
            os.kill(pid, signal.SIGTERM)
            return Daemon(answers, wait_for_daemon(pid))
        finally:
            kill(pid)


def _prepare(directory: Path, grace: float, short: float) -> int:
    """Write the plugin and the configuration; return a port for the bot."""
    write_plugin(directory / "plugins", "Handlers", dedent(PLUGIN.format(short=short)))
    write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"), "GRACE_PERIOD": grace})
    return free_port()


def _by(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
