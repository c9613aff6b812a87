"""Runs public plugins on errbot and on errklein, and compares whether they load and what they reply.

The messages and requests for each plugin are in compatibility.toml. The plugins' files are below a directory given on the
command line; none of them are part of errklein. The output is two tables in Markdown, for docs/reference/public-plugins.md,
and the replies that differ.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import types
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

HERE = Path(__file__).resolve().parent
FIRST_ANSWER = 3.0
"""The limit in seconds for the first reply."""
QUIET = 0.5
"""Seconds without a message after which the replies are complete, unless the file has another `quiet` for the
plugin.
"""
LIMIT = 180.0
"""The limit in seconds for one plugin on one bot."""
ENOUGH = 2
"""The number of equal replies of the plugin itself from which it counts as working the same."""


@dataclass(frozen=True)
class Asked:
    """The entry of a plugin in the file."""

    title: str
    origin: str
    version: str
    directory: str
    plugins: Sequence[str]
    say: Sequence[str] = ()
    post: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    stubs: Mapping[str, str] = field(default_factory=dict)
    """Sources of modules that replace software that needs the network; both bots get the same."""
    mask: str = ""
    """A regular expression for values that each bot generates; `{masked}` in a URL is replaced by the found value."""
    tests: Sequence[str] = ()
    pytest_options: Sequence[str] = ()
    note: str = ""
    quiet: float = QUIET


@dataclass(frozen=True)
class Seen:
    """The behaviour of a plugin on one bot."""

    active: Mapping[str, bool] = field(default_factory=dict)
    said: Sequence[tuple[str, Sequence[str]]] = ()
    passed: int | None = None
    failed: int | None = None
    error: str = ""


# In the bot's own process ------------------------------------------------------------------------------------------


def try_plugin(asked: Asked, files: Path, on_errklein: bool) -> Seen:
    """Start a bot with the plugin, send the messages and requests, and return the replies."""
    if on_errklein:
        from errklein import compat

        compat.install(force=True)
    from errbot.backends.test import TestBot

    for name, source in asked.stubs.items():
        module = types.ModuleType(name)
        sys.modules[name] = module
        exec(compile(source, f"<stub of {name}>", "exec"), module.__dict__)
    bot = TestBot(extra_plugin_dir=str(files), extra_config=dict(asked.settings), loglevel=50)
    bot.start()
    try:
        _all_said(bot, asked.quiet, asked.quiet)
        manager = bot.bot.plugin_manager
        objects = {name: manager.get_plugin_obj_by_name(name) for name in asked.plugins}
        active = {name: plugin is not None and bool(plugin.is_activated) for name, plugin in objects.items()}
        said = [(text, _exchange(bot, text, asked.quiet)) for text in asked.say]
        if asked.post:
            port = _free_port()
            bot.exec_command(
                f"!plugin config Webserver {{'HOST': '127.0.0.1', 'PORT': {port}, 'SSL': None}}", timeout=20
            )
            _all_said(bot, asked.quiet, asked.quiet)
            _wait_for(port)
            said += [
                (_named(request), _posted(bot, port, _filled(request, asked, said), asked.quiet))
                for request in asked.post
            ]
        return Seen(active=active, said=[(text, [_masked(asked, line) for line in lines]) for text, lines in said])
    finally:
        bot.stop()


def _exchange(bot: Any, text: str, quiet: float) -> list[str]:
    # Random choices of plugins are the same on both bots.
    random.seed(20)
    bot.push_message(text)
    return _all_said(bot, FIRST_ANSWER, quiet)


def _all_said(bot: Any, first: float, quiet: float) -> list[str]:
    messages: list[str] = []
    while True:
        try:
            messages.append(bot.pop_message(timeout=quiet if messages else first))
        except Empty:
            return messages


def _posted(bot: Any, port: int, request: Mapping[str, Any], quiet: float) -> list[str]:
    body, kind = b"", ""
    if "json" in request:
        body, kind = json.dumps(request["json"]).encode(), "application/json"
    elif "form" in request:
        body, kind = urllib.parse.urlencode(request["form"]).encode(), "application/x-www-form-urlencoded"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(request.get("method", "POST"), request["url"], body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        text = response.read().decode()
        # The text of error pages differs between the bots.
        answer = f"{response.status} {text}" if response.status < 400 else str(response.status)
    finally:
        connection.close()
    return [answer, *_all_said(bot, FIRST_ANSWER, quiet)]


def _filled(request: Mapping[str, Any], asked: Asked, said: Sequence[tuple[str, Sequence[str]]]) -> Mapping[str, Any]:
    found = re.search(asked.mask, "\n".join(line for _, lines in said for line in lines)) if asked.mask else None
    return {**request, "url": request["url"].format(masked=found.group())} if found else request


def _masked(asked: Asked, line: str) -> str:
    return re.sub(asked.mask, "...", line) if asked.mask else line


def _named(request: Mapping[str, Any]) -> str:
    return f"{request.get('method', 'POST')} {request['url']}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


# Around it ---------------------------------------------------------------------------------------------------------


def seen_by(python: str, asked: Asked, files: Path, on_errklein: bool) -> Seen:
    """Return the behaviour of a copy of the plugin on a bot that `python` runs in its own process."""
    with tempfile.TemporaryDirectory(prefix="compatibility-") as scratch:
        copy = Path(scratch) / "plugin"
        shutil.copytree(files, copy)
        command = [python, str(HERE / "compatibility.py"), "--worker", "errklein" if on_errklein else "errbot"]
        finished = _run([*command, str(copy)], scratch, json.dumps(vars(asked)))
        result = Path(scratch) / "result.json"
        if not result.exists():
            lines = finished.stderr.strip().splitlines()
            return Seen(error=lines[-1] if lines else f"exit {finished.returncode}")
        found = json.loads(result.read_text(encoding="utf-8"))
        seen = Seen(found["active"], [(text, answers) for text, answers in found["said"]])
    if not asked.tests:
        return seen
    with tempfile.TemporaryDirectory(prefix="compatibility-") as scratch:
        copy = Path(scratch) / Path(asked.directory).name
        shutil.copytree(files, copy)
        arguments = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *asked.pytest_options, *asked.tests]
        if on_errklein:
            arguments.append("--errklein")
        finished = _run(arguments, str(copy), "")
        counts = {kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|error)", finished.stdout)}
        return Seen(seen.active, seen.said, counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0))


def _run(command: Sequence[str], directory: str, text: str) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command,
            cwd=directory,
            input=text,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=surroundings,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not finished after {LIMIT:.0f} s")


def row(asked: Asked, errbot: Seen, errklein: Seen) -> str:
    """Return the plugin's row of the table of results; results on both bots are separated by a slash, errbot's first."""
    asked_for = len(asked.say) + len(asked.post)
    both = _active(errbot) == _active(errklein) == "yes"
    cells = [
        asked.title,
        f"{_active(errbot)} / {_active(errklein)}",
        f"{same_answers(errbot, errklein)} of {asked_for}" if both else "-",
        str(own_answers(errbot, errklein)) if both else "-",
        f"{errbot.passed} / {errklein.passed}" if asked.tests else "none",
        asked.note,
    ]
    return "| " + " | ".join(cells) + " |"


def source_row(asked: Asked) -> str:
    """Return the plugin's row of the table of sources."""
    return f"| {asked.title} | {asked.origin} | {asked.version} |"


