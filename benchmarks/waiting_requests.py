"""Resident memory of requests that wait in `async def` handlers, of errklein, aiohttp, uvicorn, FastAPI and Klein.

Opens 10,000 connections. Posts 50 bytes of JSON over each, with the headers that GitHub sends, to a handler that waits for a
timer. Prints the bytes by which the server's resident memory grows, divided by the number of connections:

- "connection": when the connections are open and no request has been sent
- "request": when all requests wait, without their connections
- "both": the sum, to which errklein's target applies

    python benchmarks/waiting_requests.py [--count 10000] [--contenders errklein,aiohttp] [--before CHECKOUT]
"""

from __future__ import annotations

import argparse
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bots import await_idle, free_port, resident, serving
from web_peers import Peer, Setup, peers
from web_report import text

NAMES = ("errklein", "before", "aiohttp", "uvicorn", "FastAPI", "Klein")
BODY = '{"repository": {"name": "errklein"}, "count": 123}'
HEADERS = (
    "Host: bot.example.net",
    "User-Agent: GitHub-Hookshot/2b1a4c7",
    "Accept: */*",
    "X-GitHub-Delivery: 4f1c9f66-cc78-11e3-81ab-4c9367dc0958",
    "X-GitHub-Event: push",
    "X-GitHub-Hook-ID: 292430182",
    "X-GitHub-Hook-Installation-Target-ID: 79929171",
    "X-GitHub-Hook-Installation-Target-Type: repository",
    "X-Hub-Signature: sha1=" + "7d" * 20,
    "X-Hub-Signature-256: sha256=" + "d5" * 32,
    "Content-Type: application/json",
    f"Content-Length: {len(BODY)}",
)
SOURCES = 100
"""The number of addresses from which connections are opened, because servers limit the connections of an address."""


def request(path: str) -> bytes:
    """Return a complete request, with the headers of GitHub's webhooks."""
    return "\r\n".join([f"POST {path} HTTP/1.1", *HEADERS, "", BODY]).encode()


def measure(chosen: Sequence[Peer], names: Sequence[str], count: int = 10_000) -> dict[str, Mapping[str, float]]:
    """Return the figures of each chosen peer that has one of the names and is installed."""
    _allow_files(count + count // 4 + 100)
    return {peer.name: _measure(peer, count) for peer in chosen if peer.name in names and not peer.missing}


def _measure(peer: Peer, count: int) -> Mapping[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        setup = Setup(Path(directory, "server"), free_port())
        setup.directory.mkdir()
        with serving(peer.command(setup), setup.port, Path(directory, "log")) as pid:
            _warm_up(setup.port)
            before = _settled(pid)
            clients = list(_clients(setup.port, count))
            idle = _settled(pid)
            for client in clients:
                client.sendall(request("/bench_wait"))
            waiting = _settled(pid)
            for client in clients:
                _expect_no_response(client)
    return {
        "connection": (idle - before) / count,
        "request": (waiting - idle) / count,
        "both": (waiting - before) / count,
    }


def rows(measured: Mapping[str, Mapping[str, float]]) -> Sequence[Sequence[str]]:
    """Return a table of bytes."""
    return [["", "connection", "request", "both"]] + [
        [name, *(f"{value:,.0f}" for value in figures.values())] for name, figures in measured.items()
    ]


def _allow_files(count: int) -> None:
    """Raise the limit of open files of this process and the servers that it starts. errklein keeps some of them free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))


def _warm_up(port: int) -> None:
    with _connect(port, 0) as client:
        for _ in range(200):
            client.sendall(request("/bench_async"))
            client.recv(65536)


def _clients(port: int, count: int) -> Iterator[socket.socket]:
    """Yield connections, at a rate at which the queue of new connections, 50 in Twisted, doesn't overflow."""
    for number in range(count):
        if number % 40 == 0:
            time.sleep(0.02)
        yield _connect(port, number % SOURCES)


def _connect(port: int, source: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(f"127.0.1.{source + 1}", 0))


def _settled(pid: int) -> float:
    """Wait until the server is nearly idle and return its resident memory in bytes."""
    await_idle([pid])
    return resident(pid) * 1024**2


def _expect_no_response(client: socket.socket) -> None:
    """Close the connection; raises RuntimeError if the server has responded or closed it."""
    client.setblocking(False)
    try:
        received = client.recv(1000)
    except BlockingIOError:
        client.close()
    else:
        raise RuntimeError(f"a request that should wait got {received!r}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="number of connections")
    parser.add_argument("--contenders", default=",".join(NAMES), help="names of contenders, with commas between them")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="measure the errklein of this checkout, too")
    options = parser.parse_args()
    measured = measure(list(peers(None, None, options.before)), options.contenders.split(","), options.count)
    print(text(rows(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
