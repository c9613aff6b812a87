"""Runs public plugins on errbot and on errklein, and compares whether they load and what they reply.

    python benchmarks/compatibility.py DIRECTORY --errbot path/to/python/with/errbot [--only err-poll]

The messages and requests for each plugin are in compatibility.toml. The plugins' files are below the directory; none of them are part
of errklein. The output is two tables in Markdown, for docs/reference/public-plugins.md, and the replies that differ.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import types
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty
from typing import Any

HERE = Path(__file__).resolve().parent
FIRST_REPLY, QUIET, LIMIT = 3.0, 0.5, 180.0
"""The seconds for the first reply, after which the replies are complete (or the plugin's `quiet`), and for a plugin on a bot."""
ENOUGH = 2
"""The number of equal replies of the plugin itself from which it counts as working the same."""
OF_THE_BOT = re.compile(r"!(help|plugin|flows|room)\b")
"""Commands of the bot itself, which get a reply with or without a plugin."""
Replies = Sequence[tuple[str, Sequence[str]]]
Plugin = Mapping[str, Any]
"""An entry of compatibility.toml. `stubs` are modules that replace software which needs the network; `mask` is a pattern of values
that each bot generates, and `{masked}` in a URL is replaced by the found one.
"""
Result = Mapping[str, Any]
"""`active`, `said`, and of the plugin's tests `passed` and `failed`; or the `error`."""


def try_plugin(asked: Plugin, files: Path, on_errklein: bool) -> Result:
    """Start a bot with the plugin in this process, send the messages and requests, and return the replies."""
    if on_errklein:
        from errklein import compat

        compat.install(force=True)
    from errbot.backends.test import TestBot

    quiet, mask = asked.get("quiet", QUIET), asked.get("mask", "")
    for name, source in asked.get("stubs", {}).items():
        module = sys.modules[name] = types.ModuleType(name)
        exec(compile(source, f"<stub of {name}>", "exec"), module.__dict__)
    bot = TestBot(extra_plugin_dir=str(files), extra_config=dict(asked.get("settings", {})), loglevel=50)
    bot.start()

    def replies(first: float = FIRST_REPLY) -> list[str]:
        found: list[str] = []
        while True:
            try:
                found.append(bot.pop_message(timeout=quiet if found else first))
            except Empty:
                return found

    try:
        replies(quiet)
        manager = bot.bot.plugin_manager
        objects = {name: manager.get_plugin_obj_by_name(name) for name in asked["plugins"]}
        said: list[tuple[str, list[str]]] = []
        for text in asked.get("say", ()):
            # Random choices of plugins are the same on both bots.
            random.seed(20)
            bot.push_message(text)
            said.append((text, replies()))
        if asked.get("post"):
            sys.path.insert(0, str(HERE))
            from bots import free_port

            port = free_port()
            setting = {"HOST": "127.0.0.1", "PORT": port, "SSL": None}
            bot.exec_command(f"!plugin config Webserver {setting}", timeout=20)
            replies(quiet)
            for request in asked["post"]:
                found = re.search(mask, "\n".join(line for _, lines in said for line in lines)) if mask else None
                url = request["url"].format(masked=found.group()) if found else request["url"]
                said.append(
                    (f"{request.get('method', 'POST')} {request['url']}", [post(port, url, request), *replies()])
                )
        return {
            "active": {name: plugin is not None and bool(plugin.is_activated) for name, plugin in objects.items()},
            "said": [(text, [re.sub(mask, "...", line) if mask else line for line in lines]) for text, lines in said],
        }
    finally:
        bot.stop()


def post(port: int, url: str, request: Mapping[str, Any]) -> str:
    """Return the status of the response, and the text if it isn't an error page, which differs between the bots."""
    body, kind = b"", ""
    if "json" in request:
        body, kind = json.dumps(request["json"]).encode(), "application/json"
    elif "form" in request:
        body, kind = urllib.parse.urlencode(request["form"]).encode(), "application/x-www-form-urlencoded"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        # The web server may start a moment later.
        for attempt in range(400):
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                if attempt == 399:
                    raise
                time.sleep(0.05)
        connection.request(request.get("method", "POST"), url, body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        text = response.read().decode()
        return f"{response.status} {text}" if response.status < 400 else str(response.status)
    finally:
        connection.close()


def result_of(python: str, asked: Plugin, files: Path, on_errklein: bool) -> Result:
    """Return the behaviour of a copy of the plugin on a bot that `python` runs in its own process."""

    def run(command: Sequence[str], directory: Path, text: str = "") -> str:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        shared: dict[str, Any] = {"capture_output": True, "text": True, "timeout": LIMIT, "env": environment}
        try:
            done = subprocess.run([python, *command], cwd=directory, input=text, check=False, **shared)
        except subprocess.TimeoutExpired:
            return f"not finished after {LIMIT:.0f} s"
        return (done.stdout + done.stderr).strip() or f"exit {done.returncode}"

    with tempfile.TemporaryDirectory(prefix="compatibility-") as name:
        scratch, copy = Path(name), Path(name, Path(asked["directory"]).name)
        shutil.copytree(files, copy)
        worker = [__file__, "--worker", "errklein" if on_errklein else "errbot", str(copy)]
        output = run(worker, scratch, json.dumps(asked))
        file = scratch / "result.json"
        if not file.exists():
            return {"error": output.splitlines()[-1]}
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if asked.get("tests"):
            shutil.rmtree(copy)
            shutil.copytree(files, copy)
            options = [*asked.get("pytest_options", ()), *asked["tests"], *["--errklein"] * on_errklein]
            output = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *options], copy)
            counts = {kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|error)", output)}
            found |= {"passed": counts.get("passed", 0), "failed": counts.get("failed", 0) + counts.get("error", 0)}
        return found


