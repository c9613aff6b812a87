"""Send generated valid and invalid requests to a bot, over TCP, a Unix socket, and TLS with `--tls`.

Run `python long_tests/fuzz_http.py [--seconds 600] [--tls]`. Exits with 1 if one of these expectations fails:

- The bot responds to each request with a valid response, or closes the connection, within 65 s. (Its own limits are 10 s for a head,
  30 s for a body, and 60 s for a connection without a request.) No status is 500, except that of a handler that fails deliberately,
  and none is 504.
- A valid request each second, on a new connection to each endpoint, is answered within 5 s.
- The log has no traceback and no error, except those of the handler that fails deliberately, and of `WebSocketResource`: Twisted's
  class raises an error if a handshake has no Host header, or a byte above 127 in some headers. Its clients get 500, too.
- From the end of the first minute (in short runs, of the first half), in which caches fill up, to the end of the run, memory grows by
  at most these numbers: 1 MB allocated with malloc, 1,000 Python objects, and 25 MB of resident memory, of which glibc keeps parts
  that are free. They are measured when no requests are sent.
- The numbers of open file descriptors and of requests in flight are then those of the start.

Each exchange is generated from a seed, which is printed if the exchange fails. `--seed N` repeats one exchange and prints its bytes;
`--first N` begins with this seed.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import bots
from fuzz_requests import Exchange, exchange
from web_peers import new_certificate

PLUGINS = Path(__file__).parent / "plugins_for_fuzzing"
CLIENTS = 48
LONGEST = 65.0
HEALTHY = 5.0
QUIET = 0.3
WARM_UP = 60.0
MOST_RESIDENT = 25.0
MOST_GROWTH = {"kB allocated": 1024, "objects": 1000}
MOST_PROBLEMS = 20

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) [\x20-\x7e]*")
HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
CHUNK = re.compile(rb"([0-9A-Fa-f]+)\r\n")
EXPECTED = re.compile("fails deliberately|_websocket_impl")
HEALTHY_REQUEST = b"POST /async HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 7\r\n\r\nhealthy"
STATE_REQUEST = b"POST /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Malformed(Exception):
    """The bytes are not responses."""


def parse(raw: bytes, may_be_head: bool) -> tuple[list[int], bytes, bool]:
    """Return the statuses and the last body of complete responses, and whether no other response has begun.

    :param may_be_head: A response may be without the body that its headers announce.
    :raises Malformed: The bytes are not responses.
    """
    statuses: list[int] = []
    body = b""
    while raw:
        head, separator, rest = raw.partition(b"\r\n\r\n")
        if not separator:
            return statuses, body, False
        line, *lines = head.split(b"\r\n")
        status = STATUS_LINE.fullmatch(line)
        fields = [HEADER.fullmatch(line) for line in lines]
        if status is None or None in fields:
            raise Malformed(head[:1000])
        headers = {field[1].lower(): field[2] for field in fields if field}
        statuses.append(int(status[1]))
        if statuses[-1] == 101:
            return statuses, rest, True
        bodiless = statuses[-1] < 200 or statuses[-1] in (204, 304)
        if bodiless or (may_be_head and (not rest or rest.startswith(b"HTTP/1."))):
            raw = rest
        elif headers.get(b"transfer-encoding") == b"chunked":
            decoded = dechunk(rest)
            if decoded is None:
                return statuses[:-1], body, False
            body, raw = decoded
        elif (length := headers.get(b"content-length")) is not None:
            if len(rest) < int(length):
                return statuses[:-1], body, False
            body, raw = rest[: int(length)], rest[int(length) :]
        else:
            # The body ends with the connection.
            return statuses, rest, True
    return statuses, body, True


def dechunk(raw: bytes) -> tuple[bytes, bytes] | None:
    """Return a body without its chunks and the bytes after it; None if it is incomplete."""
    body = b""
    while line := CHUNK.match(raw):
        size = int(line[1], 16)
        chunk, raw = raw[line.end() : line.end() + size], raw[line.end() + size :]
        if raw[:2] != b"\r\n"[: len(raw)]:
            raise Malformed(b"a chunk is followed by %r" % raw[:20])
        body, raw = body + chunk, raw[2:]
        if not size:
            return body, raw
    if b"\r\n" in raw:
        raise Malformed(b"a chunk begins with %r" % raw[:20])
    return None


@dataclass(frozen=True)
class Endpoint:
    """An address of the bot."""

    name: str
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None

    async def connect(self, limit: int = 2**16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection. `limit` is the size of the client's buffer."""
        if self.path:
            return await asyncio.open_unix_connection(self.path, limit=limit)
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, limit=limit)

    async def ask(self, request: bytes) -> bytes:
        """Send a valid request that closes the connection, and return the body of the response."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            statuses, body, complete = parse(await reader.read(-1), False)
        finally:
            writer.close()
        if statuses != [200] or not complete:
            raise Malformed(f"{statuses} {body!r}")
        return body


@dataclass
class Fuzzing:
    """The exchanges of many clients with a bot."""

    endpoints: Sequence[Endpoint]
    seed: int
    statuses: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest: float = 0.0

    async def run(self, seconds: float) -> None:
        """Begin exchanges for some seconds, and wait until all have ended."""
        until = time.monotonic() + seconds
        healthy = [asyncio.create_task(self._ask_each_second(endpoint)) for endpoint in self.endpoints]
        await asyncio.gather(*(self._client(until) for _ in range(CLIENTS)))
        for task in healthy:
            task.cancel()
        await asyncio.wait(healthy)

    async def _client(self, until: float) -> None:
        while time.monotonic() < until and len(self.problems) < MOST_PROBLEMS:
            self.seed += 1
            await self.exchange(exchange(self.seed, LONGEST))

    async def _ask_each_second(self, endpoint: Endpoint) -> None:
        while True:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(HEALTHY):
                    await endpoint.ask(HEALTHY_REQUEST)
            except (OSError, TimeoutError, Malformed) as error:
                self.problems.append(f"a valid request, {endpoint.name}: {error!r}")
            self.slowest = max(self.slowest, time.monotonic() - begun)
            await asyncio.sleep(1)

    async def exchange(self, given: Exchange) -> bytes:
        """Send the pieces of an exchange on a new connection, and check and return the responses."""
        endpoint = self.endpoints[given.seed % len(self.endpoints)]
        try:
            reader, writer = await endpoint.connect(1024 if given.end == "slow" else 2**16)
        except OSError as error:
            self._fail(given, endpoint, f"no connection: {error!r}")
            return b""
        client = Client(given, reader, writer)
        try:
            end = await client.run()
            statuses, _, complete = client.responses()
        except Malformed as error:
            self._fail(given, endpoint, f"malformed response: {error}")
            return bytes(client.received)
        finally:
            client.close()
        self.statuses.update(statuses)
        self.ends[f"{end}, {'some' if statuses else 'no'} response"] += 1
        if end == "no end":
            self._fail(given, endpoint, f"no response and no end in {LONGEST:g} s, after {statuses}")
        elif end == "end" and given.end != "half-close" and not complete:
            self._fail(given, endpoint, f"an incomplete response after {statuses}")
        elif 504 in statuses or (500 in statuses and not (b"/fails" in given.sent or b"/socket" in given.sent)):
            self._fail(given, endpoint, f"{statuses}")
        return bytes(client.received)

    def _fail(self, given: Exchange, endpoint: Endpoint, text: str) -> None:
        self.problems.append(f"seed {given.seed}, {endpoint.name}, {given.end}: {text}")


@dataclass
class Client:
    """The client's side of one exchange."""

    exchange: Exchange
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray = field(default_factory=bytearray)

    async def run(self) -> str:
        """Send and receive. Return how the exchange ended: "end" if the bot closed the connection, "no end" if it did nothing."""
        sending = asyncio.create_task(self._send())
        try:
            return await self._receive()
        except (ConnectionError, ssl.SSLError):
            return "reset by the bot"
        finally:
            sending.cancel()
            await asyncio.wait([sending])

    async def _send(self) -> None:
        # The bot may have closed the connection.
        with suppress(OSError):
            for piece in self.exchange.pieces:
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(self.exchange.pause)
            if self.exchange.end == "half-close" and self.writer.can_write_eof():
                self.writer.write_eof()

    async def _receive(self) -> str:
        kind = self.exchange.end
        if kind in ("close", "reset"):
            await asyncio.sleep(random.Random(self.exchange.seed).random() * 0.05)
            return "left"
        begun = time.monotonic()
        while True:
            waited = time.monotonic() - begun
            statuses, _, complete = self.responses()
            answered = complete and any(status >= 101 for status in statuses)
            limit = QUIET if answered else (LONGEST if self.received else self.exchange.patience) - waited
            try:
                async with asyncio.timeout(max(0.01, limit)):
                    data = await self.reader.read(500 if kind == "slow" else 2**20)
            except TimeoutError:
                if answered:
                    return "answered"
                return "no end" if waited + limit >= LONGEST else "impatient"
            if not data:
                return "end"
            self.received += data
            if kind == "slow":
                if waited > 3:
                    return "left"
                await asyncio.sleep(0.05)

    def responses(self) -> tuple[list[int], bytes, bool]:
        """Return what `parse` finds in the received bytes."""
        return parse(bytes(self.received), b"HEAD " in self.exchange.sent)

    def close(self) -> None:
        """Close or reset the connection."""
        plain = self.writer.get_extra_info("socket")
        if self.exchange.end == "reset" and plain is not None:
            with suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(frozen=True)
