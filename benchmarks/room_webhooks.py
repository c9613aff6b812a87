"""Measure webhooks of rooms: 1,000 and 10,000 of them, and a flood on one while another is used.

A bot with the Text network runs in a process of its own on loopback. Its webhooks are copies of one that was made by its command.

- start: the seconds from the start of the process until a webhook answers, and how much of it is for the webhooks
- one more: the time of `!webhook new json`, until its reply
- match: the response time of a webhook, each time of another one, over one connection
- flood: the response times of a webhook, and the time until its message is in the room, while others post to another webhook
  as fast as they can: beyond its rate, which is the default, and with a rate that nobody reaches

    python benchmarks/room_webhooks.py              1,000 and 10,000 webhooks, and floods of 20 seconds
    python benchmarks/room_webhooks.py --check      with short floods; exits with 1 if a limit is missed

Needs wrk. The limits are for a machine that does something else, too: they show that no time depends on the square of the number.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bots import ENVIRONMENT, HERE, Bot, arguments, errklein, free_port, last_words, report, resident

sys.path.insert(0, str(HERE.parent))

from errklein.storage import DATABASE, ROOM_WEBHOOKS, SQLiteStorage, dumps
from errklein.verify import digest_of

SETTINGS = """
CORE_PLUGINS = ("Help", "Plugins", "TextCmds", "Webhooks", "Webserver")
CHATROOM_PRESENCE = ("#ops",)
PUBLIC_URL = "http://127.0.0.1"
WEBHOOK_RATE_LIMIT = None
"""
COUNTS = (1_000, 10_000)
LIMIT = 60.0
"""The seconds within which anything must happen."""
MOST_START = 0.002
"""The limit of the seconds of the start for each webhook."""
MOST_NEW = 0.25
MOST_MATCH = 0.05
MOST_DELAY = 0.5
CONNECTIONS = 16
PAUSE = 0.05
"""The seconds between two posts to the webhook beside the flood."""


def token(number: int) -> str:
    """Return the token of the webhook of this number."""
    return "ekt" + hashlib.sha256(str(number).encode()).hexdigest().translate(str.maketrans("0189", "wxyz"))[:26]


def p99(times: Sequence[float]) -> float:
    """Return the 99th percentile of the times."""
    return sorted(times)[int(len(times) * 0.99)]


class RunningBot:
    """A bot, with its input and output. `started` is the time at which its process was started."""

    def __init__(self, bot: Bot, port: int, log: Path) -> None:
        self._port, self._log = port, log
        self.started = time.monotonic()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                bot.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**ENVIRONMENT, **bot.environment},
                cwd=log.parent,
                text=True,
            )
        self._lines: list[tuple[float, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def url(self) -> str:
        """The address of the web server."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id of the bot."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append((time.monotonic(), line))

    def say(self, line: str, expected: str) -> float:
        """Send a line, and return the seconds until the reply that contains the expected text."""
        assert self._process.stdin is not None
        begin, began = len(self._lines), time.monotonic()
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.arrival(expected, begin) - began

    def arrival(self, expected: str, begin: int = 0) -> float:
        """Return the time at which the first line with this text has arrived."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and self._process.poll() is None:
            end = len(self._lines)
            for when, line in self._lines[begin:end]:
                if expected in line:
                    return when
            begin = end
            time.sleep(0.001)
        raise RuntimeError(f"no line with {expected!r}: {self._lines[-5:]}\n{last_words(self._log)}")

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to the web server, as soon as it accepts one."""
        deadline = time.monotonic() + LIMIT
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT)
            try:
                connection.connect()
                return connection
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(last_words(self._log)) from None
                time.sleep(0.01)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(LIMIT)


def post(connection: http.client.HTTPConnection, name: str, key: str, text: str) -> int:
    """Post a text to a webhook, and return the status of the response."""
    connection.request("POST", f"/hooks/{name}/{key}", json.dumps({"text": text}), {"Content-Type": "application/json"})
    with connection.getresponse() as response:
        response.read()
        return response.status


