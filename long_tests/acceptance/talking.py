"""A bot in its own process, with a chat through a pipe and a web server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from tests.processes import TWISTD, Program, free_port, write_config, write_plugin


class TalkingBot(Program):
    """`twistd -n errklein` with the Text backend, started in `directory`. `text` has its messages, `log` its log."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._log = directory / "bot.log"
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        with self._log.open("wb") as log:
            super().__init__(
                TWISTD, "-n", "errklein", "--web", endpoint, cwd=directory, stdin=subprocess.PIPE, stderr=log
            )

    @property
    def log(self) -> str:
        """The bot's log."""
        return self._log.read_text()

    def say(self, line: str, answer: str) -> float:
        """Send a line, wait for one more occurrence of `answer`, and return the time on the common clock."""
        before = self.text.count(answer)
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        self.wait_for(answer, before + 1)
        return time.monotonic()


@contextmanager
def talking(directory: Path, plugins: Mapping[str, str], **settings: object) -> Iterator[TalkingBot]:
    """Run a bot with these plugins, sources by name; it is killed at the end of the block."""
    for name, source in plugins.items():
        write_plugin(directory / "plugins", name, dedent(source))
    write_config(directory, {"BACKEND": "Text", "BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"), **settings})
    bot = TalkingBot(directory, free_port())
    try:
        bot.say("!echo awake", "awake")
        yield bot
    finally:
        bot.kill()
