"""Commands per second, start time, memory, and activation of many plugins, on errklein and errbot.

Both bots run the same plugin file, each in its own process:

- commands per second: a number of commands at once, from the first command to the last reply, in turns. Both bots use
  their Test backend, since errbot's Text backend waits half a second after each line. The rate of the Text backends
  through a pipe is measured for information.
- many commands: commands per second of errklein's `async def` commands with 200 additional plugins and 2,000 additional
  commands, in turns with a bot without them, and the time from the start of the process until it listens.
- start: the time from the start of the process, with the Text backend and a web server, to the reply to a line that was
  in the pipe from the beginning, in turns.
- memory: resident memory after the first reply, and after all commands through the pipe.
- activation: the start with 300 plugins of 3 routes each. For errklein also `!plugin activate` for each of the 300
  while it serves, with the longest delay of another request meanwhile; errbot can't add routes after the first request.

    python benchmarks/commands.py [--rounds 5] [--commands 3000] [--errbot-python PYTHON] [--json FILE] [--check]

errbot is installed from the package index, unless --errbot-python names a Python that has it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bots import (
    ENVIRONMENT,
    HERE,
    PLUGINS,
    Bot,
    Conversation,
    errbot,
    errbot_python,
    errklein,
    free_port,
    resident,
    write_config,
)

MANY = 300
PLUG = "[Core]\nName = Many{number}\nModule = many{number}\n"
MODULE = """from errbot import BotPlugin, webhook


class Many{number}(BotPlugin):
    @webhook("/many{number}/first")
    def first(self, payload):
        return "1"

    @webhook("/many{number}/second/<name>")
    def second(self, payload, name):
        return name

    @webhook("/many{number}/third", raw=True)
    def third(self, request):
        return "3"
"""
COMMANDS_MODULE = "from errbot import BotPlugin, botcmd\n\n\nclass Talk{number}(BotPlugin):\n" + "".join(
    f"    @botcmd\n    def talk{{number}}_about_{topic}(self, msg, args):\n        return args\n\n"
    for topic in range(10)
)
TALKERS = 200
Launch = Callable[[Path, Path, int | None], Bot]
"""Creates a bot from an empty directory, the directory of its plugins, and the port of its web server."""


@contextmanager
def talking(launch: Launch, plugins: Path = PLUGINS, port: int | None = None) -> Iterator[tuple[Conversation, float]]:
    """Run a bot on a pipe; yield it and the seconds from its start to its first reply."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bot = launch(Path(directory, "bot"), plugins, port)
        conversation = Conversation(bot, Path(directory, "log"))
        try:
            conversation.exchange(["!bench say first"], "said first")
            yield conversation, time.monotonic() - conversation.started
        finally:
            conversation.close()


def start_time(launch: Launch, plugins: Path = PLUGINS) -> float:
    """Return the seconds from the start of the process to its first reply."""
    with talking(launch, plugins, free_port()) as (_, seconds):
        return seconds


@contextmanager
def in_memory(python: Path, kind: str, plugins: Path = PLUGINS) -> Iterator[Callable[[str, int], float]]:
    """Run a bot with its Test backend; yield a function that repeats a command and returns the replies per second."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Path(directory, "log").open("wb") as log:
        config = write_config(Path(directory, "bot"), "Test", plugins)
        process = subprocess.Popen(
            [python, HERE / "in_memory.py", kind, config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**ENVIRONMENT, "PYTHONPATH": str(HERE.parent) if kind == "errklein" else ""},
            cwd=directory,
        )
        assert process.stdin is not None and process.stdout is not None
        output = process.stdout

        def answer() -> str:
            for line in output:
                if line.startswith(b"answer "):
                    return line.decode().split()[1]
            raise RuntimeError(f"{kind} ended:\n{Path(log.name).read_text(encoding='utf-8', errors='replace')[-2000:]}")

        def ask(command: str, number: int) -> float:
            assert process.stdin is not None
            process.stdin.write(f"{command} {number}\n".encode())
            process.stdin.flush()
            return number / float(answer())

        try:
            answer()
            yield ask
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            output.close()


def measure_commands(errbot_at: Path, rounds: int, number: int) -> dict[str, dict[str, Any]]:
    """Return the commands per second in memory: plain commands of both bots, and errklein's `async def` ones."""
    with in_memory(Path(sys.executable), "errklein") as ours, in_memory(errbot_at, "errbot") as theirs:
        contenders = {
            "errklein plain": (ours, "bench say"),
            "errklein async def": (ours, "bench say async"),
            "errbot": (theirs, "bench say"),
        }
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for ask, command in contenders.values():
            ask(command, 500)
        for _ in range(rounds):
            for name, (ask, command) in contenders.items():
                rates[name].append(ask(command, number))
    return {name: {"commands_per_second": median(rates[name]), "rounds": rates[name]} for name in contenders}


