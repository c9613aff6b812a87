"""The time from a webhook to its line on IRC: errklein, a script with Klein written by hand, and errbot, one after the other.

    python benchmarks/endtoend.py [--rates 500,1000] [--seconds 10] [--errbot-python PYTHON]
    python benchmarks/endtoend.py --seconds 3       half a minute

Each request is a push of GitHub with 7 kB, sent at a fixed rate, whatever the server does. The time ends when another person in
the room has the line. errklein has its default configuration, delivery log included, apart from the limits of its rate on IRC.
Needs ngircd. errbot is installed outside of the checkout, and skipped if it isn't:

    python3 -m venv /tmp/errbot && /tmp/errbot/bin/pip install 'errbot[irc]==6.2.1'

Exits with 1 if a line of errklein is missing, or if its p99 is more than twice the script's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles

from bots import HERE, START_LIMIT, Bot, arguments, await_idle, errbot, errklein, free_port, running
from irc_people import BOT, Person, UnlimitedNgircd, add_settings, running_server, settings
from web_report import text, verdict, verdict_rows

ROOM = "#ops"
PLUGINS = HERE / "plugins_for_endtoend"
LATE = 5.0
"""The seconds for which lines are awaited after the last request."""
TARGET = 2.0


def body(number: int) -> bytes:
    """Return a push with seven commits."""
    commits = [{"id": f"{each:040x}", "message": "Fix it. " * 100, "added": ["a/b.py"]} for each in range(8)]
    payload = {"ref": "refs/heads/main", "after": f"push-{number}", "pusher": {"name": "alice"}, "commits": commits}
    return json.dumps(payload).encode()


class Load:
    """Sends requests at a fixed rate, and notes when their lines arrive."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        self._port = port
        self._rate = rate
        self._bodies = [body(number) for number in range(int(rate * seconds))]
        self._sent: dict[str, float] = {}
        self._times: list[float] = []
        self._complete = asyncio.Event()

    def hear(self, now: float, target: str, line: str) -> None:
        """Note a line."""
        sent = self._sent.pop(line.rpartition(" ")[2].strip("\x02\x03\x0f"), None)
        if sent is not None:
            self._times.append(1000 * (now - sent))
            if len(self._times) == len(self._bodies):
                self._complete.set()

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

    async def _request(self, name: str, data: bytes) -> None:
        self._sent[name] = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = "POST /push/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        with suppress(OSError):
            await reader.read()
        writer.close()

    def row(self) -> tuple[int, int, float, float, float]:
        """Return the number of requests and of missing lines, and p50, p99 and the maximum in milliseconds."""
        times = self._times if len(self._times) > 1 else [float("inf")] * 2
        return len(self._bodies), len(self._sent), median(times), quantiles(times, n=100)[98], max(times)


async def measure(title: str, python: Path, rate: float, seconds: float) -> tuple[int, int, float, float, float]:
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
        with running(bot, Path(name, "log")) as process:
            await person.await_bot(START_LIMIT)
            await asyncio.to_thread(await_idle, [process.pid])
            await load.send()
            person.leave()
        return load.row()


def main() -> int:
    """Measure each server that is installed, and print the figures and the targets."""
    options = arguments(__doc__, rates="500,1000", seconds=10.0, errbot_python=Path("/tmp/errbot/bin/python"))
    rows, verdicts = [], []
    for rate in map(float, options.rates.split(",")):
        figures = {}
        for title in ("Klein", "errklein", "errbot"):
            if title != "errbot" or options.errbot_python.exists():
                figures[title] = asyncio.run(measure(title, options.errbot_python, rate, options.seconds))
                rows.append(
                    [
                        f"{title}, {rate:.0f}/s",
                        *(f"{each:,.2f}" if isinstance(each, float) else f"{each:,}" for each in figures[title]),
                    ]
                )
        verdicts.append(verdict(f"missing lines at {rate:.0f}/s", float(figures["errklein"][1]), 0, at_most=True))
        verdicts.append(
            verdict(
                f"p99 / the script's at {rate:.0f}/s",
                figures["errklein"][3] / figures["Klein"][3],
                TARGET,
                at_most=True,
            )
        )
    print(text([["", "requests", "missing", "p50 ms", "p99 ms", "max ms"], *rows]))
    print(text(verdict_rows(verdicts)))
    return 0 if all(each["met"] for each in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
