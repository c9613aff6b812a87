"""Draw docs/picture.svg, the picture in the README: a bot on a terminal, and curl on a second one.

Starts the bot of the README in a pseudo-terminal, types a command, posts a build, and draws both screens as they are at
the end. Needs `pip install pyte rich`, and the port 3141 of this machine.
"""

from __future__ import annotations

import io
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
COLUMNS = 78
SECONDS = 20.0
"""The time within which each reply must arrive."""

START = "twistd -n errklein --config config.py --plugin-dir builds --web tcp:3141"
POST = "curl -d status=passed http://localhost:3141/builds/shop"


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, command: list[str], directory: Path) -> None:
        self.screen = pyte.Screen(COLUMNS, 40)
        self.stream = pyte.ByteStream(self.screen)
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": "40"}
            os.execv(command[0], command)

    def text(self) -> str:
        """Return what is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read until the text is on the screen, and half a second longer; raises TimeoutError after `SECONDS`."""
        end = time.monotonic() + SECONDS
        while self.text().count(text) < times:
            if time.monotonic() > end:
                raise TimeoutError(f"{text!r} did not appear on the terminal:\n{self.text()}")
            self.read(0.1)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            self.read(0.1)

    def read(self, seconds: float) -> None:
        """Show the next output, if there is any within this time, and answer the program's questions about the cursor; raises EOFError."""
        if select.select([self.descriptor], [], [], seconds)[0]:
            try:
                data = os.read(self.descriptor, 65536)
            except OSError:
                raise EOFError(f"the bot has ended:\n{self.text()}") from None
            self.stream.feed(data)
            if b"\x1b[6n" in data:
                os.write(self.descriptor, b"\x1b[%d;%dR" % (self.screen.cursor.y + 1, self.screen.cursor.x + 1))

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.descriptor, f"{text}\r".encode())

    def lines(self) -> list[Text]:
        """Return the lines of the screen, up to the last one that isn't empty."""
        lines = []
        for row in range(self.screen.lines):
            line = Text()
            cells = [self.screen.buffer[row][column] for column in range(self.screen.columns)]
            for is_bold, same in groupby(cells, lambda cell: cell.bold):
                line.append("".join(cell.data for cell in same), style="bold" if is_bold else "")
            line.rstrip()
            lines.append(line)
        while lines and not lines[-1].plain:
            lines.pop()
        return lines


def record() -> tuple[list[Text], str]:
    """Run the bot; returns the lines of its terminal, and curl's output."""
    with tempfile.TemporaryDirectory(prefix="picture-") as name:
        directory = Path(name)
        shutil.copy(HERE / "examples" / "tutorial" / "terminal.py", directory / "config.py")
        shutil.copytree(HERE / "examples" / "tutorial" / "builds", directory / "builds")
        program, *arguments = START.split()
        bot = Terminal([str(Path(sys.executable).with_name(program)), *arguments], directory)
        bot.wait_for("Stop")
        bot.type("!build shop")
        bot.wait_for("no build yet")
        posted = subprocess.run(POST.split(), capture_output=True, text=True, check=True, timeout=SECONDS).stdout
        bot.wait_for("has passed")
        bot.type("!build shop")
        bot.wait_for("passed", 2)
        lines = bot.lines()
        bot.type("!shutdown --confirm")
        os.waitpid(bot.pid, 0)
    return lines, posted


def main() -> None:
    """Draw the picture."""
    lines, posted = record()
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ {START}", style="bold"))
    for line in lines:
        console.print(line)
    console.print()
    console.rule("second terminal", style="dim")
    console.print(Text(f"$ {POST}", style="bold"))
    console.print(posted, end="")
    console.save_svg(str(HERE / "picture.svg"), title="errklein")


if __name__ == "__main__":
    main()
