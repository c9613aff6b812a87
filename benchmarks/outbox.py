"""The cost of `send` with the durable outbox, compared with an earlier revision, and the memory of messages that wait.

    python benchmarks/outbox.py [--messages 5000] [--rounds 3] [--before REVISION] [--only send|memory|large]
                                [--connections 20]
    python benchmarks/outbox.py --messages 2000 --rounds 1        a minute

Needs ngircd and git. The measurements, all of them by default:

- send: a handler on the reactor sends messages to a room, some in each turn of the reactor. `reactor` is the CPU time of
  `send` itself, `process` that of the whole process, with the thread that writes the group commits, for one message.
  "connected": an ngircd without limits confirms messages at once. "absent": there is no server, and all messages are stored.
- memory: by how much the resident memory grows with 10,000 messages that wait.
- large: 150 webhooks with a body of 1 MB, over 20 connections, post to one room of an ngircd with its limits, while each second
  a webhook of another route posts to another room. The largest resident memory, and the longest time until a message is in the other room.

Exits with 1 if `send` costs more than 1.3 times as much as before, in either column, the memory grows by more than 20 MB, or,
with large bodies, is 150 MB or more, or a message takes more than 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from bots import HERE, await_idle, cpu_seconds, errklein, free_port, resident, serving
from irc_people import Person, UnlimitedNgircd, add_settings, running_server, settings
from web_report import text, verdict, verdict_rows

from tests.backends.irc.ngircd import Ngircd
from tests.server_program import ServerProgram

PLUGINS = HERE / "plugins_for_outbox"
BEFORE = "c3842d1"
"""The last revision without a durable outbox."""
ROOMS = ("#ops", "#other")
TEXT = "The build of errklein on main has failed: tests.web.test_router, 3 failures, see https://ci.example.net/builds/"
AT_ONCE = 5
PAUSE = 0.005
LARGE = 150


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Yield a directory with the files of a revision."""
    with tempfile.TemporaryDirectory(prefix="errklein-") as name:
        files = subprocess.run(["git", "-C", HERE.parent, "archive", revision], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", name], input=files, check=True)
        yield Path(name)


@contextmanager
def bot(server: ServerProgram, files: Path = HERE.parent, **others: object) -> Iterator[tuple[int, int]]:
    """Run a bot in both rooms; yield its process id and port."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name, "bot")
        port = free_port()
        command = errklein(directory, "IRC", port, PLUGINS, files)
        add_settings(directory, settings(server.port, ROOMS, IRC_RECONNECT_ON_DISCONNECT=300, **others))
        with serving(command, port, Path(name, "log")) as pid:
            yield pid, port


def post(port: int, route: str, payload: object) -> tuple[int, str]:
    """Post JSON; return the status and the body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", f"/{route}", json.dumps(payload), {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read().decode()
    connection.close()
    return response.status, content


def send_many(port: int, count: int, words: str = TEXT) -> float:
    """Let the bot send messages; return the CPU time of `send` in seconds."""
    payload = {"room": ROOMS[0], "text": words, "count": count, "at_once": AT_ONCE, "pause": PAUSE}
    status, content = post(port, "post_many", payload)
    if status != 200:
        raise RuntimeError(f"status {status}: {content}")
    return float(content)


async def send_costs(files: Path, messages: int, connected: bool) -> tuple[float, float]:
    """Return the CPU times of a message in µs: of `send`, and of the process."""
    last = asyncio.Event()

    def hear(now: float, target: str, said: str) -> None:
        if said.endswith(f" {messages - 1}"):
            last.set()

    with running_server(UnlimitedNgircd()) as server:
        person = await Person("reader", hear).join(server.port, ROOMS[0])
        with bot(server, files) as (pid, port):
            await person.await_bot()
            await asyncio.to_thread(send_many, port, 200, "warm-up")
            if not connected:
                server.kill()
            await asyncio.to_thread(await_idle, [pid])
            before = cpu_seconds(pid)
            sending = await asyncio.to_thread(send_many, port, messages)
            async with asyncio.timeout(60):
                await (last.wait() if connected else asyncio.sleep(1))
            used = cpu_seconds(pid) - before
        person.leave()
    return 1e6 * sending / messages, 1e6 * used / messages


def measure_send(revision: str, messages: int, rounds: int) -> list[dict[str, Any]]:
    """Print the costs of both revisions, and return the targets."""
    rows = [["µs for one message", "reactor", "process", "before: reactor", "process"]]
    targets = []
    with checkout(revision) as earlier:
        for title, connected in (("connected", True), ("absent", False)):
            found: dict[Path, list[tuple[float, float]]] = {HERE.parent: [], earlier: []}
            for _ in range(rounds):
                for files, costs in found.items():
                    costs.append(asyncio.run(send_costs(files, messages, connected)))
            ours, theirs = ([median(each) for each in zip(*costs, strict=True)] for costs in found.values())
            rows.append([title, *(f"{each:,.1f}" for each in (*ours, *theirs))])
            targets += [
                verdict(f"{title}: {name} / before", ours[place] / theirs[place], 1.3, at_most=True)
                for place, name in enumerate(("reactor", "process"))
            ]
    print(text(rows), flush=True)
    return targets


async def memory(count: int = 10_000) -> float:
    """Return the growth of the resident memory in MB."""
    with running_server(UnlimitedNgircd()) as server:
        person = await Person("reader", lambda now, target, said: None).join(server.port, ROOMS[0])
        with bot(server) as (pid, port):
            await person.await_bot()
            await asyncio.to_thread(send_many, port, 2000, "warm-up")
            await asyncio.to_thread(await_idle, [pid])
            server.kill()
            person.leave()
            before = resident(pid)
            await asyncio.to_thread(send_many, port, count)
            await asyncio.to_thread(await_idle, [pid])
            return resident(pid) - before


async def large(connections: int) -> tuple[float, float, Counter[int]]:
    """Return the largest resident memory in MB, the longest time of the other room in seconds, and the statuses."""
    sent: dict[str, float] = {}
    times: list[float] = []
    done = asyncio.Event()

    def hear(now: float, target: str, said: str) -> None:
        times.append(now - sent[said])

    with running_server(Ngircd()) as server, ProcessPoolExecutor(1, get_context("spawn")) as client:
        person = await Person("reader", hear).join(server.port, ROOMS[1])
        with bot(server, IRC_CHANNEL_RATE=None, IRC_PRIVATE_RATE=None) as (pid, port):
            await person.await_bot()
            await asyncio.to_thread(await_idle, [pid])
            watching = asyncio.create_task(_largest(pid, done))
            posting = asyncio.get_running_loop().run_in_executor(client, post_large, port, connections)
            while not posting.done() or len(sent) < 10:
                said = f"other {len(sent)}"
                sent[said] = time.monotonic()
                status, _ = await asyncio.to_thread(post, port, "post_3", {"room": ROOMS[1], "text": said})
                if status != 200:
                    raise RuntimeError(f"the other route responds with {status}")
                await asyncio.sleep(1)
            await asyncio.sleep(5)
            done.set()
            largest = await watching
        person.leave()
    return largest, max(times) if len(times) == len(sent) else float("inf"), await posting


def post_large(port: int, connections: int) -> Counter[int]:
    """Post large bodies to the first room, over this number of connections; return the statuses. Runs in its own process."""
    payload = {"room": ROOMS[0], "text": "A line of a large body. " * (1_000_000 // 24)}
    with ThreadPoolExecutor(connections) as pool:
        return Counter(status for status, _ in pool.map(lambda _: post(port, "post_1", payload), range(LARGE)))


async def _largest(pid: int, done: asyncio.Event) -> float:
    most = 0.0
    while not done.is_set():
        most = max(most, resident(pid))
        await asyncio.sleep(0.05)
    return most


def main() -> int:
    """Print the figures and the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", default=BEFORE, help="a revision")
    parser.add_argument("--connections", type=int, default=20, help="over which large bodies are posted")
    parser.add_argument("--only", choices=("send", "memory", "large"))
    options = parser.parse_args()
    chosen: Sequence[str] = [options.only] if options.only else ("send", "memory", "large")
    targets = []
    if "send" in chosen:
        targets += measure_send(options.before, options.messages, options.rounds)
    if "memory" in chosen:
        targets.append(verdict("MB of 10,000 messages", asyncio.run(memory()), 20, at_most=True))
    if "large" in chosen:
        most, longest, statuses = asyncio.run(large(options.connections))
        print(f"large bodies: {dict(statuses)}")
        targets.append(verdict("MB with large bodies", most, 150, at_most=True))
        targets.append(verdict("s until a message is in the other room", longest, 2, at_most=True))
    print(text(verdict_rows(targets)))
    return 0 if all(each["met"] for each in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
