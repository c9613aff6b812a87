"""The start time and the commands per second of errklein with few and with many plugins."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bots import Conversation, errklein

COMMANDS = 10
"""The number of commands of each plugin."""

_COMMAND = """
    @botcmd
    async def word_{plugin}_{command}(self, msg, args):
        return "answered {plugin} {command} " + args
"""


def write_plugins(directory: Path, count: int) -> None:
    """Write this number of plugins, each in its own directory."""
    for plugin in range(count):
        folder = directory / f"plugin{plugin}"
        folder.mkdir(parents=True)
        (folder / f"p{plugin}.plug").write_text(f"[Core]\nName = P{plugin}\nModule = p{plugin}\n")
        commands = "".join(_COMMAND.format(plugin=plugin, command=command) for command in range(COMMANDS))
        (folder / f"p{plugin}.py").write_text(
            f"from errbot import BotPlugin, botcmd\n\n\nclass P{plugin}(BotPlugin):\n{commands}"
        )


def measure(count: int, messages: int) -> tuple[float, float]:
    """Return the seconds from the start of the process to the first reply, and the commands per second after it."""
    with tempfile.TemporaryDirectory(prefix="errklein-") as name:
        directory = Path(name)
        plugins = directory / "plugins"
        write_plugins(plugins, count)
        talk = Conversation(errklein(directory / "bot", "Text", plugins=plugins), directory / "log")
        try:
            last = count - 1
            talk.exchange([f"!word {last} 1 first"], f"answered {last} 1 first")
            started = time.monotonic() - talk.started
            # The first exchange is a warm-up.
            lines = [f"!word {last} {number % COMMANDS} more" for number in range(messages)]
            talk.exchange(lines, "more")
            return started, messages / talk.exchange(lines, "more")
        finally:
            talk.close()


def main() -> None:
    """Print a line for each number of plugins."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, nargs="*", default=[2, 200])
    parser.add_argument("--messages", type=int, default=3000)
    options = parser.parse_args()
    for count in options.plugins:
        started, rate = measure(count, options.messages)
        print(f"{count:4} plugins, {count * COMMANDS:5} commands: {started:5.2f} s to start, {rate:6.0f} commands/s")


if __name__ == "__main__":
    main()