class Experiment:
    """A bot's directory, and the webhooks in it."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._port = directory, free_port()
        self._bot = errklein(directory, "Text", self._port)
        with (directory / "config.py").open("a", encoding="utf-8") as config:
            config.write(SETTINGS)
        with self.running() as bot:
            bot.say("!inroom #ops", "Messages now go to the room")
            bot.say("!webhook new json", "Made json")

    @contextmanager
    def running(self) -> Iterator[RunningBot]:
        """Run the bot until the end of the block."""
        bot = RunningBot(self._bot, self._port, self._directory / "log")
        try:
            yield bot
        finally:
            bot.close()

    def fill(self, count: int, **others: str) -> None:
        """Store webhooks json, w1, w2, …, of which the first has other values, too."""
        with closing(SQLiteStorage(self._directory / "data" / DATABASE)) as storage:
            stored = storage.open(ROOM_WEBHOOKS).get("json")
            made = {
                name: {**stored, "token": digest_of(token(number).encode())} for number, name in enumerate(names(count))
            }
            made["json"].update(others)
            storage.put([(ROOM_WEBHOOKS, name, dumps(values)) for name, values in made.items()])


def names(count: int) -> list[str]:
    """Return the names of so many webhooks."""
    return ["json", *(f"w{number}" for number in range(1, count))]


def measure(experiment: Experiment, count: int, requests: int, without: float) -> tuple[float, list[str]]:
    """Print the figures of a number of webhooks. Return the seconds of the start, and the missed limits.

    :param without: The seconds of a start with one webhook.
    """
    experiment.fill(count)
    with experiment.running() as bot, closing(bot.connect()) as connection:
        statuses = Counter([post(connection, "json", token(0), "first")])
        start = time.monotonic() - bot.started
        bot.say("!inroom #ops", "Messages now go to the room")
        new = sorted(bot.say("!webhook new json", "Made json") for _ in range(10))
        times = []
        for number in random.sample(range(count), min(count, requests)):
            began = time.monotonic()
            statuses[post(connection, names(count)[number], token(number), "one")] += 1
            times.append(time.monotonic() - began)
        memory = resident(bot.pid)
    print(
        f"{count:6}: start {start:.2f} s, one more {new[5] * 1000:.1f} ms, match {sorted(times)[len(times) // 2] * 1000:.2f} ms"
        f" (p99 {p99(times) * 1000:.2f} ms), {memory:.0f} MB",
        flush=True,
    )
    limits = {
        f"the start takes {start - without:.2f} s more than without": start - without <= MOST_START * count + 1,
        f"one more takes {new[5]:.3f} s": new[5] <= MOST_NEW,
        f"the 99th percentile of a match is {p99(times):.3f} s": p99(times) <= MOST_MATCH,
        f"not all responses are 202: {statuses}": set(statuses) == {202},
    }
    return start, [f"{count}: {text}" for text, is_met in limits.items() if not is_met]


def flood(experiment: Experiment, kind: str, seconds: int, count: int, **others: str) -> list[str]:
    """Print the delays of webhooks beside a flood on another, and return the missed limits."""
    experiment.fill(count, **others)
    with experiment.running() as bot, closing(bot.connect()) as connection:
        post(connection, "w1", token(1), "first")
        command = (
            f"wrk -t1 -c{CONNECTIONS} -d{seconds}s --timeout 60s -s {HERE}/post.lua {bot.url}/hooks/json/{token(0)}"
        )
        wrk = subprocess.Popen(command.split(), stdout=subprocess.PIPE, text=True)
        responses, sent = [], []
        while wrk.poll() is None:
            # Each webhook has a rate of its own.
            number, began = 1 + len(sent) % (count - 1), time.monotonic()
            status = post(connection, f"w{number}", token(number), f"quiet-{len(sent)}-")
            responses.append(time.monotonic() - began)
            sent.append((began, status))
            time.sleep(PAUSE)
        arrivals = [
            bot.arrival(f"quiet-{number}-") - began for number, (began, status) in enumerate(sent) if status == 202
        ]
    figures = json.loads(wrk.communicate()[0].splitlines()[-1])
    print(
        f"flood {kind}: {figures['requests'] / seconds:.0f} requests/s, {figures['errors']} refused; beside it"
        f" {len(sent)} requests: response p99 {p99(responses) * 1000:.1f} ms, message p99 {p99(arrivals) * 1000:.0f} ms",
        flush=True,
    )
    refused = len(sent) - len(arrivals)
    limits = {
        f"the 99th percentile of the responses is {p99(responses):.3f} s": p99(responses) <= MOST_DELAY,
        f"the 99th percentile of the messages is {p99(arrivals):.3f} s": p99(arrivals) <= 2 * MOST_DELAY,
        f"{refused} requests beside the flood are refused": refused == 0,
    }
    return [f"flood {kind}: {text}" for text, is_met in limits.items() if not is_met]


def main() -> int:
    """Return the exit status."""
    options = arguments(__doc__, check=False)
    seconds, requests = (5, 200) if options.check else (20, 1_000)
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="room-webhooks-") as directory:
        experiment = Experiment(Path(directory, "bot"))
        without, missed = measure(experiment, 1, requests, LIMIT)
        for count in COUNTS:
            problems += measure(experiment, count, requests, without)[1]
        problems += missed
        problems += flood(experiment, "beyond the rate", seconds, COUNTS[0])
        problems += flood(experiment, "within its rate", seconds, COUNTS[0], rate="1000000/min", messages="1000000/min")
    return report(problems)


if __name__ == "__main__":
    sys.exit(main())