def measure_many(rounds: int, number: int) -> dict[str, float]:
    """Return errklein's rate with 2,000 more commands, as a ratio to its rate without, and the time to start with them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        plugins = Path(directory, "plugins")
        plugins.mkdir()
        for path in PLUGINS.glob("bench.*"):
            (plugins / path.name).write_bytes(path.read_bytes())
        for talker in range(TALKERS):
            plug = f"[Core]\nName = Talk{talker}\nModule = talk{talker}\n"
            (plugins / f"talk{talker}.plug").write_text(plug, encoding="utf-8")
            (plugins / f"talk{talker}.py").write_text(COMMANDS_MODULE.format(number=talker), encoding="utf-8")
        began = time.monotonic()
        with in_memory(Path(sys.executable), "errklein", plugins) as many:
            started = time.monotonic() - began
            with in_memory(Path(sys.executable), "errklein") as few:
                rates: dict[str, list[float]] = {"many": [], "few": []}
                for _ in range(rounds + 1):
                    rates["many"].append(many("bench say async", number))
                    rates["few"].append(few("bench say async", number))
    # The first round is a warm-up.
    ratios = [many / few for many, few in zip(rates["many"][1:], rates["few"][1:], strict=True)]
    return {"ratio": median(ratios), "start_s": started}


def measure_pipes(launches: dict[str, Launch], number: int) -> dict[str, dict[str, float]]:
    """Return the commands per second through a pipe, and the memory in MB before and after."""
    results = {}
    for name, launch in launches.items():
        # errbot waits half a second after each line, so it gets few lines.
        lines = number if name == "errklein" else 10
        with talking(launch, port=free_port()) as (bot, _):
            fresh = resident(bot.pid)
            seconds = bot.exchange([f"!bench say {i}" for i in range(lines)], "said ")
            results[name] = {
                "commands_per_second": lines / seconds,
                "fresh_mb": fresh,
                "resident_mb": resident(bot.pid),
            }
    return results


def write_plugins(directory: Path) -> Path:
    """Write the benchmark's plugin and 300 others with three routes each."""
    directory.mkdir()
    for path in PLUGINS.glob("bench.*"):
        (directory / path.name).write_bytes(path.read_bytes())
    for number in range(MANY):
        folder = directory / f"many{number}"
        folder.mkdir()
        (folder / f"many{number}.plug").write_text(PLUG.format(number=number), encoding="utf-8")
        (folder / f"many{number}.py").write_text(MODULE.format(number=number), encoding="utf-8")
    return directory


def measure_activation(launch: Launch, plugins: Path) -> dict[str, float]:
    """Return the seconds to activate 300 plugins by chat, and the longest delay of another request meanwhile."""
    port = free_port()
    names = [f"Many{number}" for number in range(MANY)]
    with talking(launch, plugins, port) as (bot, _):
        bot.exchange([f"!plugin deactivate {name}" for name in names], " deactivated")
        quiet = longest_wait(port, lambda: time.sleep(1.0))
        seconds = 0.0

        def activate() -> None:
            nonlocal seconds
            seconds = bot.exchange([f"!plugin activate {name}" for name in names], " activated")

        waited = longest_wait(port, activate)
        for path in ("/many0/first", f"/many{MANY - 1}/second/x"):
            if (status := post(http.client.HTTPConnection("127.0.0.1", port, timeout=10), path)) != 200:
                raise RuntimeError(f"{path} has the status {status} after the activation")
    return {"activation_s": seconds, "longest_wait_s": waited, "longest_wait_when_quiet_s": quiet}


def longest_wait(port: int, work: Callable[[], None]) -> float:
    """Return the longest delay of requests to an `async def` webhook, sent one after the other, while `work` runs."""
    waits: list[float] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            while not done.is_set():
                began = time.monotonic()
                status = post(connection, "/bench_async")
                waits.append(time.monotonic() - began)
                if status != 200:
                    raise RuntimeError(f"/bench_async has the status {status}")
                time.sleep(0.001)
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        work()
    finally:
        done.set()
        asking.join()
    if failures:
        raise failures[0]
    return max(waits)


