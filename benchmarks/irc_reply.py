"""The time of a reply with 100 lines on IRC servers with their default limits, before and after several lines are unconfirmed.

    python benchmarks/irc_reply.py [--lines 100] [--servers ergo,InspIRCd,ngircd] [--before REVISION]
    python benchmarks/irc_reply.py --lines 30      two minutes
    python benchmarks/irc_reply.py --only help     an alert behind three long replies, less than a minute

Needs ergochat, inspircd, ngircd and git. The bots have errklein's own pace. A person sends the bot a command; its time ends with
the last line of the reply. Both revisions run at the same time, each on a server of its own.

`help`: three people send `!help` to a bot in a room of an ngircd with its limits. When the replies have begun, a webhook posts an
alert to the room.

Exits with 1 if a line is missing, if a reply on ergo or InspIRCd takes more than 0.55 of the time before, or if more than
three lines come before the alert.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bots import HERE
from irc_people import BOT, Person, running_server
from outbox import BEFORE, ROOMS, bot, checkout, post
from web_report import text, verdict, verdict_rows

from tests.backends.irc.ergo import Ergo
from tests.backends.irc.inspircd import Inspircd
from tests.backends.irc.ngircd import Ngircd
from tests.server_program import ServerProgram

TARGET = 0.55
MOST_BEFORE_ALERT = 3
OWN_PACE = {"IRC_CHANNEL_RATE": None, "IRC_PRIVATE_RATE": None}


def limited_ergo() -> Ergo:
    """Return an ergo that delays fast clients as its example configuration does."""
    server = Ergo()
    fakelag = "{enabled: true, window: 1s, burst-limit: 5, messages-per-window: 2, cooldown: 2s}"
    lines = server.configuration.read_text(encoding="utf-8")
    server.configuration.write_text(lines.replace("{enabled: false}\nhistory", f"{fakelag}\nhistory"), encoding="utf-8")
    return server


SERVERS: Mapping[str, Callable[[], ServerProgram]] = {"ergo": limited_ergo, "InspIRCd": Inspircd, "ngircd": Ngircd}


async def reply_time(make: Callable[[], ServerProgram], files: Path, lines: int) -> float:
    """Return the seconds of a reply; infinity if it isn't complete."""
    times: list[float] = []
    done = asyncio.Event()

    def hear(now: float, target: str, said: str) -> None:
        times.append(now)
        if said.startswith(f"line {lines - 1} "):
            done.set()

    with running_server(make()) as server:
        person = await Person("asker", hear).join(server.port, ROOMS[0])
        with bot(server, files, **OWN_PACE) as _:
            await person.await_bot()
            # The server forgets the bot's commands at the start.
            await asyncio.sleep(15)
            begun = time.monotonic()
            person.send(f"PRIVMSG {BOT} :!lines {lines}")
            try:
                async with asyncio.timeout(60 + 3 * lines):
                    await done.wait()
            except TimeoutError:
                return float("inf")
            finally:
                person.leave()
    return times[-1] - begun if len(times) == lines else float("inf")


async def compare(names: Sequence[str], revision: str, lines: int) -> list[dict[str, object]]:
    """Print the times, and return the targets."""
    rows = [[f"s for {lines} lines", "before", "now"]]
    targets = []
    with checkout(revision) as earlier:
        for name in names:
            before, now = await asyncio.gather(
                *(
                    asyncio.to_thread(asyncio.run, reply_time(SERVERS[name], files, lines))
                    for files in (earlier, HERE.parent)
                )
            )
            rows.append([name, f"{before:.1f}", f"{now:.1f}"])
            if name != "ngircd":
                targets.append(verdict(f"{name}: now / before", now / before, TARGET, at_most=True))
    print(text(rows), flush=True)
    return targets


async def lines_before_alert() -> int:
    """Return the number of lines in the room between the request of a webhook and its message."""
    heard: list[str] = []
    alert = asyncio.Event()

    def hear(now: float, target: str, said: str) -> None:
        if target == ROOMS[0]:
            heard.append(said)
            if said == "alert":
                alert.set()

    with running_server(Ngircd()) as server:
        people = [await Person(f"stranger{number}", lambda *_: None).join(server.port, ROOMS[0]) for number in range(3)]
        reader = await Person("reader", hear).join(server.port, ROOMS[0])
        with bot(server, **OWN_PACE, DIVERT_TO_PRIVATE=()) as (_, port):
            await reader.await_bot()
            for person in people:
                person.send(f"PRIVMSG {ROOMS[0]} :!help")
            await asyncio.sleep(4)
            begun = len(heard)
            if not begun:
                raise RuntimeError("no reply to !help has begun")
            await asyncio.to_thread(post, port, "post_3", {"room": ROOMS[0], "text": "alert"})
            async with asyncio.timeout(60):
                await alert.wait()
            place = heard.index("alert")
            await asyncio.sleep(3)
            if len(heard) < place + 3:
                raise RuntimeError("the replies to !help ended before the alert")
        for person in (*people, reader):
            person.leave()
    return place - begun


def main() -> int:
    """Print the times and the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--before", default=BEFORE, help="a revision")
    parser.add_argument("--only", choices=("reply", "help"))
    options = parser.parse_args()
    targets = []
    if options.only != "help":
        targets += asyncio.run(compare(options.servers.split(","), options.before, options.lines))
    if options.only != "reply":
        count = asyncio.run(lines_before_alert())
        targets.append(verdict("lines before the alert", float(count), MOST_BEFORE_ALERT, at_most=True))
    print(text(verdict_rows(targets)))
    return 0 if all(each["met"] for each in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
