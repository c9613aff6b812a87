"""One bot on all networks: its start, memory and CPU time, what one network's fault does to the others, and busy rooms.

A bot with IRC, Matrix, Telegram, XMPP, Slack, Apprise and the terminal runs in a process of its own on loopback. ngircd and Prosody are
real, and the other servers are doubles.

- memory: the resident memory with IRC, with Matrix, and with all, after the start and after 1,000 messages, the seconds until
  the bot is in its rooms, and the share of a core that it uses at rest
- faults: the bot sends to rooms and targets in turn, at a steady rate; in each round, another one does so without a fault.
  A delay is the time from `send` to the arrival at the server: the 99th percentile and the longest of the messages to the
  others. The limits are those of the median of all rounds, and of each message.
- silent: the seconds until the bot notices that a server stops answering, and leaves the connection open
- busy: people write 100 messages a second into a room for a minute; none is lost, and plugins get them in order

    python benchmarks/networks.py [--rounds 5] [--seconds 6] [--rate 100] [--fault NAME]     20 minutes
    python benchmarks/networks.py --busy        five minutes: only the busy rooms
    python benchmarks/networks.py --check       three minutes: a short round of each, without the percentiles and the CPU time

Needs ngircd, Prosody and Apprise. Exits with 1 if a limit is missed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bots import HERE, Bot, arguments, await_idle, cpu_seconds, errklein, last_words, report, resident, running
from irc_people import Person, UnlimitedNgircd, add_settings, running_server, settings
from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import blockingCallFromThread
from web_report import text

from tests.networks.apprise.service import Service
from tests.networks.matrix.people import Person as Account
from tests.networks.matrix.server import FakeHomeserver
from tests.networks.slack import server as slack
from tests.networks.telegram import server as telegram
from tests.networks.xmpp.people import CLIENT
from tests.networks.xmpp.people import Person as Contact
from tests.networks.xmpp.prosody import Prosody

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
GROUPS, CHANNELS = (telegram.GROUP, telegram.OTHER), {"#ops": slack.OPS, "#dev": slack.DEV}
XMPP_ROOMS = tuple(f"r{number}@conference.localhost" for number in range(2))
TARGETS = ("t0", "t1", "t2")
ALL = ("irc", "matrix", "telegram", "xmpp", "slack", "push", "text")
RECIPIENTS = (
    *(f"matrix:{alias}" for alias in ALIASES),
    *(f"irc:{room}" for room in IRC_ROOMS),
    *(f"telegram:{group}" for group in GROUPS),
    *(f"xmpp:{room}" for room in XMPP_ROOMS),
    *(f"slack:{name}" for name in CHANNELS),
    *(f"push:#{name}" for name in TARGETS),
)
LIMIT = 60.0
"""The seconds within which anything must happen."""
MOST_RATIO, MOST_LATER, MOST_SILENT, MOST_CPU = 1.2, 0.5, 60.0, 0.02
MOST_MEMORY = {"matrix": 15.0, "all": 50.0}
"""The MB that these networks may take more than IRC alone."""
MESSAGES, BUSY_RATE = 1_000, 100
RETRY_AFTER = 2
"""The seconds after which a server that limits a room accepts more."""


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


class Telegram(telegram.FakeTelegram):
    """A Telegram that tells when a message arrives."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__(REACTOR, time.time)
        self._hear = hear

    def do_sendMessage(self, chat: Any, text: str, parse_mode: str = "", **fields: Any) -> Any:
        """Add a message of the bot."""
        self._hear(text)
        return super().do_sendMessage(chat, text, parse_mode, **fields)


class Slack(slack.FakeSlack):
    """A Slack that tells when a message arrives."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__(REACTOR, time.time)
        self._hear = hear

    def event(self, event: Mapping[str, Any], times: int = 1) -> str:
        """Deliver an event, also of the bot's messages."""
        if event.get("user") == slack.BOT and event["type"] == "message":
            self._hear(event["text"])
        return super().event(event, times)


