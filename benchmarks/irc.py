"""Commands of many people in many rooms of IRC: errklein, errbot and Limnoria, one after the other, each on an ngircd of its own.

The server has no limits, and the bots no limits of their rate. People send a command with a text of its own at a fixed
rate, whatever the bot does; each is a random person, in the person's room. A response is the time from the command to the
reply that its sender gets. The people are one process, the server another.

    python benchmarks/irc.py [--users 500] [--rooms 50] [--rate 200] [--seconds 60] [--errbot-python PYTHON]
                             [--limnoria-python PYTHON] [--contenders errklein,errbot,Limnoria] [--before CHECKOUT]
                             [--json FILE] [--pages]
    python benchmarks/irc.py --seconds 12       a minute for all three

Needs ngircd. errbot and Limnoria are installed outside of the checkout:

    python3 -m venv /tmp/errbot && /tmp/errbot/bin/pip install 'errbot[irc]==6.2.1'
    python3 -m venv /tmp/limnoria && /tmp/limnoria/bin/pip install limnoria==2026.10.4

A contender that isn't installed is skipped. Exits with 1 if a reply of errklein is missing, occurs twice or isn't in its
sender's order, if errklein's p50 is more than errbot's, or if its p99 is more than Limnoria's.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bots import HERE, Bot, arguments, await_idle, cpu_seconds, errbot, errklein, last_words, resident, running
from irc_people import BOT, Person, UnlimitedNgircd, add_settings, running_server, settings
from web_report import environment, fill, markdown, text, verdict, verdict_rows

COMMAND = "!bench say "
CODES = "\x02\x03\x0f"
"""The formatting codes that a reply may end with: errbot's do."""
LATE = 10.0
"""The seconds for which replies are awaited after the last command."""
JOIN_LIMIT = 60.0
"""The seconds within which a bot must have joined all rooms."""

LIMNORIA = """\
supybot.nick: {nick}
supybot.ident: {nick}
supybot.networks: local
supybot.networks.local.servers: 127.0.0.1:{port}
supybot.networks.local.ssl: False
supybot.networks.local.channels: {rooms}
supybot.protocols.irc.throttleTime: 0.0
supybot.protocols.irc.queuing.duplicates: False
supybot.abuse.flood.command: False
supybot.abuse.flood.command.invalid: False
supybot.reply.whenAddressedBy.chars: !
supybot.reply.withNickPrefix: False
supybot.directories.plugins: {plugins}
supybot.plugins: Bench
supybot.plugins.Bench: True
supybot.log.level: WARNING
supybot.log.stdout.level: WARNING
"""


@dataclass(frozen=True)
class Load:
    """The people and their commands."""

    users: int
    rooms: int
    rate: float
    seconds: float
    seed: int

    @property
    def commands(self) -> int:
        """The number of all commands."""
        return int(self.rate * self.seconds)

    @property
    def names(self) -> Sequence[str]:
        """The names of the rooms."""
        return [f"#r{number}" for number in range(self.rooms)]


@dataclass(frozen=True)
class Figures:
    """What one bot has done. Times are in milliseconds."""

    commands: int
    lost: int
    twice: int
    disordered: int
    p50: float
    p99: float
    longest: float
    cpu: float
    resident_mb: float

    @property
    def row(self) -> Sequence[str]:
        """The cells of a table."""
        counts = (self.commands, self.lost, self.twice, self.disordered)
        times = (self.p50, self.p99, self.longest, self.cpu)
        return [*(f"{count:,}" for count in counts), *(f"{each:,.2f}" for each in times), f"{self.resident_mb:,.0f}"]


HEADING = ("", *["commands", "lost", "twice", "disordered", "p50 ms", "p99 ms", "max ms", "CPU ms per command", "MB"])


class Crowd:
    """The people, their commands and the replies."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._people: list[tuple[Person, str]] = []
        self._sent: dict[str, float] = {}
        self._times: dict[str, float] = {}
        self._heard: dict[int, list[int]] = defaultdict(list)
        self._complete = asyncio.Event()

    async def join(self, port: int) -> None:
        """Let everybody join one room."""
        for number in range(self._load.users):
            room = self._load.names[number % self._load.rooms]

            def hear(now: float, target: str, said: str, number: int = number) -> None:
                self._reply(number, now, said)

            self._people.append((await Person(f"u{number}", hear).join(port, room), room))

    async def await_bot(self) -> None:
        """Wait until the bot is in all rooms."""
        await asyncio.gather(*(person.await_bot(JOIN_LIMIT) for person, _ in self._people))

    async def talk(self) -> None:
        """Send all commands, and wait for their replies."""
        choose = random.Random(self._load.seed)
        begun = time.monotonic()
        for sent in range(self._load.commands):
            delay = begun + sent / self._load.rate - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            who = choose.randrange(self._load.users)
            person, room = self._people[who]
            said = f"{who}-{sent}"
            self._sent[said] = time.monotonic()
            person.send(f"PRIVMSG {room} :{COMMAND}{said}")
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE):
                await self._complete.wait()
        # A reply that occurs twice may follow.
        await asyncio.sleep(0.5)

    def _reply(self, number: int, now: float, said: str) -> None:
        token = said.partition("said ")[2].strip(CODES)
        who, _, sent = token.partition("-")
        if who == str(number) and token in self._sent:
            self._heard[number].append(int(sent))
            self._times.setdefault(token, now - self._sent[token])
            if len(self._times) == self._load.commands:
                self._complete.set()

    def figures(self, cpu: float, resident_mb: float) -> Figures:
        """Return the figures, with what is known about the bot's process."""
        times = [1000 * each for each in self._times.values()] or [float("inf")] * 2
        twice = sum(count - 1 for heard in self._heard.values() for count in Counter(heard).values())
        disordered = sum(later < sent for heard in self._heard.values() for sent, later in pairwise(heard))
        return Figures(
            commands=len(self._sent),
            lost=len(self._sent) - len(self._times),
            twice=twice,
            disordered=disordered,
            p50=median(times),
            p99=quantiles(times, n=100)[98],
            longest=max(times),
            cpu=1000 * cpu / len(self._sent),
            resident_mb=resident_mb,
        )

    def leave(self) -> None:
        """Close all connections."""
        for person, _ in self._people:
            person.leave()


