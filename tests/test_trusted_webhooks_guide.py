"""The tutorial "A webhook you can trust" works when it is followed, and then the guide: in their order, on one bot."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import needs_network
from tests.processes import ERRKLEIN, LIMIT, ROOT, Program, environment, free_port
from tests.test_webhooks_guide import PRELUDE, split_console

PAGE = "".join(
    (ROOT / "docs" / folder / "trusted-webhooks.md").read_text("utf-8") for folder in ("tutorials", "guides")
)

# Parts of the output that differ each time.
_VOLATILE = re.compile(
    r"(?<=Date: )[^\r\n]*|(?<=curl/)[\d.]+|\b[0-9a-f]{10}-[0-9a-f]{6}\b|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d|\b\d+\.\d+ ?s\b"
)


def comparable(text: str) -> str:
    """Return the text without what differs each time, and without the rooms that a terminal shows."""
    return _VOLATILE.sub("…", text.replace("\r\n", "\n").replace("#releases: ", ""))


class TrustedWebhooksGuideTests(SynchronousTestCase):
    """The pages as they are read, from the first command to the last."""

    timeout = 120

    def setUp(self) -> None:
        """Create a directory for the copy of the example, and choose a port in place of 3141."""
        needs_network()
        self.port = str(free_port())
        self.directory = Path(self.mktemp()).absolute()
        self.seen = 0
        [secret] = set(re.findall(r"^\$ export GH_SECRET=(.*)$", PAGE, re.MULTILINE))
        os.environ["GH_SECRET"] = secret
        self.addCleanup(os.environ.pop, "GH_SECRET")

    def local(self, text: str) -> str:
        """Return a text of the page with the directory and the port of this test."""
        return text.replace("~/trusted", str(self.directory)).replace("3141", self.port)

    def start(self, command: str) -> None:
        """Start the bot with a command of the page."""
        self.bot = Program(ERRKLEIN, *shlex.split(self.local(command))[1:], cwd=self.directory, stdin=subprocess.PIPE)
        self.addCleanup(self.bot.kill)
        self.seen = 0
        self.bot.wait_for("Watching ")

    def run_console(self, block: str) -> None:
        """Run the commands of a block, which print what it shows. The one that starts the bot is the last."""
        script, output = split_console(block)
        script, run, start = script.partition("errklein run ")
        ended = subprocess.run(
            ["bash", "-c", PRELUDE + self.local(script)],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            cwd=self.directory if self.directory.exists() else ROOT,
            env=environment(),
        )
        self.assertEqual(comparable(ended.stdout), comparable(self.local(output)), script + ended.stderr)
        if run:
            self.start(run + start)

    def converse(self, block: str) -> None:
        """Type the commands of a block, and wait for its other lines, in their order."""
        assert self.bot.process.stdin is not None
        for line in self.local(block).splitlines():
            if line.startswith("!"):
                self.seen = len(self.bot.text)
                self.bot.process.stdin.write(f"{line}\n".encode())
                self.bot.process.stdin.flush()
            else:
                while comparable(line).strip() not in comparable(self.bot.text[self.seen :]):
                    self.bot.wait_for("\n", times=self.bot.text.count("\n") + 1)

    def test_page(self) -> None:
        """Each command prints what the page shows below it, and each message arrives."""
        blocks = re.findall(r"^```(console|text)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        self.assertGreater(len(blocks), 10)
        for kind, block in blocks:
            if kind == "console":
                self.run_console(block)
            else:
                self.converse(block)
        self.bot.wait_for("Deployed to production")