def post(connection: http.client.HTTPConnection, path: str) -> int:
    """Send a request and return the status of the response."""
    connection.request("POST", path, body=b'{"count": 1}', headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response.status


def measure(errbot_at: Path, rounds: int, number: int) -> dict[str, Any]:
    """Return all figures."""
    launches: dict[str, Launch] = {
        "errklein": lambda directory, plugins, port: errklein(directory, "Text", port, plugins),
        "errbot": lambda directory, plugins, port: errbot(directory, errbot_at, "Text", port, plugins),
    }
    results: dict[str, Any] = {
        "commands": measure_commands(errbot_at, rounds, number),
        "many": measure_many(rounds, number),
        "pipes": measure_pipes(launches, number),
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        plugins = write_plugins(Path(directory, "plugins"))
        starts: dict[str, list[float]] = {name: [] for name in launches}
        with_many: dict[str, list[float]] = {name: [] for name in launches}
        for _ in range(rounds):
            for name, launch in launches.items():
                starts[name].append(start_time(launch))
        for _ in range(max(1, rounds // 2)):
            for name, launch in launches.items():
                with_many[name].append(start_time(launch, plugins))
        results["start_s"] = {name: median(seconds) for name, seconds in starts.items()}
        results["start_rounds"] = starts
        results["start_with_300_plugins_s"] = {name: median(seconds) for name, seconds in with_many.items()}
        results["activation"] = measure_activation(launches["errklein"], plugins)
    return results


def verdicts(results: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each target with the measured value, and whether it is met."""
    rate = {name: result["commands_per_second"] for name, result in results["commands"].items()}
    for name, wanted in (("errklein plain", 2.0), ("errklein async def", 3.0)):
        ratio = rate[name] / rate["errbot"]
        yield f"commands per second, {name} ÷ errbot: {ratio:.2f}, target {wanted}", ratio >= wanted
    many = results["many"]
    yield (
        f"commands per second with 2,000 more commands ÷ without: {many['ratio']:.2f}, target at least 0.8",
        many["ratio"] >= 0.8,
    )
    yield f"start with 200 additional plugins: {many['start_s']:.2f} s, target < 3 s", many["start_s"] < 3
    start = results["start_s"]
    yield (
        f"start to first reply: {start['errklein']:.2f} s, errbot {start['errbot']:.2f} s",
        (start["errklein"] <= start["errbot"]),
    )
    activation = results["activation"]
    yield f"300 plugins activated in {activation['activation_s']:.2f} s, target < 2 s", activation["activation_s"] < 2
    wait = activation["longest_wait_s"] * 1000
    yield f"longest delay of another request meanwhile: {wait:.1f} ms, target < 50 ms", wait < 50


def table(results: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{'commands, in memory':22}{'per second':>12}{'÷ errbot':>10}"]
    baseline = results["commands"]["errbot"]["commands_per_second"]
    for name, result in results["commands"].items():
        rate = result["commands_per_second"]
        lines.append(f"{name:22}{rate:>12.0f}{rate / baseline:>10.2f}")
    lines.append(
        f"\n{'a process, on a pipe':22}{'commands/s':>12}{'MB fresh':>10}{'MB after':>10}{'start s':>10}{'+300':>8}"
    )
    for name, result in results["pipes"].items():
        memory = f"{result['fresh_mb']:>10.0f}{result['resident_mb']:>10.0f}"
        starts = f"{results['start_s'][name]:>10.2f}{results['start_with_300_plugins_s'][name]:>8.2f}"
        lines.append(f"{name:22}{result['commands_per_second']:>12.0f}{memory}{starts}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and with --check return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commands", type=int, default=3000, help="commands in each round")
    parser.add_argument("--errbot-python", type=Path, help="a Python that has errbot; default: a fresh virtualenv")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    with errbot_python(options.errbot_python) as python:
        results = measure(python, options.rounds, options.commands)
    print(table(results))
    judged = list(verdicts(results))
    for text, met in judged:
        print(f"{text}: {'met' if met else 'MISSED'}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return int(options.check and not all(met for _, met in judged))


if __name__ == "__main__":
    sys.exit(main())
