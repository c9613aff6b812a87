"""Kill processes of a bot on PostgreSQL while webhooks arrive; compare what was acknowledged, what has run, and what was sent.

    python benchmarks/kill_nodes.py [--deliveries 20000] [--rate 120] [--pause 2] [--seed N]
    python benchmarks/kill_nodes.py --takeovers 200        kill the owner of two complete processes so many times
    python benchmarks/kill_nodes.py --check                both, with 1,500 deliveries and 5 takeovers

Needs PostgreSQL and ngircd. Two processes are intake, two are workers, and two wait for the chat. A third of the deliveries run in
the owner, a third anywhere, and a third in order; each fifth sends a message to a room. Every `--pause` seconds one process gets
SIGKILL and is started again. PostgreSQL is restarted twice, and the owner is stopped with SIGSTOP for longer than its lease. Exits
with 1 if one of these expectations fails:

- Each delivery that got 202 has run to its end, and none that the database had as done has begun again.
- The deliveries of the ordered webhook begin in order.
- Each message arrives, and at most once more for each interruption since its delivery was posted.
- `errklein audit` finds nothing missing.
- With --takeovers: webhooks are refused for at most 1 s, and the chat is absent for at most 5 s, each time.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from bots import ENVIRONMENT, HERE, START_LIMIT, arguments, free_port, report, write_config
from irc_people import Person, UnlimitedNgircd, add_settings, settings, start

from tests.postgres.server import PostgresServer

PLUGINS = HERE / "plugins_for_nodes"
ROOM = "#ops"
KINDS = ("owner", "anywhere", "ordered")
STOPPED = 20.0
"""The seconds for which the owner is stopped with SIGSTOP."""
AGAIN = 0.5
"""The seconds after which a killed process is started again, as a supervisor does."""
ROLES = {
    "intake 1": "intake",
    "intake 2": "intake",
    "worker 1": "worker",
    "worker 2": "worker",
    "chat 1": "chat",
    "chat 2": "chat",
}
COMPLETE = {"complete 1": "intake,worker,chat", "complete 2": "intake,worker,chat"}


class Nodes:
    """The processes of a bot on one database, and a person who reads its room."""

    def __init__(self, directory: Path, roles: dict[str, str], database: PostgresServer | None = None) -> None:
        self.directory, self._roles = directory, roles
        self.database, self.irc = database or PostgresServer(), UnlimitedNgircd()
        self.url = self.database.url(self.database.new_database())
        self.ports = {name: free_port() for name in roles if "intake" in roles[name]}
        self.heard: list[str] = []
        self.heard_at: dict[str, float] = {}  # when each text was heard for the last time
        self.runs = directory / "runs"
        self.runs.touch()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        bot = directory / "bot"
        bot.mkdir()
        self.config = write_config(bot, "IRC", PLUGINS)
        add_settings(bot, settings(self.irc.port, [ROOM], ERRKLEIN_DATABASE=self.url, IRC_RECONNECT_ON_DISCONNECT=1))
        self._environment = {**ENVIRONMENT, "PYTHONPATH": str(HERE.parent), "RUNS": str(self.runs)}

    async def start(self) -> None:
        """Start the servers, the person and the processes, and wait until the bot is in the room."""
        start(self.irc)
        self.command("storage", "init")
        self.person = await Person("reader", self._hear).join(self.irc.port, ROOM)
        for name in self._roles:
            self.begin(name)
        await self.person.await_bot(START_LIMIT)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of errklein."""
        command = [sys.executable, "-m", "errklein", *words, "--config", str(self.config)]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def _hear(self, now: float, target: str, text: str) -> None:
        self.heard.append(text)
        self.heard_at[text] = now

    def begin(self, name: str) -> None:
        """Start a process."""
        command = [sys.executable, "-m", "errklein", "run", "--config", str(self.config), "--role", self._roles[name]]
        if name in self.ports:
            command += ["--web", f"tcp:{self.ports[name]}:interface=127.0.0.1"]
        if "chat" in self._roles[name]:
            command += ["--node", "tcp:0:interface=127.0.0.1"]
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a process."""
        self.processes[name].send_signal(number)

    async def kill(self, name: str) -> None:
        """Kill a process, and start it again."""
        self.signal(name, signal.SIGKILL)
        self.processes[name].wait()
        await asyncio.sleep(AGAIN)
        self.begin(name)

    def read(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self.url, options="-c search_path=errklein") as connection:
            return connection.execute(query.encode()).fetchall()

    def owner(self) -> str:
        """Return the name of the process that owns plugins and networks; "" if none does."""
        [*found] = self.read("SELECT n.name FROM owner o JOIN nodes n ON n.id = o.node")
        pid = int(found[0][0].rpartition(":")[2]) if found else 0
        return next((name for name, one in self.processes.items() if one.pid == pid), "")

    async def post(self, path: str, payload: object, number: str = "", limit: float = 5.0) -> str:
        """Post to one of the intakes that listens, and return the status."""
        body = json.dumps(payload).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Id: {number}\r\nConnection: close\r\n"
        for port in random.sample([*self.ports.values()], len(self.ports)):
            with suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(limit):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    try:
                        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                        status = (await reader.readuntil(b"\r\n")).split()[1].decode()
                    finally:
                        writer.close()
                if status != "503":
                    return status
        return "none"

    def stop(self) -> None:
        """Stop all."""
        for process in self.processes.values():
            process.kill()
        self.person.leave()
        self.irc.stop()
        self.database.remove()


class Kills:
    """Deliveries that arrive while processes are killed."""

    def __init__(self, nodes: Nodes, count: int, rate: float) -> None:
        self._nodes, self._count, self._rate = nodes, count, rate
        self._waiting = {kind: iter(range(count // 3)) for kind in KINDS}
        self.refused = 0
        self._done: list[tuple[int, set[str]]] = []
        self._posted_at: dict[str, float] = {}
        self._interrupted_at: list[float] = []
        self._posting = True

    async def run(self, pause: float) -> list[str]:
        """Post everything, kill meanwhile, and return the problems."""
        began = time.monotonic()
        # One after the other for the ordered webhook, several at a time for the others.
        clients = [self._post("ordered"), *(self._post(kind) for kind in ("owner", "anywhere") for _ in range(4))]
        posting = asyncio.gather(*clients)
        watching = asyncio.create_task(self._watch())
        killing = asyncio.create_task(self._kill(pause))
        await posting
        self._posting = False
        await killing
        spent = time.monotonic() - began
        expected = {f"{kind} {number}" for kind in KINDS for number in range(self._count // 3)}
        await self._settle(expected)
        watching.cancel()
        print(f"{len(expected)} deliveries in {spent:.0f} s; {self.refused} attempts were refused, and repeated")
        return [*self._problems_of_runs(expected), *self._problems_of_messages(), *self._problems_of_audit()]

    async def _post(self, kind: str) -> None:
        for number in self._waiting[kind]:
            self._posted_at[f"{kind} {number}"] = time.monotonic()
            payload = {"kind": kind, "number": number, "room": ROOM if number % 5 == 0 else ""}
            due = asyncio.get_running_loop().time() + (1 if kind == "ordered" else 4) * 3 / self._rate
            while (status := await self._nodes.post(f"/{kind}", payload, f"{kind} {number}")) not in ("200", "202"):
                assert status == "none", status
                self.refused += 1
                await asyncio.sleep(0.1)
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    async def _kill(self, pause: float) -> None:
        nodes, names = self._nodes, [*ROLES]
        total, turn = self._count / self._rate, 0
        restarts, stop_at = [total * 0.3, total * 0.7], total * 0.5
        began = time.monotonic()
        while self._posting:
            await asyncio.sleep(pause)
            passed = time.monotonic() - began
            self._interrupted_at.append(time.monotonic())
            if restarts and passed > restarts[0]:
                restarts.pop(0)
                print(f"{passed:6.1f} s: PostgreSQL is restarted")
                await asyncio.to_thread(nodes.database.stop)
                await asyncio.to_thread(nodes.database.start)
            elif stop_at and passed > stop_at:
                stop_at = 0.0
                if owner := nodes.owner():
                    print(f"{passed:6.1f} s: {owner}, the owner, is stopped for {STOPPED:g} s")
                    nodes.signal(owner, signal.SIGSTOP)
                    await asyncio.sleep(STOPPED)
                    nodes.signal(owner, signal.SIGCONT)
            else:
                turn += 1
                await nodes.kill(random.choice(names))
        print(f"{turn} kills")

    async def _watch(self) -> None:
        """Note what the database has as done, and how much had run by then."""
        while True:
            with suppress(psycopg.Error):
                done = {
                    key
                    for (key,) in await asyncio.to_thread(
                        self._nodes.read, "SELECT key FROM deliveries WHERE state = 3"
                    )
                }
                self._done.append((self._nodes.runs.stat().st_size, done))
            await asyncio.sleep(1.0)

    async def _settle(self, expected: set[str], silence: float = 90.0) -> None:
        """Wait until all have run and all messages have arrived, or nothing happens any more."""
        size, changed_at = 0, time.monotonic()
        while time.monotonic() - changed_at < silence:
            lines = self._nodes.runs.read_text().splitlines()
            if len(lines) + len(self._nodes.heard) != size:
                size, changed_at = len(lines) + len(self._nodes.heard), time.monotonic()
            ended = {" ".join(line.split()[1:3]) for line in lines if line.startswith("end")}
            waiting = [number for (number,) in self._nodes.read("SELECT count(*) FROM deliveries WHERE state < 3")]
            if expected <= ended and waiting == [0] and self._messages() <= {*self._nodes.heard}:
                return
            await asyncio.sleep(1.0)

    def _messages(self) -> set[str]:
        return {f"{kind} {number}" for kind in KINDS for number in range(0, self._count // 3, 5)}

    def _problems_of_runs(self, expected: set[str]) -> list[str]:
        problems, position = [], 0
        snapshots = [*self._done, (sys.maxsize, set())]
        done: set[str] = set()
        ended: Counter[str] = Counter()
        begun: set[str] = set()
        last = -1
        for line in self._nodes.runs.read_text().splitlines(keepends=True):
            while position >= snapshots[0][0]:
                done = snapshots.pop(0)[1]
            position += len(line)
            what, kind, number, *_ = line.split()
            key = f"{kind} {number}"
            if what == "end":
                ended[key] += 1
            elif key in done:
                problems.append(f"{key} was done, and ran again")
            if what == "begin" and kind == "ordered" and key not in begun:
                if int(number) != last + 1:
                    problems.append(f"ordered: {number} began after {last}")
                last = int(number)
            begun.add(key)
        lost = sorted(expected - {*ended})
        twice = sum(number > 1 for number in ended.values())
        print(f"{len(ended)} have run, {twice} of them more than once, since a process had ended")
        return [f"{len(lost)} were acknowledged and never ran: {lost[:5]}"] * bool(lost) + problems

    def _problems_of_messages(self) -> list[str]:
        counts, expected = Counter(self._nodes.heard), self._messages()
        lost = sorted(expected - {*counts})
        often = [f"{text}: {number} times" for text, number in counts.items() if number - 1 > self._interruptions(text)]
        print(f"{len(expected)} messages, {sum(number > 1 for number in counts.values())} of them more than once")
        return [f"{len(lost)} messages are lost: {lost[:5]}"] * bool(lost) + often

    def _interruptions(self, text: str) -> int:
        """Return how often something was interrupted from the post of a delivery to the last time that its message was heard."""
        return sum(self._posted_at.get(text, 0.0) <= at <= self._nodes.heard_at[text] for at in self._interrupted_at)

    def _problems_of_audit(self) -> list[str]:
        audit = self._nodes.command("audit")
        return [] if audit.returncode == 0 else [f"audit: {audit.stdout} {audit.stderr}"]


async def take_over(nodes: Nodes, times: int) -> list[str]:
    """Kill the owner of two complete processes again and again, and return the problems."""
    intake, chat, problems = [], [], []
    for turn in range(times):
        while not (owner := nodes.owner()) or await nodes.post("/alive", {}) != "200":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        nodes.person.forget_bot()
        killed_at = time.monotonic()
        nodes.signal(owner, signal.SIGKILL)
        gap = await _until_accepted(nodes, turn)
        with suppress(TimeoutError):
            await nodes.person.await_bot(30.0)
        intake.append(gap)
        chat.append(time.monotonic() - killed_at)
        nodes.begin(owner)
        await _until_listening(nodes, owner)
    for name, found, most in (("webhooks", intake, 1.0), ("the chat", chat, 5.0)):
        found.sort()
        print(f"{name} were absent for {found[len(found) // 2]:.2f} s at the median, and {found[-1]:.2f} s at most")
        if found[-1] > most:
            problems.append(f"{name} were absent for more than {most:g} s, {sum(one > most for one in found)} times")
    return problems


async def _until_accepted(nodes: Nodes, turn: int) -> float:
    began = time.monotonic()
    payload = {"kind": "owner", "number": turn}
    while await nodes.post("/owner", payload, f"takeover {turn}", limit=1.0) not in ("200", "202"):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def _until_listening(nodes: Nodes, name: str) -> None:
    async with asyncio.timeout(START_LIMIT):
        while True:
            with suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", nodes.ports[name]))[1].close()
                break
            await asyncio.sleep(0.1)
    # It is a standby once it has looked at the others.
    while len(nodes.read("SELECT id FROM nodes WHERE beat > 3")) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def measure(options: Any) -> Sequence[str]:
    """Run the scenarios, and return the problems."""
    problems: list[str] = []
    if not options.takeovers or options.check:
        with tempfile.TemporaryDirectory(prefix="nodes-") as directory:
            nodes = Nodes(Path(directory), ROLES)
            try:
                await nodes.start()
                count = 1500 if options.check else options.deliveries
                problems += await Kills(nodes, count, options.rate).run(options.pause)
            finally:
                nodes.stop()
                keep(directory, "kills", problems)
    if options.takeovers or options.check:
        with tempfile.TemporaryDirectory(prefix="nodes-") as directory:
            nodes = Nodes(Path(directory), COMPLETE)
            try:
                await nodes.start()
                problems += await take_over(nodes, options.takeovers or 5)
            finally:
                nodes.stop()
                keep(directory, "takeovers", problems)
    return problems


def keep(directory: str, name: str, problems: Sequence[str]) -> None:
    """Print the ends of the logs after a failure."""
    if problems or sys.exc_info()[0]:
        for log in sorted(Path(directory).glob("*.log")):
            lines = [line for line in log.read_text(errors="replace").splitlines() if "POST /" not in line]
            print(f"--- {name}, {log.name}", *lines[-15:], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    options = arguments(
        __doc__, deliveries=20_000, rate=120.0, pause=2.0, takeovers=0, seed=random.randrange(10**6), check=False
    )
    random.seed(options.seed)
    print(f"seed {options.seed}")
    sys.exit(report(asyncio.run(measure(options))))
