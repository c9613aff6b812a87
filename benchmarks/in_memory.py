"""Commands per second without a pipe: a bot with its Test backend in this process.

commands.py runs this once for errklein and once for errbot, each with a Python that has it: `python in_memory.py
errklein|errbot CONFIG`. Each line of standard input is a command and a number. The result, a line of standard output
that begins with "answer", is the time in seconds to send the command that often and get all replies.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

PLUGINS = Path(__file__).parent / "plugins"


def answer(text: str) -> None:
    """Write a result to the file descriptor, since standard output may be redirected to a log."""
    os.write(1, f"\nanswer {text}\n".encode())


def run_errbot() -> None:
    """Measure errbot's Test backend with the class that errbot offers to plugin authors."""
    from errbot.backends.test import TestBot

    bot = TestBot(extra_plugin_dir=str(PLUGINS), loglevel=logging.ERROR)
    bot.start()
    answer("ready")
    for line in sys.stdin:
        command, _, number = line.strip().rpartition(" ")
        began = time.monotonic()
        for i in range(int(number)):
            bot.push_message(f"!{command} {i}")
        for _ in range(int(number)):
            bot.pop_message(timeout=10)
        answer(str(time.monotonic() - began))
    bot.stop()


def run_errklein(config_file: Path) -> None:
    """Measure errklein's Test backend with its real reactor and threads."""
    from twisted.internet import asyncioreactor

    asyncioreactor.install(asyncio.new_event_loop())
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from errklein.config import load_config
    from errklein.service import configure_garbage_collector
    from errklein.wiring import wire

    _, make_bot = wire(reactor, load_config(config_file))
    bot = make_bot()
    (backend,) = bot.backends.values()
    waiting: list[Any] = [0, 0.0]

    def sent(_: object) -> None:
        waiting[0] -= 1
        if waiting[0] == 0:
            answer(str(time.monotonic() - waiting[1]))

    def say(command: str, number: int) -> None:
        backend.sent.clear()
        waiting[:] = [number, time.monotonic()]
        for i in range(number):
            backend.receive(f"!{command} {i}")

    def listen() -> None:
        for line in sys.stdin:
            command, _, number = line.strip().rpartition(" ")
            reactor.callFromThread(say, command, int(number))
        reactor.callFromThread(reactor.stop)

    async def start() -> None:
        await bot.start()
        configure_garbage_collector()
        backend.watch(sent)
        threading.Thread(target=listen, daemon=True).start()
        answer("ready")

    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(start()).addErrback(lambda failure: failure.printTraceback())
    )
    reactor.run()


if __name__ == "__main__":
    if sys.argv[1] == "errbot":
        run_errbot()
    else:
        run_errklein(Path(sys.argv[2]))