class Occupant(Contact):
    """Somebody in rooms on XMPP, who tells when a message arrives, and sees whether the bot is there."""

    def __init__(self, server: Prosody, hear: Callable[[str], None]) -> None:
        super().__init__(REACTOR, "alice", server.port, server.authority)
        self._hear, self.rooms = hear, set[str]()
        self.stream._owner.receive = self._receive

    def _receive(self, stanza: Any) -> None:
        room, _, nick = stanza.get("from", "").partition("/")
        if text := stanza.findtext(f"{CLIENT}body"):
            self._hear(text)
        else:
            self.stanzas.append(stanza)
            if nick == "err":
                self.rooms.add(room)


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
    xmpp: Prosody = field(default_factory=lambda: Prosody("alice", "err"))
    services: Mapping[str, Service] = field(default_factory=lambda: {name: Service(threads=True) for name in TARGETS})
    heard: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.matrix, self.telegram, self.slack = Homeserver(self.hear), Telegram(self.hear), Slack(self.hear)
        for service in self.services.values():
            service.received = defaultdict(lambda: Heard(self.hear))

    @property
    def log(self) -> Path:
        """The log of the bot."""
        return self.directory / "log"

    @property
    def received(self) -> Path:
        """The file to which the bot writes the messages of busy rooms, each with the time at which a plugin got it."""
        return self.directory / "received"

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
        stack.enter_context(running_server(self.xmpp))
        for double in (self.matrix, self.telegram, self.slack):
            on_reactor(double.start)
            stack.callback(on_reactor, double.stop)
        on_reactor(lambda: Deferred.fromCoroutine(self._make_rooms()))
        stack.callback(on_reactor, lambda: Deferred.fromCoroutine(self.occupant.leave()))
        self.reader = self._ask(
            Person("reader", lambda now, _, said: self.hear(said, now)).join(self.irc.port, *IRC_ROOMS)
        )
        stack.callback(self.reader.leave)

    async def _make_rooms(self) -> None:
        self._alice, _ = [await Account(REACTOR, self.matrix.url, name).register() for name in ("alice", "err")]
        for alias in ALIASES:
            await self._alice.make_room(room_alias_name=alias[1:].partition(":")[0])
        self.occupant = Occupant(self.xmpp, self.hear)
        await self.occupant.connect()
        for room in XMPP_ROOMS:
            await self.occupant.join(room)

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
            "telegram": {
                "BACKEND": "Telegram",
                "BOT_IDENTITY": {"token": telegram.TOKEN, "server": self.telegram.url},
                "BOT_ADMINS": (telegram.ALICE,),
                "CHATROOM_PRESENCE": GROUPS,
            },
            "slack": {
                "BACKEND": "Slack",
                "BOT_IDENTITY": {
                    "token": slack.TOKEN,
                    "app_token": slack.APP_TOKEN,
                    "api": f"{self.slack.url}/api",
                },
                "BOT_ADMINS": (slack.ALICE,),
                "CHATROOM_PRESENCE": tuple(CHANNELS),
            },
            "xmpp": {
                "BACKEND": "XMPP",
                "BOT_IDENTITY": {
                    "username": "err@localhost",
                    "password": "pw-err",
                    "server": ("127.0.0.1", self.xmpp.port),
                },
                "BOT_ADMINS": ("alice@localhost",),
                "CHATROOM_PRESENCE": XMPP_ROOMS,
                "CHATROOM_FN": "err",
                "XMPP_CA_CERT_FILE": str(self.xmpp.authority),
            },
            "text": {
                "BACKEND": "Text",
                "BOT_IDENTITY": {"username": "@alice"},
                "BOT_ADMINS": ("@alice",),
                "TEXT_DEMO_MODE": True,
            },
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
        return Bot(bot.command, {**bot.environment, **urls, "RECEIVED": str(self.received)})

    @contextmanager
    def running_bot(self, *networks: str) -> Iterator[int]:
        """Run a bot with these networks until the end of the block, when it has joined its rooms. Yields its process id."""
        with running(self.bot(*networks), self.log, stdin=subprocess.PIPE) as process:
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
        for network, is_in in (
            ("telegram", lambda: self.telegram.called("getUpdates")),
            ("slack", lambda: all(slack.BOT in self.slack.channels[key].members for key in CHANNELS.values())),
            ("xmpp", lambda: self.occupant.rooms.issuperset(XMPP_ROOMS)),
        ):
            if network in networks:
                await_true(is_in, f"joining rooms of {network}")

    def pace(self, network: str, recipients: Sequence[str], rate: float, count: int) -> None:
        """Let the bot send to the recipients in turn, by a command in a room of the network."""
        command = f"!pace {rate} {count} {' '.join(recipients)}"
        if network == "irc":
            LOOP.call_soon_threadsafe(self.reader.send, f"PRIVMSG {IRC_ROOMS[0]} :{command}")
        else:
            room = self.matrix.aliases[ALIASES[0]]
            on_reactor(lambda: Deferred.fromCoroutine(self._alice.say(room, command)))

    def say(self, network: str, text: str) -> None:
        """Let somebody write into a room, from the reactor."""
        if network == "telegram":
            self.telegram.say(telegram.GROUP, text)
        elif network == "slack":
            self.slack.say(text)
        elif network == "matrix":
            room = self.matrix.rooms[self.matrix.aliases[ALIASES[0]]]
            self.matrix.add(room, "@alice:localhost", "m.room.message", {"msgtype": "m.text", "body": text})
        elif network == "xmpp":
            from errklein.networks.xmpp._client import element

            body = element(f"{CLIENT}body", text)
            self.occupant.stream.send("message", XMPP_ROOMS[0], body, type="groupchat", id=text)
        else:
            self.reader.send(f"PRIVMSG {IRC_ROOMS[0]} :{text}")

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
        lambda site: site.matrix.limits.update({site.matrix.aliases[ALIASES[0]]: 1000 * RETRY_AFTER}), RECIPIENTS[0]
    ),
    "429 on Telegram": Fault(
        lambda site: site.telegram.limits.update({telegram.GROUP: RETRY_AFTER}), f"telegram:{telegram.GROUP}"
    ),
    "429 on Slack": Fault(lambda site: site.slack.limits.update({slack.OPS: RETRY_AFTER}), "slack:#ops"),
    "target refuses": Fault(refuse, "push:#t0"),
    "target hangs": Fault(lambda site: site.services["t0"].hung.add("/t0"), "push:#t0"),
    "IRC stopped": Fault(lambda site: site.irc.kill(), "irc:"),
    "Matrix stopped": Fault(lambda site: on_reactor(site.matrix.stop), "matrix:"),
    "Telegram stopped": Fault(lambda site: on_reactor(site.telegram.stop), "telegram:"),
    "Slack stopped": Fault(lambda site: on_reactor(site.slack.stop), "slack:"),
    "XMPP stopped": Fault(lambda site: site.xmpp.kill(), "xmpp:"),
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