class State:
    """What must not grow."""

    memory: float
    descriptors: int
    numbers: dict[str, int]

    @classmethod
    async def of(cls, pid: int, endpoint: Endpoint) -> State:
        """Wait until the bot is idle, at most 70 s, and return its state."""
        limit = time.monotonic() + 70
        while True:
            numbers = json.loads(await endpoint.ask(STATE_REQUEST))
            if not (numbers["in flight"] or numbers["connections"]) or time.monotonic() > limit:
                await asyncio.sleep(1)
                return cls(bots.resident(pid), descriptors(pid), numbers)
            await asyncio.sleep(0.5)

    def __str__(self) -> str:
        numbers = ", ".join(f"{number} {name}" for name, number in self.numbers.items())
        return f"{self.memory:.1f} MB, {self.descriptors} descriptors, {numbers}"

    def problems(self, start: State, warm: State) -> list[str]:
        """Return a line for each number that has grown."""
        found = []
        growth = {name: self.numbers[name] - warm.numbers[name] for name in MOST_GROWTH}
        if self.memory > warm.memory + MOST_RESIDENT or any(growth[name] > most for name, most in MOST_GROWTH.items()):
            found.append(f"memory has grown from {warm} to {self}")
        if self.descriptors > start.descriptors or self.numbers["in flight"] or self.numbers["connections"]:
            found.append(f"something is left open: {start} at the start, {self} at the end")
        return found


