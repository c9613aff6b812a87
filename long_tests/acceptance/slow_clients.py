"""The scenario slow clients: thousands of connections send their headers slowly, and another client is served as usual.

The attack is a process: python -m long_tests.acceptance.slow_clients PORT N ADDRESSES. Its N clients connect from that many addresses
in 127.0.0.0/8, send one byte of a header each second, and reconnect as soon as the server closes a connection. It prints
"attacking" when each client has connected once. When standard input ends, it prints the number of connections.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from textwrap import dedent

from long_tests.acceptance.wire import Answer, Connection, in_short, run, slowest, statuses
from tests.processes import LIMIT, TWISTD, environment, free_port, write_config, write_plugin

DESCRIPTORS = 1024
"""The limit of file descriptors of the bot."""

P99 = 0.2
"""The limit for the slowest percent of the other client's requests, in seconds."""

PLUGIN = """
    from errklein import BotPlugin, webhook

    class Quick(BotPlugin):
        @webhook
        async def quick(self, payload):
            return "done"
"""

_HEAD = b"POST /quick HTTP/1.1\r\nHost: slow\r\nX-Slow: "
_NO_PORT_BEFORE_CONNECT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


@dataclass(frozen=True)
class Figures:
    """The measured figures: the other client's responses, and the connections of the attack with the log lines about them."""

    addresses: int
    clients: int
    seconds: float
    fresh: Sequence[Answer]
    kept: Sequence[Answer]
    connections: int
    log: str

    @property
    def lines(self) -> list[str]:
        """The lines of the bot's log during the attack, without those about responses."""
        return [line for line in self.log.splitlines() if '"POST /quick" 200' not in line and '"-" 408' not in line]

    def report(self) -> str:
        """Return the figures as text."""
        return (
            f"{self.clients} slow clients from {self.addresses} addresses for {self.seconds:g} s ({self.connections} connections, "
            f"{len(self.lines)} log lines): new connections: {statuses(self.fresh)}, p99 {_p99(self.fresh) * 1000:.0f} ms, "
            f"{in_short([one.took for one in self.fresh])}; a kept connection: {statuses(self.kept)}, "
            f"p99 {_p99(self.kept) * 1000:.0f} ms, {in_short([one.took for one in self.kept])}"
        )

    def problems(self, p99: float = P99) -> list[str]:
        """Return a line for each failed expectation."""
        found = []
        for name, answers in (("new connections", self.fresh), ("kept connection", self.kept)):
            if not answers or {answer.status for answer in answers} != {200}:
                found.append(f"{name}: {statuses(answers)}")
            if _p99(answers) > p99:
                found.append(f"{name}: p99 {_p99(answers):.3f} s")
        if "Traceback" in self.log or "EMFILE" in self.log:
            found.append("the log has a traceback, or the descriptors were exhausted")
        if len(self.lines) > 4 * (1 + self.seconds / 60):
            found.append(f"{len(self.lines)} log lines for {self.connections} connections")
        return found


def slow_clients(directory: Path, clients: int, addresses: int, seconds: float) -> Figures:
    """Attack a bot with few file descriptors, and measure another client meanwhile."""
    write_plugin(directory / "plugins", "Quick", dedent(PLUGIN))
    write_config(
        directory,
        {"BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"), "BOT_LOG_LEVEL": 20},
    )
    port = free_port()
    with _bot(directory, port) as log:
        before = len(log.read_text())
        with _attack(port, clients, addresses) as attack:
            fresh, kept = run(_ask(port, seconds))
            connections = _end(attack)
        return Figures(addresses, clients, seconds, fresh, kept, connections, log.read_text()[before:])


