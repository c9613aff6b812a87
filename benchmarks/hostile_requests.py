"""300 connections that send hostile requests to a bot, while another client posts.

Each hostile request is compared with a harmless one of the same size: a path and a header of many separators, and a body in which
fields are masked. Run `python benchmarks/hostile_requests.py [--rounds 5] [--checkout DIRECTORY]`. Prints how long the other client
waits, in milliseconds. Exits with 1 if it waits more than 1.5 times as long beside the hostile requests.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import bots
from web_report import text

CONNECTIONS = 300
MOST = 1.5
HEAD = "Host: bot.example.net\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"


def request(path: str, body: bytes = b"", headers: str = "") -> bytes:
    """Return a POST."""
    return f"POST {path} HTTP/1.1\r\n{HEAD}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def pairs() -> Mapping[str, tuple[bytes, bytes]]:
    """Return a harmless and a hostile request of each kind."""
    names, questions, signs = ";a=" * 5280, "?" * 15_000, b"=" * 200_000
    return {
        "path": (request("/token" + "x" * len(names)), request(f"/token{names}")),
        "header": (
            request("/bench_raw_async", headers=f"X-A: a={'x' * len(questions)}\r\n"),
            request("/bench_raw_async", headers=f"X-A: a={questions}\r\n"),
        ),
        "body": (request("/bench_raw_async", b"x=" + b"x" * len(signs)), request("/bench_raw_async", signs + b"%<")),
    }


def exchange(port: int, data: bytes) -> None:
    """Send a request on a new connection, and read the response."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(data)
        if not connection.recv(65536).startswith(b"HTTP/1.1 "):
            raise RuntimeError("the bot has closed the connection")


def waits(port: int, data: bytes) -> list[float]:
    """Send a request on all connections at once, and return the response times of another client meanwhile."""
    senders = [threading.Thread(target=exchange, args=(port, data)) for _ in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    times = []
    while any(sender.is_alive() for sender in senders) or len(times) < 20:
        begun = time.monotonic()
        exchange(port, request("/bench_async"))
        times.append(time.monotonic() - begun)
    return times


def measure(directory: Path, checkout: Path, rounds: int) -> Mapping[str, tuple[list[float], list[float]]]:
    """Return the response times beside the harmless and the hostile requests of each kind."""
    port = bots.free_port()
    bot = bots.errklein(directory / "bot", "Text", port, checkout=checkout)
    bots.log_requests(directory / "bot")
    with (directory / "bot" / "config.py").open("a", encoding="utf-8") as config:
        config.write('WEBHOOK_LOG_MASK = ("pin",)\n')
    results: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs()}
    with bots.serving(bot, port, directory / "log"):
        for _ in range(rounds):
            for name, requests in pairs().items():
                for data, times in zip(requests, results[name], strict=True):
                    times += waits(port, data)
                    # The deliveries are recorded a moment later.
                    time.sleep(1)
    return results


def rows(results: Mapping[str, tuple[list[float], list[float]]]) -> Sequence[Sequence[str]]:
    """Return a table of milliseconds, and the ratio of the means."""
    table = [["", "harmless", "p99", "longest", "hostile", "p99", "longest", "ratio"]]
    for name, both in results.items():
        figures = [
            f"{1000 * value:.1f}"
            for times in both
            for value in (statistics.mean(times), sorted(times)[len(times) * 99 // 100], max(times))
        ]
        table.append([name, *figures, f"{ratio(both):.2f}"])
    return table


def ratio(both: tuple[list[float], list[float]]) -> float:
    """Return how many times as long the client waits beside the hostile requests, on average."""
    harmless, hostile = both
    return statistics.mean(hostile) / statistics.mean(harmless)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each request is sent on all connections")
    parser.add_argument("--checkout", type=Path, default=bots.HERE.parent, help="the errklein to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = measure(Path(directory), options.checkout, options.rounds)
    print(text(rows(results)))
    return int(any(ratio(both) > MOST for both in results.values()))


if __name__ == "__main__":
    sys.exit(main())
