"""The time from a webhook to its line on IRC: errklein, a script with Klein written by hand, and errbot, one after the other.

    python benchmarks/endtoend.py [--rates 500,1000] [--seconds 10] [--errbot-python PYTHON]
    python benchmarks/endtoend.py --seconds 3       half a minute

Each request is a push of GitHub with 7 kB, sent at a fixed rate, whatever the server does. The time ends when another person in
the room has the line. The start is the time from the start of the process to the line of its first webhook, which is sent again
and again until the server takes it; CPU is the processor time of 1,000 webhooks. errklein has its default configuration, delivery log included, apart from the limits of its rate on IRC.
Needs ngircd. errbot is installed outside of the checkout, and skipped if it isn't:

    python3 -m venv /tmp/errbot && /tmp/errbot/bin/pip install 'errbot[irc]==6.2.1'

Exits with 1 if a line of errklein is missing, or if a ratio is above its target: p99 and CPU to the script's, the start to
errbot's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median, quantiles

from bots import HERE, START_LIMIT, Bot, arguments, await_idle, cpu_seconds, errbot, errklein, free_port, running
from irc_people import BOT, Person, UnlimitedNgircd, add_settings, running_server, settings
from web_report import text, verdict, verdict_rows

ROOM = "#ops"
PLUGINS = HERE / "plugins_for_endtoend"
LATE = 5.0
"""The seconds for which lines are awaited after the last request."""
P99_TARGET = 2.0
CPU_TARGET = 0.5 / 0.29
START_TARGET = 1.2
RETRY = 0.02
"""The seconds between the attempts to reach a server that starts."""


def body(number: int) -> bytes:
    """Return a push with seven commits."""
    commits = [{"id": f"{each:040x}", "message": "Fix it. " * 100, "added": ["a/b.py"]} for each in range(8)]
    payload = {"ref": "refs/heads/main", "after": f"push-{number}", "pusher": {"name": "alice"}, "commits": commits}
    return json.dumps(payload).encode()


@dataclass(frozen=True)
class Figures:
    """What was measured of one server at one rate: milliseconds, and seconds of processor time and of the start."""

    requests: int
    missing: int
    p50: float
    p99: float
    longest: float
    cpu: float
    start: float


class Load:
    """Sends requests at a fixed rate, and notes when their lines arrive."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        self._port = port
        self._rate = rate
        self._bodies = [body(number) for number in range(int(rate * seconds))]
        self._sent: dict[str, float] = {}
        self._times: list[float] = []
        self._complete = asyncio.Event()
        self._first = asyncio.Event()

    def hear(self, now: float, target: str, line: str) -> None:
        """Note a line."""
        self._first.set()
        sent = self._sent.pop(line.rpartition(" ")[2].strip("\x02\x03\x0f"), None)
        if sent is not None:
            self._times.append(1000 * (now - sent))
            if len(self._times) == len(self._bodies):
                self._complete.set()

    async def first(self) -> None:
        """Send a request until the server takes one, and wait for its line."""
        async with asyncio.timeout(START_LIMIT):
            while not await self._request("first", body(-1)):  # noqa: ASYNC110 another process can't set an event
                await asyncio.sleep(RETRY)
            await self._first.wait()

    async def send(self) -> None:
        """Send all requests, each over a connection of its own as GitHub does, and wait for their lines."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for number, data in enumerate(self._bodies):
                delay = begun + number / self._rate - time.monotonic()
                if delay > 0:
                    await asyncio.sleep(delay)
                requests.create_task(self._request(f"push-{number}", data))
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE):
                await self._complete.wait()

    async def _request(self, name: str, data: bytes) -> bool:
        if name != "first":
            self._sent[name] = time.monotonic()
        response = b""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(self._head(data) + data)
            response = await reader.read()
            writer.close()
        return response.startswith(b"HTTP/1.1 2")

    @staticmethod
    def _head(data: bytes) -> bytes:
        head = "POST /push/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n".encode()

    def figures(self, cpu: float, start: float) -> Figures:
        """Return the figures, with the processor time of the whole load and the seconds of the start."""
        times = self._times if len(self._times) > 1 else [float("inf")] * 2
        count = len(self._bodies)
        p99 = quantiles(times, n=100)[98]
        return Figures(count, len(self._sent), median(times), p99, max(times), 1000 * cpu / count, start)


async def measure(title: str, python: Path, rate: float, seconds: float) -> Figures:
    """Return the figures of one server at one rate."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_server(UnlimitedNgircd()) as server:
        directory, port = Path(name, "bot"), free_port()
        if title == "Klein":
            script = str(HERE / "peers" / "klein_irc.py")
            bot = Bot([sys.executable, script, str(port), str(server.port), BOT], {})
        else:
            bot = (
                errklein(directory, "IRC", port, PLUGINS)
                if title == "errklein"
                else errbot(directory, python, "IRC", port, PLUGINS)
            )
            add_settings(directory, settings(server.port, [ROOM]))
        load = Load(port, rate, seconds)
        person = await Person("reader", load.hear).join(server.port, ROOM)
        begun = time.monotonic()
        with running(bot, Path(name, "log")) as process:
            await person.await_bot(START_LIMIT)
            await load.first()
            start = time.monotonic() - begun
            await asyncio.to_thread(await_idle, [process.pid])
            used = cpu_seconds(process.pid)
            await load.send()
            used = cpu_seconds(process.pid) - used
            person.leave()
        return load.figures(used, start)


def main() -> int:
    """Measure each server that is installed, and print the figures and the targets."""
    options = arguments(__doc__, rates="500,1000", seconds=10.0, errbot_python=Path("/tmp/errbot/bin/python"))
    rows, verdicts = [], []

    def compare(name: str, value: float, target: float) -> None:
        verdicts.append(verdict(name, value, target, at_most=True))

    for rate in map(float, options.rates.split(",")):
        figures = {}
        for title in ("Klein", "errklein", "errbot"):
            if title != "errbot" or options.errbot_python.exists():
                figures[title] = asyncio.run(measure(title, options.errbot_python, rate, options.seconds))
                rows.append([f"{title}, {rate:.0f}/s", *map(_shown, astuple(figures[title]))])
        own, script = figures["errklein"], figures["Klein"]
        compare(f"missing lines at {rate:.0f}/s", float(own.missing), 0)
        compare(f"p99 / the script's at {rate:.0f}/s", own.p99 / script.p99, P99_TARGET)
        compare(f"CPU / the script's at {rate:.0f}/s", own.cpu / script.cpu, CPU_TARGET)
        if "errbot" in figures:
            compare(f"start / errbot's at {rate:.0f}/s", own.start / figures["errbot"].start, START_TARGET)
    print(text([["", "requests", "missing", "p50 ms", "p99 ms", "max ms", "CPU s", "start s"], *rows]))
    print(text(verdict_rows(verdicts)))
    return 0 if all(each["met"] for each in verdicts) else 1


def _shown(figure: float) -> str:
    return f"{figure:,.2f}" if isinstance(figure, float) else f"{figure:,}"


if __name__ == "__main__":
    sys.exit(main())
