"""The scenario GitHub to IRC: each webhook becomes one line in a room, although the IRC server crashes."""

from __future__ import annotations

import http.client
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from long_tests.acceptance.payloads import Delivery, compare
from tests.networks.irc.ngircd import Ngircd, join
from tests.processes import LIMIT, ROOT, TWISTD, environment, free_port, write_config

BOT, ROOM = "errklein", "#github"
MOST_AGAIN = 16
"""Maximum number of lines that may be unconfirmed when the connection breaks."""


@dataclass(frozen=True)
class Figures:
    """The measured figures."""

    expected: Sequence[Delivery]
    statuses: Sequence[int]
    lines: Sequence[str]
    """The lines, without those that were sent again."""
    again: int
    """The number of lines before the crash that were sent again after it, since the server had not confirmed them."""
    heard_before: int
    """The number of lines before the server crashed."""
    posted_before: int
    posting: float
    """The duration of all requests in seconds."""
    telling: float
    """Seconds from the first post to the last line."""
    silence: float
    """Seconds between the last line before the crash and the first one after it."""

    def report(self) -> str:
        """Return the figures as text."""
        lost, twice, strange = compare(self.expected, self.lines)
        statuses = ", ".join(f"{count} × {status}" for status, count in Counter(self.statuses).items())
        return f"""\
{len(self.expected)} webhooks of {len({each.event for each in self.expected})} events: {statuses}; posted in {self.posting:.1f} s
{len(self.lines)} lines in {self.telling:.1f} s: {lost} lost, {twice} twice, {len(strange)} out of order
server killed after line {self.heard_before}, {self.posted_before} webhooks posted; {self.silence:.1f} s without a line,
then the last {self.again} lines again"""

    def problems(self) -> list[str]:
        """Return a line for each failed expectation."""
        lost, twice, strange = compare(self.expected, self.lines)
        found = [f"a response has the status {status}" for status in self.statuses if status not in (200, 204)]
        found += [f"{lost} lines are missing"] * bool(lost) + [f"{twice} lines occur twice"] * bool(twice)
        found += [f"out of order: {line}" for line in strange]
        if self.again > MOST_AGAIN:
            found.append(f"{self.again} lines were sent again after the crash")
        if len(self.lines) != len(self.expected):
            found.append(f"{len(self.lines)} lines for {len(self.expected)} webhooks")
        return found


async def github_to_irc(reactor: Any, directory: Path, expected: Sequence[Delivery]) -> Figures:
    """Post the first half, kill the server after a third of the lines, post the rest, and start the server again.

    The second person joins the room as soon as the server is running, before the bot reconnects.
    """
    server = Ngircd()
    text = server.configuration.read_text()
    # This is Debian's configuration; all other options are ngircd's defaults.
    assert "MaxConnectionsIP = 0" in text
    server.configuration.write_text(text.replace("MaxConnectionsIP = 0", "MaxConnectionsIP = 10"))
    server.start()
    bot, people = None, []
    try:
        await server.wait_until_up(reactor)
        people.append(await join(reactor, server.port, "reader", ROOM))
        port = free_port()
        bot = _Bot(directory, server.port, port)
        await people[0].wait_for("JOIN", ROOM, BOT)

        began = time.monotonic()
        half = len(expected) // 2
        statuses, posting = await deferToThread(post, port, expected[:half])
        await until(reactor, lambda: len(people[0].texts) >= len(expected) // 3, len(expected) / 2 + LIMIT)
        # A random delay, so that the crash doesn't always follow a line.
        await deferLater(reactor, random.uniform(0, 0.4))
        server.kill()
        killed = time.monotonic()
        await until(reactor, lambda: people[0].closed, LIMIT)
        before = people[0].texts

        more, took = await deferToThread(post, port, expected[half:])
        tries = bot.log.count("next try in")
        await until(reactor, lambda: bot.log.count("next try in") > tries, LIMIT)
        server.start()
        await server.wait_until_up(reactor)
        people.append(await join(reactor, server.port, "reader", ROOM))
        assert f" JOIN {ROOM}" not in "".join(line.text for line in people[1].lines if line.nick == BOT)
        await until(reactor, lambda: bool(people[1].texts), 2 * LIMIT)
        silence = time.monotonic() - killed
        wanted = len(expected) - len(before)
        await until(
            reactor,
            lambda: len(people[1].texts) >= wanted + repeated(before, people[1].texts),
            wanted + LIMIT,
            must=False,
        )
        telling = time.monotonic() - began
        # A duplicate line may come last.
        await deferLater(reactor, 1.0)
    finally:
        for person in people:
            await person.leave()
        if bot is not None:
            bot.end()
        server.stop()
    again = repeated(before, people[1].texts)
    lines = before + people[1].texts[again:]
    return Figures(expected, statuses + more, lines, again, len(before), half, posting + took, telling, silence)


def repeated(before: Sequence[str], after: Sequence[str]) -> int:
    """Return how many of the last lines before the crash are the first ones after it."""
    most = min(len(before), len(after))
    return max(count for count in range(most + 1) if before[len(before) - count :] == after[:count])


class _Bot:
    """`twistd -n errklein` with the example plugin GitHub notifier, on IRC."""

    def __init__(self, directory: Path, irc_port: int, port: int) -> None:
        settings = {
            "BACKEND": "IRC",
            "BOT_IDENTITY": {"nickname": BOT, "server": "127.0.0.1", "port": irc_port},
            "CHATROOM_PRESENCE": (ROOM,),
            "BOT_EXTRA_PLUGIN_DIR": str(ROOT / "examples" / "github_notifier"),
            # No limit except that of the server.
            "IRC_CHANNEL_RATE": None,
        }
        write_config(directory, settings)
        self._log = directory / "log"
        command = [*TWISTD, "-n", "errklein", "--web", f"tcp:{port}:interface=127.0.0.1"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=directory, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        """The bot's log."""
        return self._log.read_text()

    def end(self) -> None:
        """Kill the bot and wait for its end."""
        self._process.kill()
        self._process.wait()


def post(port: int, deliveries: Sequence[Delivery]) -> tuple[list[int], float]:
    """Post the webhooks one after the other; return the statuses and the duration in seconds."""
    began = time.monotonic()
    statuses = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    for delivery in deliveries:
        connection.request("POST", "/github", delivery.body, delivery.headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses, time.monotonic() - began


async def until(reactor: Any, condition: Callable[[], bool], limit: float, *, must: bool = True) -> None:
    """Wait for the condition, at most `limit` seconds. After that, raise AssertionError if `must` is true."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            assert not must, f"it took more than {limit:.0f} s"
            return
        await deferLater(reactor, 0.02)
