"""Compare errklein's webhooks with those of aiohttp, uvicorn, FastAPI, Klein, twisted.web, errbot, Hubot and webhook.

Each server is a process of its own on loopback, without TLS and with the log level WARNING. wrk posts 50 bytes of JSON over
32 persistent connections to a handler that decodes them and returns OK. It measures one contender after the other in each of
several rounds, so that other load on the machine affects all alike; the results are the medians of the rounds:

- requests per second, and the ratios to aiohttp, Klein and errbot
- CPU time of the server, in user and system mode, per request
- resident memory, after any other cases of the same server
- the median and the 99th percentile of the latency; with all connections busy, it is mostly time in a queue

The contender "httptools" is the upper bound: a protocol that parses and responds, and does nothing else.

    python benchmarks/webhooks.py                                           errklein and what is installed
    python benchmarks/webhooks.py --contenders errklein,aiohttp --rounds 1 --seconds 1      half a minute
    python benchmarks/webhooks.py --matrix --pages                          20 minutes; writes tables and plot into the pages
    python benchmarks/webhooks.py --check                                   errklein's targets; exits with 1 if one is missed

Needs wrk and openssl. A contender that isn't installed is skipped, with a line that says how to install it. One that responds
with an error, or closes a connection, in any measurement has no figures in that case, but the number of errors.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote_plus

import bots
from bots import HERE, await_idle, cpu_seconds, free_port, resident, serving
from web_peers import Certificate, Peer, Setup, new_certificate, peers
from web_report import (
    Results,
    Rows,
    Target,
    dimension_rows,
    environment,
    fill,
    full_rows,
    markdown,
    plot,
    text,
    valid,
    verdict_rows,
    versions,
)

PLOT = HERE.parent / "docs" / "_static" / "performance.svg"
SMALL = '{"repository": {"name": "errklein"}, "count": 123}'
COMMIT = {"id": "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c", "message": "Update README", "added": [], "distinct": True}


@dataclass(frozen=True)
class Case:
    """A combination of what is measured. With additional `routes`, the requests are sent to each of these in turn.

    `length` multiplies the duration. With large bodies, some servers read all connections at the same pace, so that the first
    responses take a second.
    """

    title: str
    kinds: Sequence[str] = ("plain", "async")
    body: int = 50
    connections: int = 32
    routes: int = 0
    https: bool = False
    length: int = 1


BASE = Case("50 B of JSON, 32 connections, 1 route, HTTP")
RAW = Case("raw handlers", kinds=("raw", "raw async"))
FORM = Case("form handlers", kinds=("form", "form async"))
# Its client is as slow as those with more routes: it runs Lua for each request.
ONE_ROUTE = Case("1 route, of a list", routes=1)
MANY_ROUTES = Case("10,000 routes", routes=10_000)
DIMENSIONS = {
    "Size of the body": {
        "50 B": BASE,
        "10 kB": Case("10 kB", body=10_000),
        "1 MB": Case("1 MB", body=1_000_000, length=3),
    },
    "Connections": {
        "32": BASE,
        "1": Case("1 connection", connections=1),
        "1,000": Case("1,000 connections", connections=1000),
    },
    "Routes": {"1": ONE_ROUTE, "100": Case("100 routes", routes=100), "10,000": MANY_ROUTES},
    "TLS": {"HTTP": BASE, "HTTPS": Case("HTTPS", https=True)},
}
MATRIX = list(dict.fromkeys([BASE, RAW, FORM, *(case for cases in DIMENSIONS.values() for case in cases.values())]))


def _base(name: str, title: str, other: str, bound: float) -> Target:
    return Target(name, (BASE.title, title), (BASE.title, other), bound)


TARGETS = [
    _base("async def / aiohttp", "errklein async", "aiohttp", 1.0),
    _base("plain / aiohttp", "errklein plain", "aiohttp", 0.8),
    Target("raw async def / aiohttp", (RAW.title, "errklein raw async"), (BASE.title, "aiohttp"), 0.8),
    _base("async def / Klein", "errklein async", "Klein", 4),
    _base("plain / errbot", "errklein plain", "errbot", 12),
    Target("p99 / aiohttp's", (BASE.title, "errklein async"), (BASE.title, "aiohttp"), 1.2, "p99_ms", at_most=True),
    Target("10,000 routes / 1 route", (MANY_ROUTES.title, "errklein async"), (ONE_ROUTE.title, "errklein async"), 0.95),
]


@dataclass(frozen=True)
class Contender:
    """A URL that is measured in a case, with the arguments for post.lua."""

    case: Case
    peer: str
    title: str
    url: str
    pid: int
    arguments: Sequence[str]


def body(form: bool, size: int) -> bytes:
    """Return JSON of `size` bytes like that of a push to a repository, or a form with it in the field "payload"."""
    text = SMALL
    if size > len(SMALL):
        count = size // (len(json.dumps(COMMIT)) + 2) - 1
        payload = {"commits": [COMMIT] * count, "padding": ""}
        payload["padding"] = "x" * (size - len(json.dumps(payload)))
        text = json.dumps(payload)
    assert len(text) == size
    return f"payload={quote_plus(text)}".encode() if form else text.encode()


def kinds(case: Case, peer: Peer) -> Iterator[str]:
    """Yield the kinds of handlers that a peer has in a case. Additional routes have only one kind."""
    if case.routes:
        yield "async" if "async" in peer.titles else "plain"
    elif peer.https or not case.https:
        yield from (kind for kind in case.kinds if kind in peer.titles)


def start(
    stack: ExitStack, directory: Path, cases: Sequence[tuple[Case, Peer]], access_log: bool
) -> Iterator[Contender]:
    """Start every server and yield what is measured on it. The servers are stopped when `stack` closes."""
    certificate = new_certificate(directory)
    running: dict[tuple[str, int, bool], tuple[int, int]] = {}
    for case, peer in cases:
        for kind in kinds(case, peer):
            key = (peer.name, case.routes, case.https)
            if key not in running:
                running[key] = _serve(stack, directory / f"server-{len(running)}", case, peer, certificate, access_log)
            port, pid = running[key]
            path = "/routes/0" if case.routes else f"/bench_{kind.replace(' ', '_')}"
            form = kind.startswith("form")
            file = directory / f"body-{form}-{case.body}"
            file.write_bytes(body(form, case.body))
            arguments = [str(file), "application/x-www-form-urlencoded" if form else "application/json"]
            arguments += [str(case.routes)] * bool(case.routes)
            url = f"http{'s' * case.https}://127.0.0.1:{port}{path}"
            yield Contender(case, peer.name, peer.titles[kind], url, pid, tuple(arguments))


def _serve(
    stack: ExitStack, directory: Path, case: Case, peer: Peer, certificate: Certificate, access_log: bool
) -> tuple[int, int]:
    directory.mkdir()
    port = free_port()
    setup = Setup(directory, port, case.routes, certificate if case.https else None, access_log)
    return port, stack.enter_context(serving(peer.command(setup), port, directory / "log"))


def responds(contender: Contender) -> bool:
    """Post once; print the response and return False if it isn't OK."""
    scheme, _, rest = contender.url.partition("://")
    host, _, path = rest.partition("/")
    client = http.client.HTTPConnection(host, timeout=60)
    if scheme == "https":
        context = ssl._create_unverified_context()
        client = http.client.HTTPSConnection(host, timeout=60, context=context)
    client.request(
        "POST", f"/{path}", Path(contender.arguments[0]).read_bytes(), {"Content-Type": contender.arguments[1]}
    )
    response = client.getresponse()
    received = response.read()
    client.close()
    good = response.status == 200 and received.strip() == b"OK"
    if not good:
        print(f"{contender.title} at {contender.url} is skipped: {response.status} {received[:200]!r}", file=sys.stderr)
    return good


