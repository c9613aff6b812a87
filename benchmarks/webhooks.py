"""Requests per second and latency of webhooks: errklein, errbot, Klein, twisted.web and, if it is installed, aiohttp.

Each server is a separate process on loopback. wrk posts a 50-byte JSON body over 32 persistent connections, to one
server after the other, in several rounds, so that other load on the machine affects all alike. The results are the
medians of the rounds. Both bots run the same plugin file. All servers write an access log to a file, unless --quiet is
given.

    python benchmarks/webhooks.py [--rounds 5] [--seconds 3] [--quiet] [--errbot-python PYTHON] [--json FILE] [--check]

Needs wrk. errbot is installed from the package index, unless --errbot-python names a Python that has it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from bots import HERE, Bot, errbot, errbot_python, errklein, free_port, log_requests, resident, serving

CONNECTIONS = 32
TARGETS = {("errklein plain", "errbot"): 2.5, ("errklein async def", "klein"): 1.05}
"""The targets for the ratio of requests per second between two servers."""


@dataclass(frozen=True)
class Contender:
    """A URL that is measured."""

    name: str
    url: str
    pid: int


def attack(url: str, seconds: float) -> dict[str, Any]:
    """Return wrk's figures for posting to `url`."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(HERE / "post.lua"), url]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    said: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    if said["errors"]:
        raise RuntimeError(f"{said['errors']} errors from {url}:\n{output}")
    return {
        "requests_per_second": said["requests"] / (said["duration"] / 1e6),
        "p50_ms": said["p50"] / 1000,
        "p99_ms": said["p99"] / 1000,
    }


def start(stack: ExitStack, directory: Path, errbot_at: Path | None, quiet: bool) -> list[Contender]:
    """Start every server; they are stopped when `stack` closes."""
    contenders: list[Contender] = []

    def serve(name: str, bot: Bot, port: int, paths: dict[str, str]) -> None:
        pid = stack.enter_context(serving(bot, port, directory / f"{name}.log"))
        contenders.extend(Contender(title, f"http://127.0.0.1:{port}{path}", pid) for title, path in paths.items())

    def ready(name: str, bot: Bot) -> Bot:
        if not quiet:
            log_requests(directory / name)
        return bot

    port = free_port()
    hooks = {"plain": "/bench_plain", "async def": "/bench_async", "raw": "/bench_raw"}
    ours = ready("errklein", errklein(directory / "errklein", "Null", port))
    serve("errklein", ours, port, {f"errklein {kind}": path for kind, path in hooks.items()})
    python = stack.enter_context(errbot_python(errbot_at))
    port = free_port()
    theirs = ready("errbot", errbot(directory / "errbot", python, "Null", port))
    serve("errbot", theirs, port, {"errbot": "/bench_plain"})
    servers = [("klein", "bare_klein.py"), ("twisted.web", "bare_web.py")]
    if find_spec("aiohttp"):
        servers.append(("aiohttp", "bare_aiohttp.py"))
    for name, script in servers:
        port = free_port()
        command = [sys.executable, str(HERE / script), str(port), *(["quiet"] if quiet else [])]
        serve(name, Bot(command, {}), port, {name: "/bench"})
    return contenders


def measure(contenders: list[Contender], rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Return the medians and all figures of each server."""
    figures: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        attack(contender.url, 1)
    for number in range(rounds):
        for contender in contenders:
            figures[contender.name].append(attack(contender.url, seconds))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    results = {}
    for contender in contenders:
        runs = figures[contender.name]
        results[contender.name] = {key: median(run[key] for run in runs) for key in runs[0]}
        results[contender.name] |= {"resident_mb": resident(contender.pid), "rounds": runs}
    return results


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the medians as text, with the ratios of requests per second to errbot, Klein and twisted.web."""
    others = ("errbot", "klein", "twisted.web")
    lines = [
        f"{'':20}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'MB':>7}" + "".join(f"{f'÷ {name}':>15}" for name in others)
    ]
    for name, result in results.items():
        rate = result["requests_per_second"]
        ratios = "".join(f"{rate / results[other]['requests_per_second']:>15.2f}" for other in others)
        times = f"{result['p50_ms']:>9.2f}{result['p99_ms']:>9.2f}{result['resident_mb']:>7.0f}"
        lines.append(f"{name:20}{rate:>9.0f}{times}{ratios}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and with --check return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement")
    parser.add_argument("--quiet", action="store_true", help="no access logs")
    parser.add_argument("--errbot-python", type=Path, help="a Python that has errbot; default: a fresh virtualenv")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk isn't installed")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, ExitStack() as stack:
        contenders = start(stack, Path(directory), options.errbot_python, options.quiet)
        results = measure(contenders, options.rounds, options.seconds)
    print(table(results))
    targets = []
    for (name, other), wanted in TARGETS.items():
        ratio = results[name]["requests_per_second"] / results[other]["requests_per_second"]
        targets.append({"name": name, "other": other, "wanted": wanted, "ratio": ratio, "met": ratio >= wanted})
        print(f"{name} ÷ {other}: {ratio:.2f}, target {wanted}: {'met' if ratio >= wanted else 'MISSED'}")
    if options.json:
        options.json.write_text(json.dumps({"results": results, "targets": targets}, indent=2) + "\n", encoding="utf-8")
    return int(options.check and not all(target["met"] for target in targets))


if __name__ == "__main__":
    sys.exit(main())
