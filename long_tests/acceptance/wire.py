"""A small HTTP client with persistent connections that records the times of requests and responses."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """A response, and the times of the request on the clock that all processes share.

    A status of 0 means that the connection was lost.
    """

    status: int
    headers: Mapping[str, str]
    body: str
    sent: float
    received: float

    @property
    def took(self) -> float:
        """The seconds from the request to the complete response."""
        return self.received - self.sent


class Connection:
    """A connection for one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """Connect in advance of the next request."""
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, path: str) -> Answer:
        """Post a small JSON body, and return the response."""
        sent = time.monotonic()
        try:
            if self._streams is None:
                await self.open()
            assert self._streams is not None
            self._streams[1].write(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: 2\r\n\r\n{{}}".encode()
            )
            status, headers, body = await _answer(self._streams[0])
        except (OSError, EOFError):
            self.close()
            return Answer(0, {}, "", sent, time.monotonic())
        return Answer(status, headers, body, sent, time.monotonic())

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str], str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, body.decode()


async def ask_at_once(port: int, path: str, times: int) -> list[Answer]:
    """Send this number of requests concurrently, each on its own connection; return the responses in order."""
    connections = [Connection(port) for _ in range(times)]
    for connection in connections:
        await connection.open()
    try:
        return await asyncio.gather(*(connection.ask(path) for connection in connections))
    finally:
        for connection in connections:
            connection.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine in a new event loop, without changing the thread's current loop."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def statuses(answers: Sequence[Answer]) -> str:
    """Return the number of responses of each status as text."""
    counted = Counter(answer.status for answer in answers)
    return ", ".join(f"{count} × {status}" for status, count in sorted(counted.items()))


def slowest(times: Sequence[float], share: float = 1.0) -> float:
    """Return the longest time, or the longest of the given share of the shortest ones."""
    return sorted(times)[max(0, int(len(times) * share) - 1)]


def in_short(times: Sequence[float]) -> str:
    """Return the maximum and the median in milliseconds as text."""
    if not times:
        return "none"
    return f"slowest {max(times) * 1000:.1f} ms, median {slowest(times, 0.5) * 1000:.1f} ms"
