"""The cost of monitoring: the CPU time of a scrape of /metrics, and that of webhooks with a scrape every second.

    python benchmarks/scrape.py [--scrapes 200] [--rounds 6] [--seconds 5]

Needs wrk. A bot with 100 routes, each of which has had requests, is scraped one time after the other. After that, wrk posts over
16 connections, alternately without and with a scrape every second. The share is the CPU time of a scrape in one second. The
quotient is the median, over the rounds, of the CPU time for a request with scrapes by that without.

Exits with 1 if the share is more than 2 %. The quotient depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bots import HERE, Bot, await_idle, cpu_seconds, errklein, free_port, log_no_deliveries, serving
from web_peers import HANDLER, PLUGIN
from web_report import text, verdict, verdict_rows

ROUTES = 100


def scrape(port: int) -> int:
    """Return the size of /metrics in bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    size = len(connection.getresponse().read())
    connection.close()
    return size


@contextmanager
def scraping(port: int) -> Iterator[None]:
    """Scrape once a second in the context."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(1):
            scrape(port)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def post(port: int, pid: int, seconds: float, directory: Path) -> float:
    """Post to all routes in turn for some seconds; return the CPU time for a request in seconds."""
    body = directory / "body.json"
    body.write_text('{"count": 1}')
    command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", "-s", str(HERE / "post.lua"), f"http://127.0.0.1:{port}", "--"]
    before = cpu_seconds(pid)
    done = subprocess.run(
        [*command, str(body), "application/json", str(ROUTES)], check=True, capture_output=True, text=True
    )
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    if figures["errors"] or not figures["requests"]:
        raise RuntimeError(f"wrk: {figures}")
    used: float = cpu_seconds(pid) - before
    return used / int(figures["requests"])


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scrapes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="errklein-") as name:
        directory, port, status = Path(name), free_port(), free_port()
        plugins = directory / "plugins"
        plugins.mkdir()
        handlers = (HANDLER.format(number=number, kind="async def") for number in range(ROUTES))
        (plugins / "routes.py").write_text(PLUGIN + "\n".join(handlers))
        (plugins / "routes.plug").write_text("[Core]\nName = Routes\nModule = routes\n")
        bot = errklein(directory, "Null", port, plugins)
        log_no_deliveries(directory)
        bot = Bot([*bot.command, "--status", f"tcp:{status}:interface=127.0.0.1"], bot.environment)
        with serving(bot, port, directory / "log") as pid:
            await_idle([pid])
            post(port, pid, 1, directory)
            await_idle([pid])
            before, size = cpu_seconds(pid), 0
            for _ in range(options.scrapes):
                size = scrape(status)
            seconds = (cpu_seconds(pid) - before) / options.scrapes
            quotients = []
            for _ in range(options.rounds):
                alone = post(port, pid, options.seconds, directory)
                with scraping(status):
                    quotients.append(post(port, pid, options.seconds, directory) / alone)
    print(f"{size:,} bytes, {seconds * 1000:.1f} ms of CPU time for a scrape")
    if quotients:
        print(f"CPU time for a request with a scrape every second ÷ without: {median(quotients):.3f}")
    share = verdict("share of a second in %", seconds * 100, 2.0, at_most=True)
    print(text(verdict_rows([share])))
    sys.exit(0 if share["met"] else 1)


if __name__ == "__main__":
    main()