def same_answers(errbot: Seen, errklein: Seen) -> int:
    """Return the number of messages that got the same replies, or none, from both bots."""
    return sum(_same(left, right) for left, right in zip(errbot.said, errklein.said, strict=False))


def own_answers(errbot: Seen, errklein: Seen) -> int:
    """Return the number of messages that got the same replies from the plugin itself, not from a command of the bot."""
    pairs = zip(errbot.said, errklein.said, strict=False)
    return sum(_same(left, right) and bool(left[1]) and not OF_THE_BOT.match(left[0]) for left, right in pairs)


# Commands of the bot itself, which get a reply with or without a plugin.
OF_THE_BOT = re.compile(r"!(help|plugin|flows|room)\b")


def _same(left: tuple[str, Sequence[str]], right: tuple[str, Sequence[str]]) -> bool:
    # The replies of several handlers to one message have no defined order.
    return sorted(left[1]) == sorted(right[1])


def _active(seen: Seen) -> str:
    if seen.error:
        return "failed"
    return "yes" if seen.active and all(seen.active.values()) else "no"


def differences(errbot: Seen, errklein: Seen) -> list[str]:
    """Return lines about the differences between the bots."""
    lines = [f"{name}: {seen.error}" for name, seen in (("errbot", errbot), ("errklein", errklein)) if seen.error]
    for left, right in zip(errbot.said, errklein.said, strict=False):
        if not _same(left, right):
            lines += [f"{left[0]!r}", f"    errbot:   {left[1]!r}", f"    errklein: {right[1]!r}"]
    if (errbot.passed, errbot.failed) != (errklein.passed, errklein.failed):
        lines.append(f"tests: {errbot.passed} passed on errbot, {errklein.passed} on errklein")
    return lines


