"""Stop and kill a bot, and take its IRC network away, while webhooks post to a room; compare what was accepted and what was sent.

    python benchmarks/kill_outbox.py [--scenario stopped|killed|absent|kills|kicked|shut-out] [--seconds 60] [--posts 1000]
                                     [--deliveries 5000] [--kills 10] [--seed N]
    python benchmarks/kill_outbox.py --check        a minute: all scenarios, shorter

Needs ngircd. The scenarios, all of them by default:

- stopped: 12 posts to a bot that sends a line every two seconds, then SIGTERM. A new process on the same data directory
  sends the rest, in order, and nothing twice.
- killed: the same with SIGKILL. The line that was being sent may occur twice.
- absent: the IRC server is killed, 1,000 requests post to the bot over four routes, and the server returns after a minute.
  All messages arrive, in order for each route, and none twice.
- kills: the bot is killed with SIGKILL at random moments during a stream of webhooks with `ack="now"`, and started again.
  Each delivery that got 202 posts its message at least once; the number of messages that occur twice is shown.
- kicked: the bot is kicked from a room that takes no messages from outside, while 12 posts are sent to it. They arrive in
  order, and the webhook's sender gets 200 each time.
- shut-out: the bot is killed with SIGKILL after 40 posts with `ack="now"`, and its room is invite-only for the first 8 s of the
  next process. All posts arrive, in order but for those that were being sent.

Exits with 1 if one of these expectations fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bots import HERE, START_LIMIT, arguments, errklein, free_port, report, running
from irc_people import BOT, Person, UnlimitedNgircd, add_settings, settings, start

from tests.server_program import ServerProgram

PLUGINS = HERE / "plugins_for_outbox"
ROOM = "#ops"
SILENCE = 20.0
"""The seconds without a message after which the missing ones are lost. A bot restarts in less."""
QUIET = 2.0
"""The seconds for which the room is read after the last expected message: another one may occur twice."""
CONNECTIONS = 8


class Experiment:
    """A bot on an IRC server, and a person who reads the room."""

    def __init__(self, directory: Path, server: ServerProgram, **others: object) -> None:
        self.server = server
        self.port = free_port()
        self.heard: list[str] = []
        self._news = asyncio.Event()
        self._directory = directory
        self._bot = errklein(directory / "bot", "IRC", self.port, PLUGINS)
        add_settings(directory / "bot", settings(server.port, [ROOM], IRC_RECONNECT_ON_DISCONNECT=1, **others))

    async def read_room(self) -> None:
        """Join the room, and record the bot's messages from now on."""
        self.person = await Person("reader", self._hear).join(self.server.port, ROOM)

    def _hear(self, now: float, target: str, text: str) -> None:
        self.heard.append(text)
        self._news.set()

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Run the bot until the end of the block, where it is killed."""
        with running(self._bot, self._directory / "log") as process:
            try:
                await self._listening()
                yield process
            finally:
                process.kill()

    async def _listening(self) -> None:
        async with asyncio.timeout(START_LIMIT):
            while True:
                with suppress(OSError):
                    (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                    return
                await asyncio.sleep(0.05)

    async def await_messages(self, expected: Iterable[str], silence: float = SILENCE) -> None:
        """Wait until the bot has sent the messages, or is silent, and then a little longer."""
        missing = set(expected)
        with suppress(TimeoutError):
            while missing.difference(self.heard):
                await self.next_message(silence)
        await asyncio.sleep(QUIET)

    async def next_message(self, silence: float = SILENCE) -> None:
        """Wait for a message; raises TimeoutError after this many seconds."""
        self._news.clear()
        async with asyncio.timeout(silence):
            await self._news.wait()

    async def post(self, route: str, texts: Sequence[str], connections: int = 1) -> Sequence[str]:
        """Post the texts until each is accepted, over this number of connections; return the statuses."""
        waiting = deque(texts)
        statuses: list[str] = []
        await asyncio.gather(*(self._post(route, waiting, statuses) for _ in range(connections)))
        return statuses

    async def _post(self, route: str, waiting: deque[str], statuses: list[str]) -> None:
        streams = None
        while waiting:
            text = waiting.popleft()
            try:
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", self.port)
                status = await _exchange(streams, route, {"room": ROOM, "text": text})
            except (OSError, EOFError):
                status, streams = "no response", None
                await asyncio.sleep(0.05)
            statuses.append(status)
            if status not in ("200", "202", "204"):
                waiting.appendleft(text)
        if streams is not None:
            streams[1].close()

    def problems(self, expected: Sequence[str], most_twice: int, order: Callable[[str], str] | None) -> list[str]:
        """Print the figures, and return a line for each failed expectation.

        :param most_twice: The number of messages that may occur twice.
        :param order: Returns the key of a message; those with the same key must occur in the order of `expected`.
        """
        counts = Counter(self.heard)
        lost = [text for text in expected if not counts[text]]
        twice = [text for text in expected if counts[text] > 1]
        disordered = 0
        if order is not None:
            place = {text: number for number, text in enumerate(expected)}
            last: dict[str, int] = {}
            for text in dict.fromkeys(text for text in self.heard if text in place):
                disordered += place[text] < last.get(order(text), 0)
                last[order(text)] = place[text]
        print(
            f"  {len(expected):,} accepted, {len(self.heard):,} messages: {len(lost)} lost, {len(twice)} more than once"
            + (f", {disordered} out of order" if order is not None else "")
        )
        found = [f"lost: {text}" for text in lost]
        found += [f"occurs {counts[text]} times: {text}" for text in twice] if len(twice) > most_twice else []
        return found + [f"{disordered} messages are out of order"] * bool(disordered)


async def _exchange(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], route: str, payload: object) -> str:
    """Send a request, and return the status of the response."""
    reader, writer = streams
    body = json.dumps(payload).encode()
    head = f"POST /{route} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next((line for line in lines if line.startswith(b"content-length:")), b":0")
    await reader.readexactly(int(length.partition(b":")[2]))
    return lines[0].split()[1].decode()


async def interrupted(experiment: Experiment, number: signal.Signals) -> list[str]:
    """Post 12 texts to a slow bot, end it with a signal, and start it again."""
    texts = [f"post {each}" for each in range(12)]
    await experiment.read_room()
    async with experiment.bot() as process:
        await experiment.person.await_bot()
        await experiment.post("post_1", texts)
        await asyncio.sleep(3)
        process.send_signal(number)
        await asyncio.to_thread(process.wait)
    await asyncio.sleep(0.5)
    print(f"  {len(experiment.heard)} were sent by the first process")
    found = [] if len(experiment.heard) < len(texts) else ["the first process has sent everything"]
    async with experiment.bot():
        await experiment.await_messages(texts)
    return found + experiment.problems(texts, int(number == signal.SIGKILL), lambda text: "")


async def absent(experiment: Experiment, posts: int, seconds: float) -> list[str]:
    """Post while the network is away."""
    await experiment.read_room()
    async with experiment.bot() as process:
        await experiment.person.await_bot()
        experiment.server.kill()
        begun = time.monotonic()
        routes = [f"post_{number}" for number in range(1, 5)]
        texts = {route: [f"{route} {number}" for number in range(posts // 4)] for route in routes}
        statuses = await asyncio.gather(*(experiment.post(route, texts[route]) for route in routes))
        print(
            f"  {posts} posts in {time.monotonic() - begun:.1f} s: {dict(Counter(each for some in statuses for each in some))}"
        )
        await asyncio.sleep(begun + seconds - time.monotonic())
        # The bot must not send anything before the reader has joined the room.
        process.send_signal(signal.SIGSTOP)
        start(experiment.server)
        await experiment.read_room()
        process.send_signal(signal.SIGCONT)
        expected = [text for route in routes for text in texts[route]]
        returned = time.monotonic()
        # Each wait before an attempt to connect is twice as long as the one before.
        await experiment.await_messages(expected, SILENCE + 2 * seconds)
        print(f"  all was sent {time.monotonic() - QUIET - returned:.0f} s after the return of the server")
    return experiment.problems(expected, 0, lambda text: text.split()[0])


async def kills(experiment: Experiment, deliveries: int, number: int, choose: random.Random) -> list[str]:
    """Kill the bot while it receives deliveries."""
    texts = [f"post {each}" for each in range(deliveries)]
    await experiment.read_room()
    half = deliveries // 2
    posting = asyncio.gather(
        experiment.post("post_now", texts[:half], CONNECTIONS),
        experiment.post("post_now_async", texts[half:], CONNECTIONS),
    )
    for place in range(1, number + 1):
        async with experiment.bot() as process:
            # A moment when about this part of all messages is sent.
            with suppress(TimeoutError):
                while len(experiment.heard) < (place - 0.5) * deliveries / (number + 1):
                    await experiment.next_message()
            await asyncio.sleep(choose.random() * 0.2)
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        print(f"  killed after {len(experiment.heard):,} messages", flush=True)
    async with experiment.bot():
        statuses = Counter(each for some in await posting for each in some)
        await experiment.await_messages(texts)
    print(f"  {dict(statuses)}")
    return experiment.problems(texts, deliveries, None)


async def kicked(experiment: Experiment) -> list[str]:
    """Kick the bot while posts are sent."""
    texts = [f"post {each}" for each in range(12)]
    await experiment.read_room()
    experiment.person.send(f"MODE {ROOM} +n")
    async with experiment.bot():
        await experiment.person.await_bot()
        statuses = await experiment.post("post_1", texts[:3])
        experiment.person.send(f"KICK {ROOM} {BOT} :out")
        statuses = [*statuses, *await experiment.post("post_1", texts[3:])]
        await experiment.await_messages(texts)
    refused = [status for status in statuses if status != "200"]
    return [f"statuses: {refused}"] * bool(refused) + experiment.problems(texts, 0, lambda text: "")


async def shut_out(experiment: Experiment) -> list[str]:
    """Kill the bot, and let it join its room again after 8 s."""
    texts = [f"post {each}" for each in range(40)]
    await experiment.read_room()
    async with experiment.bot() as process:
        await experiment.person.await_bot()
        await experiment.post("post_now", texts)
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
    experiment.person.send(f"MODE {ROOM} +i")
    print(f"  {len(experiment.heard)} were sent by the first process")
    async with experiment.bot():
        await asyncio.sleep(8)
        found = [] if len(experiment.heard) < len(texts) else ["the first process has sent everything"]
        experiment.person.send(f"MODE {ROOM} -i")
        await experiment.await_messages(texts)
    return found + experiment.problems(texts, 16, lambda text: "")


async def run(scenario: str, options: Any) -> list[str]:
    """Run one scenario; return a line for each failed expectation."""
    print(f"{scenario}:", flush=True)
    server = UnlimitedNgircd()
    slow = {"IRC_CHANNEL_RATE": options.pace, "GRACE_PERIOD": 2 * options.pace}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            start(server)
            experiment = Experiment(
                Path(directory), server, **(slow if scenario in ("stopped", "killed", "shut-out") else {})
            )
            if scenario == "absent":
                return await absent(experiment, options.posts, options.seconds)
            if scenario == "kills":
                return await kills(experiment, options.deliveries, options.kills, random.Random(options.seed))
            if scenario == "kicked":
                return await kicked(experiment)
            if scenario == "shut-out":
                return await shut_out(experiment)
            return await interrupted(experiment, signal.SIGTERM if scenario == "stopped" else signal.SIGKILL)
        finally:
            server.stop()


SCENARIOS = ("stopped", "killed", "absent", "kills", "kicked", "shut-out")


def main() -> int:
    """Run the scenarios, and print their figures and the failed expectations."""
    options = arguments(
        __doc__, scenario=str, seconds=60.0, posts=1000, deliveries=5000, kills=10, pace=2.0,
        seed=random.randrange(1_000_000), check=False,
    )  # fmt: skip
    if options.check:
        options.seconds, options.deliveries, options.kills, options.pace = 10.0, 1000, 3, 1.0
    print(f"seed {options.seed}")
    chosen = [options.scenario] if options.scenario else SCENARIOS
    return report([f"{each}: {problem}" for each in chosen for problem in asyncio.run(run(each, options))])


if __name__ == "__main__":
    sys.exit(main())
