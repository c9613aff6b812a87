"""The scenario isolation: blocking handlers delay neither async handlers nor the chat, and excess requests are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from long_tests.acceptance.talking import TalkingBot, talking
from long_tests.acceptance.wire import Answer, Connection, ask_at_once, in_short, run, slowest, statuses

POOL, QUEUE = 20, 200
"""The defaults of WEBHOOK_POOLSIZE and WEBHOOK_QUEUE."""

WEBHOOK_LIMIT, COMMAND_LIMIT = 0.050, 0.100
"""The limits in seconds for an `async def` webhook and a chat command meanwhile."""

PLUGIN = """
    import time
    from errklein import BotPlugin, botcmd, webhook

    class Sleeper(BotPlugin):
        @webhook
        def sleep(self, request):
            time.sleep({seconds})
            return "slept"

        @webhook
        def stuck(self, request):
            time.sleep({stuck})
            return "awake at last"

        @webhook
        async def quick(self, request):
            return "quick"

        @botcmd
        def shout(self, msg, args):
            return args.upper()
"""


@dataclass(frozen=True)
class Figures:
    """The measured figures. Times are in seconds."""

    sleep: float
    wait: float
    blocked: Sequence[Answer]
    """The responses of the blocking handlers."""
    webhooks: Sequence[Answer]
    """The responses of the `async def` webhook meanwhile."""
    commands: Sequence[float]
    """The durations of chat commands meanwhile."""
    flood: Sequence[Answer]
    """The responses to more concurrent requests than the limits allow."""

    def report(self) -> str:
        """Return the figures as text."""
        refused = self._refused_at_once
        return f"""\
{len(self.blocked)} handlers that sleep {self.sleep:g} s: {statuses(self.blocked)}
meanwhile {len(self.webhooks)} async webhooks: {in_short(self._webhook_times)}
meanwhile {len(self.commands)} chat commands: {in_short(self.commands)}
{len(self.flood)} at once: {statuses(self.flood)}; {len(refused)} refused at once: {in_short(_times(refused))}"""

    def problems(self, share: float = 1.0) -> list[str]:
        """Return a line for each failed expectation.

        Only the given share of the responses must be quick, since other processes can slow down the machine.
        """
        found = []
        if any(answer.status != 200 for answer in self.webhooks):
            found.append(f"async webhooks: {statuses(self.webhooks)}")
        if slowest(self._webhook_times, share) >= WEBHOOK_LIMIT:
            found.append(f"async webhooks were slow: {in_short(self._webhook_times)}")
        if slowest(self.commands, share) >= COMMAND_LIMIT:
            found.append(f"chat commands were slow: {in_short(self.commands)}")
        found += [f"unexpected response: {answer}" for answer in (*self.blocked, *self.flood) if not _proper(answer)]
        rounds = int(self.wait / self.sleep) + 1
        # A request whose thread becomes free at the very end of its wait may be served or refused.
        served = sum(answer.status == 200 for answer in self.blocked)
        certain = POOL * (rounds - 1 if self.wait % self.sleep == 0 else rounds)
        if not min(certain, len(self.blocked)) <= served <= POOL * rounds:
            found.append(f"{served} of {len(self.blocked)} requests to blocking handlers were served")
        if any(answer.took > self.wait + 1.0 for answer in self.blocked if answer.status == 503):
            found.append("a refused request waited too long")
        if len(self._refused_at_once) != len(self.flood) - POOL - QUEUE:
            found.append(f"{len(self._refused_at_once)} of {len(self.flood)} were refused at once")
        return found

    @property
    def _webhook_times(self) -> list[float]:
        return _times(self.webhooks)

    @property
    def _refused_at_once(self) -> list[Answer]:
        return [answer for answer in self.flood if answer.status == 503 and answer.took < self.wait / 2]


def isolation(
    directory: Path, *, sleep: float = 5.0, wait: float = 10.0, blocked: int = 50, flood: int = 250
) -> Figures:
    """Let `blocked` handlers sleep, use an async webhook and the chat meanwhile, then send `flood` requests at once."""
    plugins = {"Sleeper": PLUGIN.format(seconds=sleep, stuck=0)}
    with talking(directory, plugins, WEBHOOK_QUEUE_WAIT=wait) as bot:
        sleeping, webhooks, commands = run(_meanwhile(bot, blocked))
        flooding = run(ask_at_once(bot.port, "/sleep", flood))
    return Figures(sleep, wait, sleeping, webhooks, commands, flooding)


async def _meanwhile(bot: TalkingBot, blocked: int) -> tuple[list[Answer], list[Answer], list[float]]:
    sleeping = asyncio.ensure_future(ask_at_once(bot.port, "/sleep", blocked))
    probe = Connection(bot.port)
    await probe.open()
    await asyncio.sleep(0.1)
    webhooks: list[Answer] = []
    commands: list[float] = []
    while not sleeping.done():
        webhooks.append(await probe.ask("/quick"))
        began = time.monotonic()
        commands.append(bot.say(f"!shout word {len(commands)}.", f"WORD {len(commands)}.") - began)
        await asyncio.sleep(0.02)
    probe.close()
    return await sleeping, webhooks, commands


@dataclass(frozen=True)
class Overdue:
    """The measured figures for handlers that hang."""

    timeout: float
    stuck: Sequence[Answer]
    """The responses of handlers that hang, one for each thread."""
    after: Answer
    """The response to one more request of the same webhook, while the others hang."""
    other: Answer
    """The response of another blocking webhook at the same time."""
    quick: Answer
    """The response of an `async def` webhook at the same time."""
    warnings: int
    """The number of warnings to the administrator."""
    later: Answer
    """The response after the other handlers have ended."""

    def report(self) -> str:
        """Return the figures as text."""
        return (
            f"{len(self.stuck)} handlers over a timeout of {self.timeout:g} s: {statuses(self.stuck)} after "
            f"{max(answer.took for answer in self.stuck):.2f} s; one more meanwhile: {self.after.status} after "
            f"{self.after.took:.2f} s; another webhook: {self.other.status} after {self.other.took:.2f} s; an async one: {self.quick.status} after {self.quick.took * 1000:.0f} ms; "
            f"{self.warnings} warnings to administrators; afterwards: {self.later.status}"
        )

    def problems(self) -> list[str]:
        """Return a line for each failed expectation."""
        found = []
        if any(answer.status != 504 for answer in self.stuck):
            found.append(f"handlers over the timeout: {statuses(self.stuck)}")
        if not all(self.timeout <= answer.took < self.timeout + 1.0 for answer in self.stuck):
            found.append(f"504 came after {[round(answer.took, 2) for answer in self.stuck]} s")
        if self.after.status != 503 or "retry-after" not in self.after.headers:
            found.append(f"one more request while all threads hang: {self.after}")
        if self.other.status != 200 or self.other.took >= 1.0:
            found.append(f"another blocking webhook: {self.other}")
        if self.quick.status != 200 or self.quick.took >= WEBHOOK_LIMIT:
            found.append(f"an async webhook: {self.quick}")
        if self.warnings != 1:
            found.append(f"{self.warnings} warnings to administrators")
        if self.later.status != 200:
            found.append(f"a request after the threads are free: {self.later}")
        return found


def overdue(
    directory: Path, *, threads: int = 3, timeout: float = 1.0, stuck: float = 4.0, wait: float = 0.5
) -> Overdue:
    """Let handlers in all threads sleep longer than the timeout, and send one more request."""
    plugins = {"Sleeper": PLUGIN.format(seconds=0, stuck=stuck)}
    settings = {"WEBHOOK_TIMEOUT": timeout, "WEBHOOK_POOLSIZE": threads, "WEBHOOK_QUEUE_WAIT": wait}
    with talking(directory, plugins, **settings) as bot:
        began = time.monotonic()
        answers = run(ask_at_once(bot.port, "/stuck", threads))
        after = run(ask_at_once(bot.port, "/stuck", 1))[0]
        other = run(ask_at_once(bot.port, "/sleep", 1))[0]
        quick = run(ask_at_once(bot.port, "/quick", 1))[0]
        time.sleep(max(0.0, began + stuck + 0.3 - time.monotonic()))
        later = run(ask_at_once(bot.port, "/sleep", 1))[0]
        bot.say("!echo all is said", "all is said")
        return Overdue(timeout, answers, after, other, quick, bot.text.count("has not responded in"), later)


def _times(answers: Sequence[Answer]) -> list[float]:
    return [answer.took for answer in answers]


def _proper(answer: Answer) -> bool:
    return answer.status == 200 or (answer.status == 503 and int(answer.headers.get("retry-after", "0")) > 0)
