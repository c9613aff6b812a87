"""Measure the console of a bot that receives deliveries all the time: ten webhooks, whose deliveries are recorded before they run.

The bot is a process of its own on loopback, without TLS, with the deliveries of six days in its journal. The parts, of which
`--only` chooses one:

- pages: each page of the console, loaded 50 times, and the reactor's pauses meanwhile, beside those without the console's work
- live: the bot's CPU time for a delivery, with nobody on the console and with many browsers that follow pages, in alternating runs

    python benchmarks/console.py                    both parts: 15 minutes; exits with 1 if a target is missed
    python benchmarks/console.py --only pages       one part
    python benchmarks/console.py --check            small numbers and no targets: exits with 1 if a request fails
"""

from __future__ import annotations

import http.client
import json
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bots import HERE, arguments, cpu_seconds, errklein, free_port, last_words, running
from journal import fill

PLUGINS = HERE / "plugins_for_console"
WEBHOOKS = [f"Hooks:hook{number}" for number in range(10)]
SETTINGS = """
del CORE_PLUGINS
WEBHOOK_LOG = "heads"
WEBHOOK_LOG_SIZE = 10**12
"""
SEARCHES = ("/deliveries?text=nothing", "/deliveries?answered=500", "/deliveries?reason=nothing")
LOADS = 50
MOST_MEDIAN, MOST_WORST, MOST_PAUSE = 150.0, 400.0, 20.0
"""The targets of pages and of the reactor's pauses, in milliseconds."""
MOST_COST = 0.05
"""The target of the cost of live pages, as a part of the CPU time of a delivery."""
STREAMS = 100


class Sources:
    """Threads that post to each webhook at the same rate, together `rate` requests per second, in a `with` block."""

    def __init__(self, port: int, rate: float) -> None:
        self.answered, self.wrong = 0, 0
        self._port, self._interval = port, len(WEBHOOKS) / rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(len(WEBHOOKS))]

    def __enter__(self) -> Sources:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End after the responses to what was sent."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        body = b'{"repository": {"name": "errklein"}, "count": 123}'
        head = f"POST /hook{number} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as connection:
            due = time.monotonic() + self._interval * number / len(WEBHOOKS)
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                due += self._interval
                connection.sendall(head.encode() + body)
                if connection.recv(65536).startswith(b"HTTP/1.1 202 "):
                    self.answered += 1
                else:
                    self.wrong += 1