def attack(contender: Contender, seconds: int) -> dict[str, Any]:
    """Return the figures of one measurement. No response at all counts as an error."""
    seconds *= contender.case.length
    command = ["wrk", "-t1", f"-c{contender.case.connections}", f"-d{seconds}s", "--timeout", "60s"]
    script = ["-s", str(HERE / "post.lua"), contender.url, "--", *contender.arguments]
    before = cpu_seconds(contender.pid)
    output = subprocess.run(
        [*command, *script], check=True, capture_output=True, text=True, timeout=seconds + 120
    ).stdout
    used = cpu_seconds(contender.pid) - before
    wrk: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    requests = wrk["requests"]
    return {
        "requests_per_second": requests / (wrk["duration"] / 1e6),
        "cpu_us": used / max(1, requests) * 1e6,
        "p50_ms": wrk["p50"] / 1000,
        "p99_ms": wrk["p99"] / 1000,
        "resident_mb": resident(contender.pid),
        "errors": wrk["errors"] or int(not requests),
    }


def measure(contenders: Sequence[Contender], rounds: int, seconds: int) -> Results:
    """Return the medians and all figures, by case and contender."""
    runs: dict[Contender, list[dict[str, Any]]] = {contender: [] for contender in contenders}
    for contender in contenders:
        attack(contender, min(seconds, 1))
    for number in range(rounds):
        for contender in contenders:
            runs[contender].append(attack(contender, seconds))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for contender, figures in runs.items():
        medians = {key: median(run[key] for run in figures) for key in figures[0]}
        medians |= {"peer": contender.peer, "rounds": figures}
        medians["errors"] = sum(run["errors"] for run in figures)
        results.setdefault(contender.case.title, {})[contender.title] = medians
    return results