@contextmanager
def _bot(directory: Path, port: int) -> Iterator[Path]:
    """Run a bot, and yield the file of its output."""
    log = directory / "output.log"
    limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", *TWISTD, "-n", "errklein"]
    with log.open("wb") as output:
        bot = subprocess.Popen(
            [*limited, "--web", f"tcp:{port}:interface=127.0.0.1"],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        limit = time.monotonic() + LIMIT
        while run(_first(port)).status != 200:
            assert time.monotonic() < limit and bot.poll() is None, log.read_text()
            time.sleep(0.05)
        yield log
    finally:
        bot.kill()
        bot.wait(LIMIT)


async def _first(port: int) -> Answer:
    connection = Connection(port)
    answer = await connection.ask("/quick")
    connection.close()
    return answer


@contextmanager
def _attack(port: int, clients: int, addresses: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", __name__, str(port), str(clients), str(addresses)]
    attack = subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert attack.stdout is not None
        assert attack.stdout.readline() == b"attacking\n"
        yield attack
    finally:
        attack.kill()
        attack.communicate(timeout=LIMIT)


def _end(attack: subprocess.Popen[bytes]) -> int:
    output, _ = attack.communicate(timeout=LIMIT)
    return int(output)


async def _ask(port: int, seconds: float) -> tuple[list[Answer], list[Answer]]:
    """Post for some seconds, on new connections and on one that is kept."""
    until = time.monotonic() + seconds
    kept = Connection(port)
    answers: tuple[list[Answer], list[Answer]] = ([], [])

    async def ask(connection: Connection) -> Answer:
        sent = time.monotonic()
        try:
            return await asyncio.wait_for(connection.ask("/quick"), 5)
        except TimeoutError:
            return Answer(0, {}, "", sent, time.monotonic())

    while time.monotonic() < until:
        fresh = Connection(port)
        answers[0].append(await ask(fresh))
        fresh.close()
        answers[1].append(await ask(kept))
        await asyncio.sleep(0.01)
    kept.close()
    return answers


def _p99(answers: Sequence[Answer]) -> float:
    return slowest([answer.took for answer in answers], 0.99)


class _Clients:
    """The slow clients, on one epoll."""

    def __init__(self, port: int, addresses: int) -> None:
        self._port = port
        self._addresses = addresses
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, int]] = {}
        self._connected: set[int] = set()
        self.connections = 0

    def connect(self, number: int) -> None:
        """Open a connection from the address of the client with this number."""
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_IP, _NO_PORT_BEFORE_CONNECT, 1)
        index = number % self._addresses
        client.bind((f"127.1.{index // 250}.{2 + index % 250}", 0))
        client.connect_ex(("127.0.0.1", self._port))
        self._open[client.fileno()] = client, number
        self._poll.register(client, select.EPOLLOUT | select.EPOLLIN)
        self.connections += 1

    def turn(self) -> None:
        """Handle events: send the beginning of a head on a new connection, and reconnect when one is closed."""
        for descriptor, event in self._poll.poll(0.1):
            client, number = self._open[descriptor]
            try:
                if event & select.EPOLLOUT:
                    client.send(_HEAD)
                    self._poll.modify(descriptor, select.EPOLLIN)
                    self._connected.add(number)
                    continue
                if client.recv(4096):
                    continue
            except OSError:
                pass
            del self._open[descriptor]
            client.close()
            self.connect(number)

    def all_have_connected(self, clients: int) -> bool:
        """Return whether each client has connected once."""
        return len(self._connected) == clients

    def drip(self) -> None:
        """Send a byte on each connection."""
        for client, _ in self._open.values():
            try:
                client.send(b"x")
            except OSError:
                continue


def attack(port: int, clients: int, addresses: int) -> None:
    """Attack until standard input ends."""
    _, most = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (most, most))
    attackers = _Clients(port, addresses)
    for number in range(clients):
        attackers.connect(number)
    said = False
    ended = select.poll()
    ended.register(0, select.POLLIN | select.POLLHUP)
    dripped = time.monotonic()
    while not ended.poll(0):
        attackers.turn()
        if not said and attackers.all_have_connected(clients):
            said = True
            print("attacking", flush=True)
        if time.monotonic() - dripped > 1:
            dripped = time.monotonic()
            attackers.drip()
    print(attackers.connections, flush=True)
    os._exit(0)


if __name__ == "__main__":
    attack(*map(int, sys.argv[1:]))
