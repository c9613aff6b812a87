"""Runs errklein, errbot and other servers for the benchmarks, each in its own process on loopback."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLUGINS = HERE / "plugins"
# pip compiles what it installs, so the checkout must be compiled too for a fair comparison.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
START_LIMIT = 60.0
"""The limit in seconds for the start of a process."""
IDLE = 0.1
"""The CPU time in a second up to which a process counts as idle: errklein checks the deadlines of its connections."""

QUIET = "logging.WARNING"
CONFIG = """
import logging

BACKEND = {backend!r}
BOT_IDENTITY = {{"username": "@bench"}}
BOT_ADMINS = ("@admin",)
BOT_DATA_DIR = {data!r}
BOT_EXTRA_PLUGIN_DIR = {plugins!r}
BOT_LOG_FILE = None
BOT_LOG_LEVEL = {level}
TEXT_DEMO_MODE = True
WEBHOOK_MAX_CONNECTIONS = 20_000
WEBHOOK_MAX_CONNECTIONS_PER_CLIENT = 2_000
WEBHOOK_QUEUE = 2_000
CORE_PLUGINS = ("ACLs", "CommandNotFoundFilter", "Health", "Help", "Plugins", "Utils", "Webserver")
"""


def arguments(text: str | None, **defaults: Any) -> Any:
    """Return the command line's options: `--name VALUE` for each default, which has the type of the values.

    False is a flag, and a type an option without a default.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        option = "--" + name.replace("_", "-")
        if default is False:
            parser.add_argument(option, action="store_true")
        elif isinstance(default, type):
            parser.add_argument(option, type=default)
        else:
            parser.add_argument(option, type=type(default), default=default, help=f"default: {default}")
    return parser.parse_args()


def report(problems: Sequence[str]) -> int:
    """Print the failed expectations, and return the exit status."""
    print("\n".join(problems[:20]) or "all expectations are met")
    return 1 if problems else 0


@dataclass(frozen=True)
class Bot:
    """The command line of a bot, and additions to its environment."""

    command: Sequence[str]
    environment: Mapping[str, str]


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_config(directory: Path, backend: str, plugins: Path) -> Path:
    """Write a config.py for both bots, with an empty data directory beside it, and return its path.

    The bots log warnings and errors; `log_requests` changes that.
    """
    data = directory / "data"
    data.mkdir(parents=True)
    config = directory / "config.py"
    text = CONFIG.format(backend=backend, data=str(data), plugins=str(plugins), level=QUIET)
    config.write_text(text, encoding="utf-8")
    return config


def log_requests(bot_directory: Path) -> None:
    """Let the bot in the directory log each request, as other web servers do."""
    config = bot_directory / "config.py"
    config.write_text(config.read_text(encoding="utf-8").replace(QUIET, "logging.INFO"), encoding="utf-8")


def log_no_deliveries(bot_directory: Path) -> None:
    """Let the errklein in the directory record no webhooks, since no other web server does."""
    with (bot_directory / "config.py").open("a", encoding="utf-8") as config:
        config.write('WEBHOOK_LOG = "off"\n')


def errklein(
    directory: Path, backend: str, port: int | None = None, plugins: Path = PLUGINS, checkout: Path = HERE.parent
) -> Bot:
    """Return the errklein of a checkout, set up in `directory`; with `port`, it serves webhooks there."""
    config = write_config(directory, backend, plugins)
    twistd = str(Path(sys.executable).with_name("twistd"))
    command = [twistd, "-n", f"--pidfile={directory / 'twistd.pid'}", "errklein", "--config", str(config)]
    if port is not None:
        command += ["--web", f"tcp:{port}:interface=127.0.0.1"]
    return Bot(command, {"PYTHONPATH": str(checkout)})


def errbot(
    directory: Path,
    python: Path,
    backend: str,
    port: int | None = None,
    plugins: Path = PLUGINS,
    certificate: tuple[str, str] | None = None,
) -> Bot:
    """Return the errbot that is installed for `python`, set up in `directory`.

    With `port`, it serves webhooks there, with HTTPS if the files of a certificate and its key are given.
    """
    config = write_config(directory, backend, plugins)
    program = str(python.with_name("errbot"))
    if port is not None:
        ports = (free_port(), port) if certificate else (port, free_port())
        files = dict(zip(("certificate", "key"), certificate or ("", ""), strict=True))
        ssl = {"enabled": certificate is not None, "host": "127.0.0.1", "port": ports[1], **files}
        configs = {"configs": {"Webserver": {"HOST": "127.0.0.1", "PORT": ports[0], "SSL": ssl}}}
        subprocess.run(
            [program, "-c", str(config), "--storage-set", "core"],
            input=repr(configs).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=START_LIMIT,
        )
    return Bot([program, "-c", str(config)], {})


