"""A fault of one recipient or network, while a bot with three networks sends to others, and the memory of a network.

A bot with Matrix, IRC and Apprise runs in a process of its own on loopback. It sends to rooms and targets in turn, at a steady
rate; another one does so without the fault. A delay is the time from `send` to the arrival at the server.

- faults: the 99th percentile and the longest delay of the messages to the others. The limits are those of the median of all
  rounds, and of each message.
- silent: the seconds until the bot notices that a server stops answering, and leaves the connection open
- memory: the resident memory with Matrix, and with IRC, after the start and after 1,000 messages

    python benchmarks/networks.py [--rounds 5] [--seconds 6] [--rate 100] [--fault NAME]     12 minutes
    python benchmarks/networks.py --check       two minutes: a short round of each fault, without the percentiles

Needs ngircd and Apprise. Exits with 1 if a limit is missed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bots import HERE, Bot, arguments, await_idle, errklein, last_words, report, resident, running
from irc_people import Person, UnlimitedNgircd, add_settings, running_server, settings
from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from web_report import text

from tests.networks.apprise.service import Service
from tests.networks.matrix.people import Person as Account
from tests.networks.matrix.server import FakeHomeserver

LOOP = asyncio.new_event_loop()


def installed_reactor() -> Any:
    """Return a reactor for the doubles, which are Twisted's, and for people on IRC, who are asyncio's."""
    asyncioreactor.install(LOOP)
    from twisted.internet import reactor

    return reactor


REACTOR = installed_reactor()
PLUGINS = HERE / "plugins_for_networks"
IRC_ROOMS = ("#r0", "#r1")
ALIASES = tuple(f"#r{number}:localhost" for number in range(4))
TARGETS = ("t0", "t1", "t2")
RECIPIENTS = (
    *(f"matrix:{alias}" for alias in ALIASES),
    *(f"irc:{room}" for room in IRC_ROOMS),
    *(f"push:#{name}" for name in TARGETS),
)
LIMIT = 60.0
"""The seconds within which anything must happen."""
MOST_RATIO, MOST_LATER, MOST_SILENT, MOST_MEMORY = 1.2, 0.5, 60.0, 15.0
MESSAGES = 1_000
RETRY_AFTER = 2_000
"""The milliseconds after which a homeserver that limits a room accepts more."""


class Heard(list[str]):
    """The messages of a service, each of which is told as it arrives."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    def append(self, said: str) -> None:
        """Note a message."""
        self._hear(said)


class Homeserver(FakeHomeserver):
    """A homeserver that tells when a message arrives."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__(REACTOR, time.time)
        self._hear = hear

    def add(self, room: Any, sender: str, kind: str, content: Mapping[str, Any], key: str | None = None) -> str:
        """Add an event to a room."""
        if kind == "m.room.message":
            self._hear(content["body"])
        return super().add(room, sender, kind, content, key)


def on_reactor(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function on the reactor, and return its result."""
    return blockingCallFromThread(REACTOR, function, *given)


def await_true(check: Callable[[], Any], what: str, limit: float = LIMIT) -> None:
    """Wait until the check returns something true."""
    deadline = time.monotonic() + limit
    while not check():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} has not happened in {limit:g} s")
        time.sleep(0.01)