def asked_in(file: Path) -> list[Asked]:
    """Return the entries of the file."""
    return [Asked(**entry) for entry in tomllib.loads(file.read_text(encoding="utf-8"))["plugin"]]


# If a plugin isn't active on both bots, its replies aren't compared, since two bots without it reply the same, too.
HEAD = """\
| plugin | active | same replies | own | tests | note |
|---|---|---|---|---|---|"""

SOURCES_HEAD = """\
| plugin | source | version |
|---|---|---|"""


def main() -> None:
    """Print the tables, and below them the replies that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="the directory with the plugins' files")
    parser.add_argument("--worker", choices=("errbot", "errklein"), help=argparse.SUPPRESS)
    parser.add_argument("--errbot", default=sys.executable, help="a Python with errbot and pytest")
    parser.add_argument("--errklein", default=sys.executable, help="a Python with errklein and pytest")
    parser.add_argument("--only", default="", help="only plugins with this in their title")
    options = parser.parse_args()
    if options.worker:
        asked = Asked(**json.loads(sys.stdin.read()))
        seen = try_plugin(asked, options.directory, options.worker == "errklein")
        Path("result.json").write_text(json.dumps(vars(seen)), encoding="utf-8")
        # Threads of plugins may still run when the bot has stopped.
        sys.stdout.flush()
        os._exit(0)
    _compare(options, print)


def _compare(options: argparse.Namespace, tell: Callable[[str], None]) -> None:
    tell(HEAD)
    below: list[str] = []
    sources: list[str] = []
    entries = active = alike = webhooks = 0
    for asked in asked_in(HERE / "compatibility.toml"):
        if options.only not in asked.title:
            continue
        files = options.directory / asked.directory
        if not files.is_dir():
            below.append(f"{asked.title}: no files in {files}")
            continue
        errbot = seen_by(options.errbot, asked, files, on_errklein=False)
        errklein = seen_by(options.errklein, asked, files, on_errklein=True)
        tell(row(asked, errbot, errklein))
        sources.append(source_row(asked))
        below += [f"{asked.title}: {line}" for line in differences(errbot, errklein)]
        entries += 1
        if _active(errbot) == _active(errklein) == "yes":
            active += 1
            if own_answers(errbot, errklein) >= ENOUGH:
                alike += 1
                webhooks += bool(asked.post)
    tell("")
    tell(
        f"{entries} entries; active on both: {active}; with {ENOUGH} or more replies of their own that are the same: "
        f"{alike}, {webhooks} of them with webhooks."
    )
    for line in ("", SOURCES_HEAD, *sources, ""):
        tell(line)
    for line in below:
        tell(line)


if __name__ == "__main__":
    main()