def limnoria(directory: Path, python: Path, port: int, rooms: Sequence[str]) -> Bot:
    """Return the Limnoria that is installed for `python`, set up in `directory`."""
    directory.mkdir()
    config = directory / "limnoria.conf"
    plugins = HERE / "peers" / "limnoria"
    lines = LIMNORIA.format(nick=BOT, port=port, rooms=" ".join(rooms), plugins=plugins)
    config.write_text(lines, encoding="utf-8")
    return Bot([str(python.with_name("limnoria")), "--allow-root", str(config)], {})


async def measure(title: str, python: Path, load: Load) -> Figures:
    """Return the figures of one bot."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_server(UnlimitedNgircd()) as server:
        directory = Path(name, "bot")
        if title == "Limnoria":
            bot = limnoria(directory, python, server.port, load.names)
        elif title == "errbot":
            bot = errbot(directory, python, "IRC")
        else:
            bot = errklein(directory, "IRC", checkout=python if title == "before" else HERE.parent)
        if title != "Limnoria":
            add_settings(directory, settings(server.port, load.names))
        crowd = Crowd(load)
        await crowd.join(server.port)
        log = Path(name, "log")
        with running(bot, log) as process:
            try:
                await crowd.await_bot()
            except TimeoutError:
                raise RuntimeError(f"{title} doesn't join:\n{last_words(log)}") from None
            await asyncio.to_thread(await_idle, [process.pid])
            before = cpu_seconds(process.pid)
            await crowd.talk()
            figures = crowd.figures(cpu_seconds(process.pid) - before, resident(process.pid))
            crowd.leave()
        return figures


def verdicts(measured: dict[str, Figures]) -> list[dict[str, Any]]:
    """Return whether errklein's figures meet the targets. Peers that weren't measured have none."""
    ours = measured["errklein"]
    wrong = ours.lost + ours.twice + ours.disordered
    found = [verdict("lost, twice or disordered", float(wrong), 0, at_most=True)]
    if peer := measured.get("errbot"):
        found.append(verdict("p50 / errbot's", ours.p50 / peer.p50, 1, at_most=True))
    if peer := measured.get("Limnoria"):
        found.append(verdict("p99 / Limnoria's", ours.p99 / peer.p99, 1, at_most=True))
    return found


def main() -> int:
    """Measure each bot that is installed, and print the figures and the targets."""
    options = arguments(
        __doc__, users=500, rooms=50, rate=200.0, seconds=60.0, seed=1, errbot_python=Path("/tmp/errbot/bin/python"),
        limnoria_python=Path("/tmp/limnoria/bin/python"), before=Path, contenders="errklein,before,errbot,Limnoria",
        json=Path, pages=False,
    )  # fmt: skip
    load = Load(options.users, options.rooms, options.rate, options.seconds, options.seed)
    known = {
        "errklein": Path(sys.executable),
        "before": options.before,
        "errbot": options.errbot_python,
        "Limnoria": options.limnoria_python,
    }
    measured = {}
    rows: list[Sequence[str]] = [HEADING]
    for title in options.contenders.split(","):
        python = known[title]
        if python is None or not python.exists():
            continue
        measured[title] = asyncio.run(measure(title, python, load))
        rows.append([title, *measured[title].row])
        print(text([rows[0], rows[-1]]), flush=True)
    print(text(rows))
    if options.json:
        content = {"environment": environment(), **{title: asdict(each) for title, each in measured.items()}}
        options.json.write_text(json.dumps(content, indent=2), encoding="utf-8")
    if "errklein" not in measured:
        return 0
    found = verdicts(measured)
    print(text(verdict_rows(found)))
    if options.pages:
        fill({"irc": markdown(rows), "irc_targets": markdown(verdict_rows(found))})
    return 0 if all(each["met"] for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