class Browser:
    """A browser with a session on the console."""

    def __init__(self, link: str) -> None:
        self._address = urlsplit(link)
        origin = {"Origin": f"http://{self._address.netloc}"}
        status, headers, _ = self._request("POST", self._address.path, origin)
        if status != 303:
            raise RuntimeError(f"the link was refused: {status}")
        self._cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}

    def get(self, path: str) -> str:
        """Return a page."""
        status, _, text = self._request("GET", path, self._cookie)
        if status != 200:
            raise RuntimeError(f"{path}: {status}")
        return text

    def pages(self) -> Sequence[str]:
        """Return a page of each kind that can be reached by links, and the forms' searches."""
        new = ["/", *SEARCHES]
        found = {_kind(path): path for path in new}
        for path in new:
            for link in re.findall(r'<a (?:class="[^"]*" )?href="(/[^"#]*)', self.get(path)):
                link = link.replace("&amp;", "&")
                if _kind(link) not in found:
                    found[_kind(link)] = link
                    new.append(link)
        return new

    @contextmanager
    def following(self, paths: Sequence[str]) -> Iterator[list[int]]:
        """Follow pages in a `with` block, each by a connection of its own. Yields the number of their events."""
        events = [0] * len(paths)
        stop = threading.Event()
        with ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            for number, path in enumerate(paths):
                connection = socket.create_connection((self._address.hostname, self._address.port), timeout=30)
                stack.enter_context(connection)
                head = f"GET {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nCookie: {self._cookie['Cookie']}\r\n"
                connection.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
                if not (begin := connection.recv(65536)).startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(f"{path} can't be followed: {begin[:100]!r}")
                selector.register(connection, selectors.EVENT_READ, number)

            def read() -> None:
                while not stop.is_set():
                    for key, _ in selector.select(0.2):
                        data = key.fileobj.recv(1_000_000)  # type: ignore[union-attr]
                        # The last line of an event is empty.
                        events[key.data] += data.count(b"\n\n")

            thread = threading.Thread(target=read)
            thread.start()
            try:
                yield events
            finally:
                stop.set()
                thread.join()

    def _request(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection(self._address.netloc, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()


def _kind(path: str) -> tuple[object, ...]:
    """Return what pages have in common whose addresses differ only in names and numbers."""
    parts = urlsplit(path)
    first, *others = parts.path.split("/")[1:]
    return first, len(others), *sorted({one.partition("=")[0] for one in parts.query.split("&")})


class Console:
    """A running bot: the port of its webhooks, its process id, and a browser on its console."""

    def __init__(self, port: int, pid: int, browser: Browser) -> None:
        self.port, self.pid, self.browser = port, pid, browser

    def pauses(self) -> list[list[float]]:
        """Begin to measure the reactor's pauses; or end it, and return the longest ones in milliseconds: by the clock, and
        without the time in which its thread waited for a processor."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/pause/", "{}", {"Content-Type": "application/json"})
        text = connection.getresponse().read().decode()
        connection.close()
        found: list[list[float]] = json.loads(text)
        return found


@contextmanager
def console(directory: Path, rows: int) -> Iterator[Console]:
    """Run a bot with so many deliveries in its journal."""
    port, own = free_port(), free_port()
    bot = errklein(directory / "bot", "Text", port, PLUGINS)
    with (directory / "bot" / "config.py").open("a", encoding="utf-8") as config:
        config.write(f'{SETTINGS}CONSOLE = "tcp:{own}:interface=127.0.0.1"\n')
    began = time.monotonic()
    fill(directory / "bot" / "data" / "journal.sqlite", rows, WEBHOOKS, 0)
    print(f"{rows:,} deliveries, recorded in {time.monotonic() - began:.0f} s", flush=True)
    log = directory / "log"
    with running(bot, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"!console\n")
        process.stdin.flush()
        for line in process.stdout:
            if link := re.search(rb"http://\S+/enter/[\w-]+", line):
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield Console(port, process.pid, Browser(link[0].decode()))
                return
        raise RuntimeError(f"the bot gives no link:\n{last_words(log)}")


def _shown(pauses: Sequence[Sequence[float]]) -> str:
    return f"{pauses[0]} ms; without waiting for a processor {pauses[1]} ms"


def measure_pages(bot: Console, rate: float, loads: int, warm_up: float) -> list[str]:
    """Print the times of pages and the reactor's pauses, and return the missed targets."""
    problems = []
    with Sources(bot.port, rate) as sources:
        pages = bot.browser.pages()
        time.sleep(warm_up)
        bot.pauses()
        time.sleep(warm_up)
        print(f"the reactor's longest pauses without the console: {_shown(bot.pauses())}")
        before, began = sources.answered, time.monotonic()
        for path in pages:
            bot.pauses()
            times = []
            for _ in range(loads):
                asked = time.perf_counter()
                bot.browser.get(path)
                times.append((time.perf_counter() - asked) * 1000)
            pauses = bot.pauses()
            shown = f"{path[:50]:50} median {median(times):5.1f} ms, worst {max(times):5.1f} ms"
            print(f"  {shown}, longest pause {pauses[0][-1]:5.1f} ms, {pauses[1][-1]:5.1f} ms with a processor")
            if median(times) > MOST_MEDIAN or max(times) > MOST_WORST or pauses[0][-1] > MOST_PAUSE:
                problems.append(shown)
        rate = (sources.answered - before) / (time.monotonic() - began)
        print(f"{loads} loads of each page, beside {rate:.0f} deliveries per second")
    if sources.wrong:
        problems.append(f"{sources.wrong} requests were not accepted")
    return problems


def measure_live(bot: Console, rate: float, rounds: int, seconds: float, warm_up: float) -> list[str]:
    """Print the cost of live pages, and return the missed targets."""
    five = [f"/deliveries?n={number % 5}" for number in range(STREAMS)]
    views: dict[str, list[str]] = {
        "none": [],
        "5 pages": five,
        "100 pages": [f"/deliveries?n={number}" for number in range(STREAMS)],
    }
    costs: dict[str, list[float]] = {name: [] for name in views}
    with Sources(bot.port, rate) as sources:
        time.sleep(warm_up)
        for number in range(rounds):
            for name, paths in views.items():
                with bot.browser.following(paths) as events:
                    time.sleep(warm_up)
                    before, used, seen = sources.answered, cpu_seconds(bot.pid), sum(events)
                    time.sleep(seconds)
                    deliveries = sources.answered - before
                    cost = (cpu_seconds(bot.pid) - used) / max(1, deliveries)
                    costs[name].append(cost)
                    each = (sum(events) - seen) / max(1, len(paths))
                print(
                    f"  {number + 1}. {name:10} {cost * 1e6:6.0f} µs for each of {deliveries:,}; {each:.1f} events for each browser"
                )
    problems = [f"{sources.wrong} requests were not accepted"] if sources.wrong else []
    for name in list(views)[1:]:
        ratios = [one / other - 1 for one, other in zip(costs[name], costs["none"], strict=True)]
        print(f"{STREAMS} browsers on {name}: {median(ratios):+.1%} (from {min(ratios):+.1%} to {max(ratios):+.1%})")
        if median(ratios) > MOST_COST:
            problems.append(f"{name} cost {median(ratios):.1%}")
    return problems


def main() -> int:
    """Measure, and return the exit status."""
    options = arguments(__doc__, only="", rows=1_000_000, rate=400.0, rounds=10, seconds=15.0, check=False)
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="console-") as directory:
        rows = 5_000 if options.check else options.rows
        with console(Path(directory), rows) as bot:
            if options.only in ("", "pages"):
                problems += measure_pages(bot, options.rate, *((2, 0.5) if options.check else (LOADS, 5.0)))
            if options.only in ("", "live"):
                numbers = (1, 2.0, 0.5) if options.check else (options.rounds, options.seconds, 2.0)
                problems += measure_live(bot, options.rate, *numbers)
    if options.check:
        problems = [one for one in problems if "not accepted" in one]
    print("\n".join(problems) or ("all requests have succeeded" if options.check else "all targets are met"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