def measure(fault: Fault | None, rate: float, seconds: float) -> Mapping[int, Sequence[float]]:
    """Return the delays of the messages to each recipient with a new bot, and with the fault if there is one."""
    count, each = len(RECIPIENTS), int(rate * seconds / len(RECIPIENTS))
    others = range(count) if fault is None else unconcerned(fault)
    # The network of the command mustn't fail.
    by = "matrix" if fault is not None and fault.of == "irc:" else "irc"
    with site() as place, place.running_bot(*ALL):
        # The first messages take longer.
        place.pace(by, RECIPIENTS, rate, 10 * count)
        place.await_messages(range(count), expected(range(count), 10))
        place.heard.clear()
        if fault is not None:
            fault.begin(place)
        place.pace(by, RECIPIENTS, rate, each * count)
        place.await_messages(others, expected(others, each), seconds + 5)
        return {number: [delay for _, delay in place.arrived([number])] for number in others}


def unconcerned(fault: Fault) -> Sequence[int]:
    """Return the numbers of the recipients that the fault doesn't concern."""
    return [number for number, name in enumerate(RECIPIENTS) if not name.startswith(fault.of)]


def expected(numbers: Sequence[int], turns: int) -> int:
    """Return how many messages go to these recipients in so many turns: to Slack in each tenth, since a room takes one a second."""
    return sum(-(-turns // 10) if RECIPIENTS[number].startswith("slack:") else turns for number in numbers)


def faults(names: Sequence[str], rounds: int, rate: float, seconds: float, check: bool) -> list[str]:
    """Print the delays with each fault, and return the missed limits."""
    problems: list[str] = []
    rows: list[Sequence[str]] = [
        ("the others while", "p99 ms", "with it", "ratio", "ratios", "longest ms", "with it", "later ms", "missing")
    ]
    runs: dict[str, list[tuple[list[float], list[float]]]] = defaultdict(list)
    for _ in range(rounds):
        without = measure(None, rate, seconds)
        for name in names:
            with_it = measure(FAULTS[name], rate, seconds)
            runs[name].append(
                (
                    [delay for number in with_it for delay in without[number]],
                    [delay for delays in with_it.values() for delay in delays],
                )
            )
    for name in names:
        off, on = (median(p99(run[which]) for run in runs[name]) for which in (0, 1))
        longest = [[max(run[which]) for run in runs[name]] for which in (0, 1)]
        later = max(with_it - without for without, with_it in zip(*longest, strict=True))
        each = expected(unconcerned(FAULTS[name]), int(rate * seconds / len(RECIPIENTS)))
        missing = rounds * each - sum(len(run[1]) for run in runs[name])
        ratios = " ".join(f"{p99(run[1]) / p99(run[0]):.2f}" for run in runs[name])
        times = (off, on, *map(max, longest), later)
        cells = [f"{1000 * value:.1f}" for value in times]
        rows.append([name, *cells[:2], f"{on / off:.2f}", ratios, *cells[2:], str(missing)])
        limits = {
            f"the 99th percentile of the others is {on / off:.2f} times that without": check or on / off <= MOST_RATIO,
            f"a message of the others is {later:.3f} s later": later <= MOST_LATER,
            f"{missing} messages of the others are missing": missing == 0,
        }
        problems += [f"{name}: {what}" for what, is_met in limits.items() if not is_met]
    print(text(rows), flush=True)
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


def memory(check: bool) -> list[str]:
    """Print what a bot with one network, and with all, takes, and return the missed limits."""
    used: dict[str, tuple[float, float]] = {}
    problems: list[str] = []
    for name, networks in (("irc", ["irc"]), ("matrix", ["matrix"]), ("all", ALL)):
        numbers = [number for number, to in enumerate(RECIPIENTS) if to.partition(":")[0] in networks]
        with site() as place:
            began = time.monotonic()
            with place.running_bot(*networks) as pid:
                seconds = time.monotonic() - began
                await_idle([pid])
                started = resident(pid)
                place.pace(networks[0], [RECIPIENTS[number] for number in numbers], 200, MESSAGES)
                place.await_messages(range(len(numbers)), expected(numbers, MESSAGES // len(numbers)))
                await_idle([pid])
                used[name] = started, resident(pid)
                share = 0.0 if check else at_rest(pid)
        print(
            f"{name}: in its rooms after {seconds:.1f} s, {started:.1f} MB after the start, "
            f"{used[name][1]:.1f} MB after {MESSAGES:,} messages" + f", {share:.2%} of a core at rest" * (not check),
            flush=True,
        )
        if share > MOST_CPU:
            problems.append(f"{name}: {share:.2%} of a core at rest")
    for name, most in MOST_MEMORY.items():
        more = [other - irc for irc, other in zip(used["irc"], used[name], strict=True)]
        print(f"more with {name}: {more[0]:.1f} MB, {more[1]:.1f} MB")
        problems += [f"{name}: {each:.1f} MB more than IRC" for each in more if each > most]
    return problems


def at_rest(pid: int, seconds: float = 30.0) -> float:
    """Return the share of a core that an idle process uses."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


def busy(networks: Sequence[str], seconds: float) -> list[str]:
    """Print how a plugin gets the messages of busy rooms, and return the missed limits."""
    problems: list[str] = []
    count = int(BUSY_RATE * seconds)
    for network in networks:
        with site() as place, place.running_bot(network) as pid:
            before = cpu_seconds(pid)
            write(place, network, count)
            deadline = time.monotonic() + seconds + LIMIT
            got: list[tuple[int, float]] = []
            # Reading the file often would delay the servers.
            while len(got) < count and time.monotonic() < deadline:
                time.sleep(0.5)
                with suppress(FileNotFoundError):
                    words = map(str.split, place.received.read_text(encoding="ascii").splitlines())
                    got = [(int(number), float(now) - float(sent)) for _, number, sent, now in words]
            used = (cpu_seconds(pid) - before) / count
        numbers = [number for number, _ in got]
        missing, again = count - len(set(numbers)), len(numbers) - len(set(numbers))
        delays = [delay for _, delay in got] or [0.0]
        order = "in order" if numbers == sorted(numbers) else "not in order"
        print(
            f"{network}: {count:,} messages, {BUSY_RATE} a second, {order}, {missing} missing, {again} twice; "
            f"p99 {1000 * p99(delays):.0f} ms, longest {1000 * max(delays):.0f} ms; {1000 * used:.1f} ms of CPU time each",
            flush=True,
        )
        if missing or again or order != "in order":
            problems.append(f"{network}: {missing} messages missing, {again} twice, {order}")
    return problems


def write(place: Site, network: str, count: int) -> None:
    """Let somebody write so many messages into a room, at the rate of busy rooms."""
    numbers = iter(range(count))

    def begin() -> Deferred[Any]:
        def due(calls: int) -> None:
            # A late call makes up for those that were left out.
            for _ in range(calls):
                if (number := next(numbers, None)) is None:
                    if loop.running:
                        loop.stop()
                    return
                place.say(network, f"busy {number} {time.monotonic():.6f}")

        loop = LoopingCall.withCount(due)
        return loop.start(1 / BUSY_RATE)

    on_reactor(begin)


def main() -> int:
    """Return the exit status."""
    options = arguments(__doc__, check=False, busy=False, rounds=5, seconds=6.0, rate=100.0, fault="")
    threading.Thread(target=REACTOR.run, args=(False,), daemon=True).start()
    if options.busy:
        return report(busy(ALL[:5], 60))
    problems = [] if options.fault else memory(options.check)
    names = [options.fault] if options.fault else list(FAULTS)
    rounds, seconds = (1, 3.0) if options.check else (options.rounds, options.seconds)
    problems += faults(names, rounds, options.rate, seconds, options.check)
    if not options.fault:
        problems += busy(ALL[2:5], 3) if options.check else silent() + busy(ALL[:5], 60)
    return report(problems)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The reactor's thread doesn't end.
    os._exit(status)