@dataclass
class Site:
    """The servers, a running bot, and what has arrived: by the number of the recipient, the time of `send` and the delay."""

    directory: Path
    matrix: Homeserver = field(init=False)
    irc: UnlimitedNgircd = field(default_factory=UnlimitedNgircd)
    services: Mapping[str, Service] = field(default_factory=lambda: {name: Service(threads=True) for name in TARGETS})
    heard: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.matrix = Homeserver(self.hear)
        for service in self.services.values():
            service.received = defaultdict(lambda: Heard(self.hear))

    @property
    def log(self) -> Path:
        """The log of the bot."""
        return self.directory / "log"

    def hear(self, said: str, now: float | None = None) -> None:
        """Note the arrival of a message."""
        number, _, sent = said.partition(" ")
        if number.isdigit() and sent:
            self.heard[int(number)].append((float(sent), (now or time.monotonic()) - float(sent)))

    def start_servers(self, stack: ExitStack) -> None:
        """Start all servers, until the end of the stack."""
        stack.enter_context(running_server(self.irc))
        for service in self.services.values():
            stack.callback(service.stop)
        on_reactor(self.matrix.start)
        stack.callback(on_reactor, self.matrix.stop)
        on_reactor(lambda: Deferred.fromCoroutine(self._make_rooms()))
        self.reader = self._ask(
            Person("reader", lambda now, _, said: self.hear(said, now)).join(self.irc.port, *IRC_ROOMS)
        )
        stack.callback(self.reader.leave)

    async def _make_rooms(self) -> None:
        self._alice, _ = [await Account(REACTOR, self.matrix.url, name).register() for name in ("alice", "err")]
        for alias in ALIASES:
            await self._alice.make_room(room_alias_name=alias[1:].partition(":")[0])

    def _ask(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(LIMIT)

    def settings(self, *networks: str) -> str:
        """Return the lines of a config.py with these networks."""
        irc: dict[str, Any] = {}
        exec(settings(self.irc.port, IRC_ROOMS, IRC_RECONNECT_ON_DISCONNECT=1), irc)
        identity = {"homeserver": self.matrix.url, "user": "err", "password": "pw-err"}
        known = {
            "matrix": {
                "BACKEND": "Matrix",
                "BOT_IDENTITY": identity,
                "BOT_ADMINS": ("@alice:localhost",),
                "CHATROOM_PRESENCE": ALIASES,
            },
            "irc": {name: value for name, value in irc.items() if name.isupper() and name != "CORE_PLUGINS"},
            "push": {"BACKEND": "Apprise", "BOT_IDENTITY": {"targets": {name: f"env:{name}_URL" for name in TARGETS}}},
        }
        known["irc"].pop("__builtins__", None)
        lines = {
            "NETWORKS": {name: known[name] for name in networks},
            "CORE_PLUGINS": ("ACLs", "Help", "Plugins"),
        }
        return "".join(f"{name} = {value!r}\n" for name, value in lines.items())

    def bot(self, *networks: str) -> Bot:
        """Return a bot with these networks, which isn't started."""
        bot = errklein(self.directory / "bot", "Null", plugins=PLUGINS)
        add_settings(self.directory / "bot", "del BACKEND, BOT_IDENTITY, BOT_ADMINS\n" + self.settings(*networks))
        urls = {f"{name}_URL": service.url(f"/{name}") for name, service in self.services.items()}
        return Bot(bot.command, {**bot.environment, **urls})

    @contextmanager
    def running_bot(self, *networks: str) -> Iterator[int]:
        """Run a bot with these networks until the end of the block, when it has joined its rooms. Yields its process id."""
        with running(self.bot(*networks), self.log) as process:
            try:
                self._await_rooms(networks)
                yield process.pid
            except (RuntimeError, TimeoutError) as error:
                raise RuntimeError(f"{error}\n{last_words(self.log)}") from None
            finally:
                process.kill()

    def _await_rooms(self, networks: Sequence[str]) -> None:
        if "matrix" in networks:
            rooms = list(self.matrix.rooms.values())
            await_true(
                lambda: all(room.membership("@err:localhost") == "join" for room in rooms), "joining rooms of Matrix"
            )
        if "irc" in networks:
            self._ask(self.reader.await_bot(LIMIT))

    def pace(self, network: str, recipients: Sequence[str], rate: float, count: int) -> None:
        """Let the bot send to the recipients in turn, by a command in a room of the network."""
        command = f"!pace {rate} {count} {' '.join(recipients)}"
        if network == "irc":
            LOOP.call_soon_threadsafe(self.reader.send, f"PRIVMSG {IRC_ROOMS[0]} :{command}")
        else:
            room = self.matrix.aliases[ALIASES[0]]
            on_reactor(lambda: Deferred.fromCoroutine(self._alice.say(room, command)))

    def arrived(self, numbers: Sequence[int]) -> Sequence[tuple[float, float]]:
        """Return the times of `send` and the delays of the messages to these recipients."""
        return [message for number in numbers for message in list(self.heard[number])]

    def await_messages(self, numbers: Sequence[int], count: int, limit: float = LIMIT) -> None:
        """Wait until so many messages to these recipients have arrived, or for so many seconds."""
        deadline = time.monotonic() + limit
        while len(self.arrived(numbers)) < count and time.monotonic() < deadline:
            time.sleep(0.05)


@dataclass(frozen=True)
class Fault:
    """A fault, and the beginnings of the names of the recipients that it concerns."""

    begin: Callable[[Site], object]
    of: str


def refuse(site: Site) -> None:
    """Stop a service."""
    site.services["t0"].stop()


FAULTS = {
    "429 in a room": Fault(
        lambda site: site.matrix.limits.update({site.matrix.aliases[ALIASES[0]]: RETRY_AFTER}), RECIPIENTS[0]
    ),
    "target refuses": Fault(refuse, "push:#t0"),
    "target hangs": Fault(lambda site: site.services["t0"].hung.add("/t0"), "push:#t0"),
    "IRC stopped": Fault(lambda site: site.irc.kill(), "irc:"),
    "Matrix stopped": Fault(lambda site: on_reactor(site.matrix.stop), "matrix:"),
    "Matrix silent": Fault(lambda site: setattr(site.matrix, "is_silent", True), "matrix:"),
}


def p99(delays: Sequence[float]) -> float:
    """Return the 99th percentile of the delays."""
    return sorted(delays)[int(len(delays) * 0.99)]


@contextmanager
def site() -> Iterator[Site]:
    """Yield servers that run until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="networks-") as name, ExitStack() as stack:
        made = Site(Path(name))
        made.start_servers(stack)
        yield made


def measure(fault: Fault, is_on: bool, rate: float, seconds: float) -> tuple[Sequence[float], int]:
    """Return the delays of the others with a new bot, with or without the fault, and the number of missing messages."""
    others = [number for number, name in enumerate(RECIPIENTS) if not name.startswith(fault.of)]
    count = len(RECIPIENTS)
    with site() as place, place.running_bot("matrix", "irc", "push"):
        # The first messages take longer. IRC may be stopped afterwards.
        place.pace("irc" if fault.of != "irc:" else "matrix", RECIPIENTS, rate, 10 * count)
        place.await_messages(range(count), 10 * count)
        place.heard.clear()
        each = int(rate * seconds / count)
        if is_on:
            fault.begin(place)
        place.pace("irc" if fault.of != "irc:" else "matrix", RECIPIENTS, rate, each * count)
        place.await_messages(others, each * len(others), seconds + 5)
        delays = [delay for _, delay in place.arrived(others)]
    return delays, each * len(others) - len(delays)


def faults(names: Sequence[str], rounds: int, rate: float, seconds: float, check: bool) -> list[str]:
    """Print the delays with each fault, and return the missed limits."""
    problems: list[str] = []
    rows: list[Sequence[str]] = [
        ("the others while", "p99 ms", "with it", "ratio", "ratios", "longest ms", "with it", "later ms", "missing")
    ]
    for name in names:
        runs = [[measure(FAULTS[name], is_on, rate, seconds) for is_on in (False, True)] for _ in range(rounds)]
        off, on = (median(p99(run[which][0]) for run in runs) for which in (0, 1))
        longest = [[max(run[which][0]) for run in runs] for which in (0, 1)]
        later = max(with_it - without for without, with_it in zip(*longest, strict=True))
        missing = sum(run[1][1] for run in runs)
        ratios = " ".join(f"{p99(run[1][0]) / p99(run[0][0]):.2f}" for run in runs)
        times = (off, on, *map(max, longest), later)
        cells = [f"{1000 * value:.1f}" for value in times]
        rows.append([name, *cells[:2], f"{on / off:.2f}", ratios, *cells[2:], str(missing)])
        print(text([rows[0], rows[-1]]), flush=True)
        limits = {
            f"the 99th percentile of the others is {on / off:.2f} times that without": check or on / off <= MOST_RATIO,
            f"a message of the others is {later:.3f} s later": later <= MOST_LATER,
            f"{missing} messages of the others are missing": missing == 0,
        }
        problems += [f"{name}: {what}" for what, is_met in limits.items() if not is_met]
    print(text(rows))
    return problems


def silent() -> list[str]:
    """Print after how many seconds silent servers are left, and return the missed limits."""
    with site() as place, place.running_bot("matrix", "irc"):
        place.pace("irc", RECIPIENTS[:6], 60, 60)
        place.await_messages(range(6), 60)
        before = time.monotonic()
        place.matrix.is_silent = True
        place.irc.freeze()
        noticed: dict[str, float] = {}

        def look() -> bool:
            log = place.log.read_text(encoding="utf-8")
            for name in ("matrix", "irc"):
                if f"{name}: not connected" in log:
                    noticed.setdefault(name, time.monotonic() - before)
            return len(noticed) == 2

        try:
            await_true(look, "leaving silent servers", 2 * MOST_SILENT)
        finally:
            place.irc.freeze(False)
    print(
        "silent servers are left after " + ", ".join(f"{seconds:.1f} s ({name})" for name, seconds in noticed.items())
    )
    return [
        f"{name}: a silent server is left after {each:.0f} s" for name, each in noticed.items() if each > MOST_SILENT
    ]


def memory() -> list[str]:
    """Print the memory with one network each, and return the missed limits."""
    used: dict[str, tuple[float, float]] = {}
    for name, begin in (("irc", 4), ("matrix", 0)):
        with site() as place, place.running_bot(name) as pid:
            await_idle([pid])
            started = resident(pid)
            place.pace(name, RECIPIENTS[begin : begin + 2], 200, MESSAGES)
            place.await_messages((0, 1), MESSAGES)
            await_idle([pid])
            used[name] = started, resident(pid)
            print(
                f"{name}: {started:.1f} MB after the start, {used[name][1]:.1f} MB after {MESSAGES:,} messages",
                flush=True,
            )
    more = [matrix - irc for irc, matrix in zip(used["irc"], used["matrix"], strict=True)]
    print(f"more with Matrix: {more[0]:.1f} MB, {more[1]:.1f} MB")
    return [f"Matrix takes {each:.1f} MB more than IRC" for each in more if each > MOST_MEMORY]


def main() -> int:
    """Return the exit status."""
    options = arguments(__doc__, check=False, rounds=5, seconds=6.0, rate=100.0, fault="")
    names = [options.fault] if options.fault else list(FAULTS)
    threading.Thread(target=REACTOR.run, args=(False,), daemon=True).start()
    problems = [] if options.fault else memory()
    problems += faults(
        names,
        1 if options.check else options.rounds,
        options.rate,
        3 if options.check else options.seconds,
        options.check,
    )
    if not (options.check or options.fault):
        problems += silent()
    return report(problems)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The reactor's thread doesn't end.
    os._exit(status)