def descriptors(pid: int) -> int:
    """Return the number of open file descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def errors_in(log: str) -> list[str]:
    """Return the records of a log that are errors, except the expected ones."""
    records = re.split(r"\n(?=\d{4}-\d\d-\d\d)", log)
    bad = re.compile("Traceback|critical|error|Unhandled")
    return [record[:3000] for record in records if bad.search(record) and not EXPECTED.search(record)]


async def fuzz(pid: int, fuzzing: Fuzzing, seconds: float) -> list[str]:
    """Run the exchanges, print the figures, and return the failed expectations."""
    endpoint = fuzzing.endpoints[0]
    await endpoint.ask(HEALTHY_REQUEST)
    start = await State.of(pid, endpoint)
    print(f"start: {start}", flush=True)
    first = fuzzing.seed
    warm_up = min(WARM_UP, seconds / 2)
    await fuzzing.run(warm_up)
    warm = await State.of(pid, endpoint)
    print(f"after {warm_up:g} s: {warm}", flush=True)
    await fuzzing.run(seconds - warm_up)
    end = await State.of(pid, endpoint)
    print(f"end: {end}")
    print(f"{fuzzing.seed - first} connections, {sum(fuzzing.statuses.values())} responses, seeds from {first + 1}")
    print("statuses: " + ", ".join(f"{count} × {status}" for status, count in sorted(fuzzing.statuses.items())))
    print("ends of connections: " + ", ".join(f"{count} × {name}" for name, count in fuzzing.ends.most_common()))
    print(f"slowest response to a valid request: {fuzzing.slowest * 1000:.0f} ms")
    return fuzzing.problems + end.problems(start, warm)


async def repeat(fuzzing: Fuzzing, seed: int) -> list[str]:
    """Repeat one exchange, and print it. Its client waits for the response."""
    given = replace(exchange(seed, LONGEST), patience=LONGEST)
    print(f"{given.pieces}\nend: {given.end}\n{await fuzzing.exchange(given)!r}")
    return fuzzing.problems


def main() -> int:
    """Run a bot and fuzz it."""
    options = bots.arguments(__doc__, seconds=600.0, tls=False, first=random.randrange(10**9), seed=int)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = directory / "log"
        port, tls_port = bots.free_port(), bots.free_port()
        bot = bots.errklein(directory, "Null", port, PLUGINS)
        # SQLite's cache has up to 16 MB, but not more than its file, so that it is full after the first minute.
        with (directory / "config.py").open("a", encoding="utf-8") as config:
            config.write("WEBHOOK_LOG_SIZE = 2_000_000\n")
        path = directory / "socket"
        endpoints = [Endpoint("tcp", port), Endpoint("unix", path=str(path))]
        command = [*bot.command, "--web", f"unix:{path}"]
        if options.tls:
            certificate = new_certificate(directory)
            keys = f"privateKey={certificate.key}:certKey={certificate.certificate}"
            command += ["--web", f"ssl:{tls_port}:{keys}:interface=127.0.0.1"]
            endpoints.append(Endpoint("tls", tls_port, tls=ssl._create_unverified_context()))
        with bots.serving(bots.Bot(command, bot.environment), port, log) as pid:
            fuzzing = Fuzzing(endpoints, (options.seed or options.first) - 1)
            running = fuzz(pid, fuzzing, options.seconds) if options.seed is None else repeat(fuzzing, options.seed)
            problems = asyncio.run(running)
        text = log.read_text(encoding="utf-8", errors="replace")
        problems += errors_in(text)
        print(f"log: {len(text.splitlines())} lines; expected errors: {Counter(EXPECTED.findall(text))}")
    return bots.report(problems)


if __name__ == "__main__":
    sys.exit(main())