def activity(result: Result) -> str:
    """Return whether all plugins of an entry are active."""
    if "error" in result:
        return "failed"
    return "yes" if result["active"] and all(result["active"].values()) else "no"


def same(errbot: Result, errklein: Result) -> list[str]:
    """Return the messages that got the same replies. Those of several handlers to one message have no defined order."""
    pairs = zip(errbot.get("said", ()), errklein.get("said", ()), strict=False)
    return [left[0] for left, right in pairs if sorted(left[1]) == sorted(right[1])]


def own(errbot: Result, errklein: Result) -> int:
    """Return the number of messages that got the same replies from the plugin itself, not from a command of the bot."""
    answered = {text for text, lines in errbot.get("said", ()) if lines}
    return sum(text in answered and not OF_THE_BOT.match(text) for text in same(errbot, errklein))


def differences(errbot: Result, errklein: Result) -> list[str]:
    """Return lines about the differences between the bots."""
    lines = [
        f"{name}: {each['error']}" for name, each in (("errbot", errbot), ("errklein", errklein)) if "error" in each
    ]
    for left, right in zip(errbot.get("said", ()), errklein.get("said", ()), strict=False):
        if sorted(left[1]) != sorted(right[1]):
            lines += [f"{left[0]!r}", f"    errbot:   {left[1]!r}", f"    errklein: {right[1]!r}"]
    if any(errbot.get(name) != errklein.get(name) for name in ("passed", "failed")):
        lines.append(f"tests: {errbot.get('passed')} passed on errbot, {errklein.get('passed')} on errklein")
    return lines


def compare(options: argparse.Namespace) -> None:
    """Print the tables, and below them the replies that differ. In a cell, errbot's result is first."""
    print("| plugin | active | same replies | own | tests | note |\n|---|---|---|---|---|---|")
    below: list[str] = []
    sources: list[str] = []
    entries = active = alike = webhooks = 0
    for asked in tomllib.loads((HERE / "compatibility.toml").read_text(encoding="utf-8"))["plugin"]:
        title, files = asked["title"], options.directory / asked["directory"]
        if options.only not in title:
            continue
        if not files.is_dir():
            below.append(f"{title}: no files in {files}")
            continue
        both = [
            result_of(python, asked, files, bool(place))
            for place, python in enumerate((options.errbot, options.errklein))
        ]
        # Without the plugin, two bots reply the same, too.
        counts = activity(both[0]) == activity(both[1]) == "yes"
        total = len(asked.get("say", ())) + len(asked.get("post", ()))
        replies = [f"{len(same(*both))} of {total}", str(own(*both))] if counts else ["-", "-"]
        tests = " / ".join(str(each.get("passed")) for each in both) if asked.get("tests") else "none"
        row = [title, " / ".join(map(activity, both)), *replies, tests, asked.get("note", "")]
        print(f"| {' | '.join(row)} |", flush=True)
        sources.append(f"| {title} | {asked['origin']} | {asked['version']} |")
        below += [f"{title}: {line}" for line in differences(*both)]
        entries, active = entries + 1, active + counts
        if counts and own(*both) >= ENOUGH:
            alike, webhooks = alike + 1, webhooks + bool(asked.get("post"))
    print(
        f"\n{entries} entries; active on both: {active}; with {ENOUGH} or more replies of their own that are the same: {alike}, "
        f"{webhooks} of them with webhooks.\n"
    )
    print("\n".join(["| plugin | source | version |\n|---|---|---|", *sources, "", *below]))


def main() -> None:
    """Compare, or try one plugin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="the directory with the plugins' files")
    parser.add_argument("--worker", choices=("errbot", "errklein"), help=argparse.SUPPRESS)
    parser.add_argument("--errbot", default=sys.executable, help="a Python with errbot and pytest")
    parser.add_argument("--errklein", default=sys.executable, help="a Python with errklein and pytest")
    parser.add_argument("--only", default="", help="only plugins with this in their title")
    options = parser.parse_args()
    if not options.worker:
        compare(options)
        return
    result = try_plugin(json.loads(sys.stdin.read()), options.directory, options.worker == "errklein")
    Path("result.json").write_text(json.dumps(result), encoding="utf-8")
    # Threads of plugins may still run when the bot has stopped.
    os._exit(0)


if __name__ == "__main__":
    main()