@contextmanager
def errbot_python(given: Path | None) -> Iterator[Path]:
    """Yield a Python with errbot: the given one, or that of a temporary virtualenv."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="errbot-") as directory:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        python = Path(directory, "bin", "python")
        # errbot's Null backend imports its Test backend, which imports pytest.
        subprocess.run([python, "-m", "pip", "install", "--quiet", "errbot", "pytest"], check=True)
        yield python


@contextmanager
def serving(bot: Bot, port: int, log: Path) -> Iterator[int]:
    """Run the bot, wait until it listens on `port`, and yield its process id. It is stopped at the end of the block."""
    with running(bot, log) as process:
        _await_port(process, port, log)
        yield process.pid


@contextmanager
def running(bot: Bot, log: Path, **pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the bot, whose output is appended to `log`, except for `pipes`. It is stopped at the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            bot.command,
            env={**ENVIRONMENT, **bot.environment},
            cwd=log.parent,
            **{"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **pipes},  # type: ignore[call-overload]
        )
        try:
            yield process
        finally:
            _end(process)


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    command = " ".join(map(str, process.args))  # type: ignore[arg-type]
    raise RuntimeError(f"{command} doesn't listen on port {port}:\n{last_words(log)}")


def last_words(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Conversation:
    """A bot whose Text backend reads lines from a pipe. Replies are counted by a word that each of them contains."""

    def __init__(self, bot: Bot, log: Path) -> None:
        self.started = time.monotonic()
        self._log = log
        self._errors = log.open("wb")
        self._process = subprocess.Popen(
            bot.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**ENVIRONMENT, **bot.environment},
            cwd=log.parent,
        )
        self._word = b"?"
        self._found = 0
        self._tail = b""
        self._last = self.started
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id of the bot."""
        return self._process.pid

    def exchange(self, lines: Sequence[str], word: str, limit: float = 120.0) -> float:
        """Send the lines as fast as the bot reads them, and wait for as many replies with `word`.

        Returns the seconds from the first line to the last reply. Raises RuntimeError if the replies don't arrive
        within `limit` seconds, or the bot ends.
        """
        with self._changed:
            self._word, self._found, self._tail = word.encode(), 0, b""
        data = "".join(line + "\n" for line in lines).encode()
        began = time.monotonic()
        threading.Thread(target=self._write, args=(data,), daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._found >= len(lines) or not self._reader.is_alive(), timeout=limit)
            if self._found < len(lines):
                log = self._log.read_text(encoding="utf-8", errors="replace")[-1500:]
                tail = self._tail.decode(errors="replace")
                raise RuntimeError(f"{self._found} of {len(lines)} replies with {word!r}; the last:\n{tail}\n{log}")
            return self._last - began

    def close(self) -> None:
        """End the process."""
        _end(self._process)
        self._reader.join(timeout=5)
        self._errors.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while chunk := os.read(self._process.stdout.fileno(), 65536):
            now = time.monotonic()
            with self._changed:
                # The word may span two chunks, so the last bytes are searched again.
                kept = self._tail[-(len(self._word) - 1) :] if len(self._word) > 1 else b""
                self._found += (kept + chunk).count(self._word)
                self._tail = (self._tail + chunk)[-500:]
                self._last = now
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def processes(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found.extend(map(int, children.read_text(encoding="ascii").split()))
    return found


def resident(pid: int) -> float:
    """Return the resident memory of a process and its descendants in MB."""
    pages = sum(int(fields[1]) for fields in _figures(pid, "statm"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its descendants, in user and system mode. Ended children count, too."""
    # The name of the program may contain spaces, so fields are counted from the end.
    ticks = sum(int(ticks) for fields in _figures(pid, "stat") for ticks in fields[-39:-35])
    return ticks / os.sysconf("SC_CLK_TCK")


def await_idle(pids: Collection[int]) -> None:
    """Wait until the processes are nearly idle: they have started completely, or have handled what they got."""
    used: dict[int, float] = {}
    while any(cpu_seconds(pid) > used.get(pid, 0.0) + IDLE for pid in pids):
        used = {pid: cpu_seconds(pid) for pid in pids}
        time.sleep(1)


def _figures(pid: int, file: str) -> Iterator[list[str]]:
    """Yield the fields of a file in /proc, for a process and each descendant that hasn't ended meanwhile."""
    for each in processes(pid):
        with suppress(OSError):
            yield Path(f"/proc/{each}/{file}").read_text(encoding="ascii").split()
