"""CPU time of a webhook's request by stage, from reading the socket to sending the response.

wrk posts 50 bytes of JSON over 32 connections to an `async def` handler. The CPU time per request is measured first. Then the
requests are repeated while the server's stack is sampled by CPU time. A sample counts for the stage of the innermost function
that `STAGES` has; library functions without a stage of their own count for their caller.

    python benchmarks/request_stages.py [--seconds 20] [--hook bench_async] [--functions 3] [--before CHECKOUT] [--page FILE]

Only the reactor's thread is sampled, so `--hook` must name a handler that runs on it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from bots import HERE, Bot, cpu_seconds, errklein, free_port, log_no_deliveries, serving
from web_report import fill, markdown, text

STAGES = {
    "event loop": (
        "asyncio.",
        "selectors",
        "errklein.listening._connections",
        "twisted.internet.",
        "twisted.python.log:callWith",
        "twisted.scripts",
    ),
    "read": ("twisted.internet.tcp:Connection.doRead", "twisted.internet.tcp:Connection._dataReceived"),
    "parse": ("errklein.web._channel", "errklein.web._http1", "errklein.webhooks.hosts", "httptools"),
    "request object": ("errklein.web.request", "errklein.listening._haproxy", "twisted.web.http"),
    "limits, deadlines": (
        "errklein.web._router:Router.match_head",
        "errklein.listening._connection_limits",
        "errklein.running._deadlines",
        "errklein.web._channel:Channel._set_deadline",
        "errklein.running._in_flight",
    ),
    "route": (
        "errklein.web._routes",
        "errklein.web._router",
        "errklein.web._paths",
        "errklein.web.resource:WebhookResource.match",
        "klein",
    ),
    "delivery": ("errklein.web._delivery", "errklein.web.resource"),
    "context, runner": ("errklein.running", "errklein.web.facade", "errklein.bot", "errklein.plugins"),
    "decode": ("errklein.webhooks", "json"),
    "handler": (":Bench.",),
    "encode": (
        "errklein.web._responses",
        "errklein.web._site:Site.date",
        "errklein.web.request:HTTPRequest._head_lines",
        "errklein.web.request:HTTPRequest.send_response",
    ),
    "send": (
        "errklein.listening._connections:_AsyncioConnection.write",
        "twisted.internet.abstract",
        "twisted.internet.tcp:Connection.writeSomeData",
    ),
    "log": ("errklein.web._site:Site._log", "errklein.web._site:Site.log", "errklein.logs", "twisted.logger"),
}
"""Prefixes of `module:function` by stage; the longest prefix decides. A prefix with a leading colon may be anywhere."""

OTHER = "other"
Stacks = Counter[tuple[str, ...]]


def stage_of(function: str) -> str | None:
    """Return the stage of a function; None if it counts for its caller."""
    best, found = 0, None
    for stage, prefixes in STAGES.items():
        for prefix in prefixes:
            matches = prefix in function if prefix.startswith(":") else function.startswith(prefix)
            if matches and len(prefix) > best:
                best, found = len(prefix), stage
    # Deferreds and the plugin's loader belong to their callers.
    return None if function.startswith(("twisted.internet.defer", "twisted.internet.main")) else found


def stages(stacks: Stacks, cpu_us: float) -> tuple[dict[str, float], dict[str, Counter[str]]]:
    """Return the µs per request of each stage, and the samples of the functions of each stage."""
    counted: Counter[str] = Counter()
    functions: dict[str, Counter[str]] = {}
    for stack, samples in stacks.items():
        stage, function = next(((stage, name) for name in stack if (stage := stage_of(name))), (OTHER, stack[0]))
        counted[stage] += samples
        functions.setdefault(stage, Counter())[function] += samples
    total = counted.total()
    return {stage: counted[stage] / total * cpu_us for stage in (*STAGES, OTHER)}, functions


def profile(checkout: Path, hook: str, seconds: int) -> tuple[float, Stacks]:
    """Return the CPU time in µs per request, without sampling, and the sampled stacks."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        port, path = free_port(), Path(directory, "stacks")
        bot = errklein(Path(directory, "bot"), "Null", port, checkout=checkout)
        log_no_deliveries(Path(directory, "bot"))
        sampled = Bot([sys.executable, __file__, "--sample", str(path), *bot.command], bot.environment)
        with serving(sampled, port, Path(directory, "log")) as pid:
            _post(port, hook, 2)
            before = cpu_seconds(pid)
            requests = _post(port, hook, seconds // 2)
            cpu_us = (cpu_seconds(pid) - before) / requests * 1e6
            os.kill(pid, signal.SIGUSR1)
            _post(port, hook, seconds)
            os.kill(pid, signal.SIGUSR2)
            while not path.exists():
                time.sleep(0.1)
        return cpu_us, Counter({tuple(stack): samples for stack, samples in json.loads(path.read_text("utf-8"))})


def _post(port: int, hook: str, seconds: int) -> int:
    url = f"http://127.0.0.1:{port}/{hook}"
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(HERE / "post.lua"), url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests: int = json.loads(output.strip().splitlines()[-1])["requests"]
    return requests


def sample(path: Path, command: Sequence[str]) -> None:
    """Run twistd in this process. SIGUSR1 starts sampling, SIGUSR2 writes the stacks to `path`."""
    stacks: Stacks = Counter()

    def take(signum: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        stacks[tuple(stack)] += 1

    def begin(*_: Any) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def write(*_: Any) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(list(stacks.items())), encoding="utf-8")
        unfinished.rename(path)

    signal.signal(signal.SIGPROF, take)
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, write)
    from twisted.scripts.twistd import run

    sys.argv = list(command)
    run()


def main() -> int:
    """Measure and print."""
    if sys.argv[1:2] == ["--sample"]:
        sample(Path(sys.argv[2]), sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="duration of the sampling")
    parser.add_argument("--hook", default="bench_async", help="the name of a handler in plugins/bench.py")
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="show the first N functions of each stage, too"
    )
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="measure the errklein of this checkout, too")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table into this page of docs/")
    options = parser.parse_args()
    checkouts = {"before": options.before} if options.before else {}
    checkouts["after" if checkouts else "µs"] = HERE.parent
    columns = {}
    for name, checkout in checkouts.items():
        cpu_us, stacks = profile(checkout, options.hook, options.seconds)
        columns[name], functions = stages(stacks, cpu_us)
        print(f"{checkout}: {cpu_us:.0f} µs, {stacks.total()} samples")
        for stage, counted in functions.items() if options.functions else ():
            print(
                f"  {stage}: {', '.join(f'{name} {count}' for name, count in counted.most_common(options.functions))}"
            )
    rows = [["", *columns]]
    rows += [[stage, *(f"{column[stage]:.1f}" for column in columns.values())] for stage in (*STAGES, OTHER)]
    rows.append(["sum", *(f"{sum(column.values()):.1f}" for column in columns.values())])
    print(text(rows))
    if options.page:
        fill(options.page, {"stages": markdown(rows)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
