"""Commands per second, start time and memory, on errklein and errbot.

Both bots run the same plugin file, each in its own process:

- commands per second: a number of commands at once, from the first command to the last reply, in turns. Both bots use
  their Test backend, since errbot's Text backend waits half a second after each line. The rate of the Text backends
  through a pipe is measured for information.
- start: the time from the start of the process, with the Text backend and a web server, to the reply to a line that was
  in the pipe from the beginning, in turns.
- memory: resident memory after the first reply, and after all commands through the pipe.

    python benchmarks/commands.py [--rounds 5] [--commands 3000] [--errbot-python PYTHON] [--json FILE] [--check]

errbot is installed from the package index, unless --errbot-python names a Python that has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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
    arguments,
    errbot,
    errbot_python,
    errklein,
    free_port,
    resident,
    write_config,
)

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


def measure(errbot_at: Path, rounds: int, number: int) -> dict[str, Any]:
    """Return all figures."""
    launches: dict[str, Launch] = {
        "errklein": lambda directory, plugins, port: errklein(directory, "Text", port, plugins),
        "errbot": lambda directory, plugins, port: errbot(directory, errbot_at, "Text", port, plugins),
    }
    results: dict[str, Any] = {
        "commands": measure_commands(errbot_at, rounds, number),
        "pipes": measure_pipes(launches, number),
    }
    starts: dict[str, list[float]] = {name: [] for name in launches}
    for _ in range(rounds):
        for name, launch in launches.items():
            starts[name].append(start_time(launch))
    results["start_s"] = {name: median(seconds) for name, seconds in starts.items()}
    results["start_rounds"] = starts
    return results


def verdicts(results: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each target with the measured value, and whether it is met."""
    rate = {name: result["commands_per_second"] for name, result in results["commands"].items()}
    for name, wanted in (("errklein plain", 2.0), ("errklein async def", 3.0)):
        ratio = rate[name] / rate["errbot"]
        yield f"commands per second, {name} ÷ errbot: {ratio:.2f}, target {wanted}", ratio >= wanted
    start = results["start_s"]
    yield (
        f"start to first reply: {start['errklein']:.2f} s, errbot {start['errbot']:.2f} s",
        (start["errklein"] <= start["errbot"]),
    )


def table(results: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{'commands, in memory':22}{'per second':>12}{'÷ errbot':>10}"]
    baseline = results["commands"]["errbot"]["commands_per_second"]
    for name, result in results["commands"].items():
        rate = result["commands_per_second"]
        lines.append(f"{name:22}{rate:>12.0f}{rate / baseline:>10.2f}")
    lines.append(f"\n{'a process, on a pipe':22}{'commands/s':>12}{'MB fresh':>10}{'MB after':>10}{'start s':>10}")
    for name, result in results["pipes"].items():
        memory = f"{result['fresh_mb']:>10.0f}{result['resident_mb']:>10.0f}"
        starts = f"{results['start_s'][name]:>10.2f}"
        lines.append(f"{name:22}{result['commands_per_second']:>12.0f}{memory}{starts}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and with --check return 1 if a target is missed."""
    options = arguments(__doc__, rounds=5, commands=3000, errbot_python=Path, json=Path, check=False)
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