def arguments() -> Any:
    """Return the command line's arguments."""
    options = bots.arguments(
        __doc__, rounds=5, seconds=0, contenders="", matrix=False, access_log=False, errbot_python=Path, hubot=Path,
        before=Path, check=False, json=Path, pages=False,
    )  # fmt: skip
    options.seconds = options.seconds or (1 if options.matrix else 2)
    for program in ("openssl", "wrk"):
        if shutil.which(program) is None and (options.rounds or program == "openssl"):
            sys.exit(f"{program} isn't installed")
    options.peers = list(peers(options.errbot_python, options.hubot, options.before))
    names = [peer.name for peer in options.peers]
    chosen = options.contenders.split(",") if options.contenders else names
    if unknown := set(chosen) - set(names):
        sys.exit(f"unknown contenders: {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    options.peers = [peer for peer in options.peers if peer.name in chosen]
    return options


def installed(chosen: Sequence[Peer]) -> Iterator[Peer]:
    """Yield the peers that are installed, and print how to install each other."""
    for peer in chosen:
        if peer.missing:
            print(f"{peer.name} is skipped; install it with {peer.missing}")
        else:
            yield peer


def tables(results: Results) -> Iterator[tuple[str, Rows]]:
    """Yield the tables with their titles."""
    for case in (BASE, RAW, FORM):
        if case.title in results:
            yield case.title, full_rows(results, case.title, BASE.title)
    for dimension, cases in DIMENSIONS.items():
        columns = {heading: case.title for heading, case in cases.items() if case.title in results}
        if len(columns) > 1:
            yield dimension, dimension_rows(results, columns)


def compare(options: Any) -> dict[str, Any]:
    """Start the servers and return all figures; none if `rounds` is 0."""
    chosen = list(installed(options.peers))
    cases = [(case, peer) for case in (MATRIX if options.matrix else [BASE]) for peer in chosen]
    if options.check and not options.matrix:
        cases += [(case, peer) for case in (RAW, ONE_ROUTE, MANY_ROUTES) for peer in chosen if peer.name == "errklein"]
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"other programs use the machine; load average: {load:.1f}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, ExitStack() as stack:
        contenders = list(start(stack, Path(directory), cases, options.access_log))
        # errbot opens its port before it activates plugins, and a request at that time disables them.
        await_idle({contender.pid for contender in contenders})
        contenders = [contender for contender in contenders if responds(contender)]
        if not options.rounds:
            print(f"{len(contenders)} contenders respond")
            return {}
        results = measure(contenders, options.rounds, options.seconds)
    facts = {**environment(), "load": load, "rounds": options.rounds, "seconds": options.seconds}
    return {"environment": facts, "results": results, "targets": [target.verdict(results) for target in TARGETS]}


def main() -> int:
    """Measure, print, and with --check return 1 if a target is missed."""
    options = arguments()
    figures = compare(options)
    if not figures:
        return 0
    shown = list(tables(figures["results"]))
    if options.check:
        shown.append(("Targets", verdict_rows(figures["targets"])))
    print("\n\n".join(f"{title}\n{text(rows)}" for title, rows in shown))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    base = valid(figures["results"][BASE.title])
    sections = {
        "targets": markdown(verdict_rows(figures["targets"])),
        "tables": "\n".join(f"### {title}\n\n{markdown(rows)}\n" for title, rows in shown if title != "Targets"),
        "versions": versions(figures["environment"]),
    }
    if options.pages:
        fill(sections)
        rates = {title: each["requests_per_second"] for title, each in base.items()}
        PLOT.write_text(plot(f"Requests per second: {BASE.title}", rates), encoding="utf-8")
    return int(options.check and not all(target["met"] for target in figures["targets"]))


if __name__ == "__main__":
    sys.exit(main())
