"""The guides to webhooks work when they are followed: their commands are run on a bot with their examples, and the output compared."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.testing import PluginTestCase
from errklein.text import to_ansi
from tests import needs_network
from tests.processes import ERRKLEIN, LIMIT, ROOT, Program, environment, free_port

GUIDES = ROOT / "docs" / "guides"
PAGE = "".join((GUIDES / f"{name}.md").read_text("utf-8") for name in ("webhooks", "webhook-responses"))
EXAMPLES = ROOT / "docs" / "examples" / "webhooks"

PYTHON = shlex.quote(sys.executable)
PRELUDE = "".join(
    f'{command}() {{ {PYTHON} {options} "$@"; }}\n'
    for command, options in {"errklein": "-m errklein", "trial": "-m twisted.trial", "python3": ""}.items()
)
"""Lets scripts of a page call these commands, with this Python: the system's may not be able to use what trial puts on its path."""

# Parts of the output that differ each time.
_VOLATILE = re.compile(r"(?<=Date: )[^\r\n]*|\b[0-9a-f]{10}-[0-9a-f]{6}\b")


def blocks(kind: str) -> list[str]:
    """The contents of the pages' blocks of this kind."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def split_console(block: str) -> tuple[str, str]:
    """The commands of a console block as a shell script, and the output that the block shows."""
    commands = re.compile(r"^\$ ((?:.*\\\n)*.*\n)", re.MULTILINE)
    return "".join(commands.findall(block)), commands.sub("", block)


def comparable(text: str) -> str:
    """The text without what differs each time."""
    return _VOLATILE.sub("…", text.replace("\r\n", "\n"))


class WebhooksGuideTests(SynchronousTestCase):
    """The commands of the pages, in their order, on one bot."""

    timeout = 120

    def setUp(self) -> None:
        """Start the bot as the page does, on another port."""
        needs_network()
        self.port = str(free_port())
        examples = Path(self.mktemp()).absolute() / "docs" / "examples" / "webhooks"
        shutil.copytree(EXAMPLES, examples)
        upstream = examples / "upstream.py"
        upstream.write_text(upstream.read_text().replace("3141", self.port))
        self.directory = examples.parent.parent.parent
        consoles = [split_console(block) for block in blocks("console")]
        [start, *self.consoles] = [console for console in consoles if not console[0].startswith("trial ")]
        _, secret, errklein, *arguments = start[0].replace("3141", self.port).split()
        self.assertEqual(errklein, "errklein")
        name, _, value = secret.partition("=")
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name)
        self.bot = Program(ERRKLEIN, *arguments, cwd=self.directory, stdin=subprocess.PIPE)
        self.addCleanup(self.bot.kill)
        self.bot.wait_for("Connected to text")

    def say(self, text: str) -> None:
        """Type the text into the bot's terminal."""
        assert self.bot.process.stdin is not None
        self.bot.process.stdin.write(text.encode())
        self.bot.process.stdin.flush()

    def test_commands(self) -> None:
        """Each command prints what the page shows below it."""
        for script, output in self.consoles:
            ended = subprocess.run(
                ["bash", "-c", PRELUDE + script.replace("3141", self.port)],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
                cwd=self.directory,
                env=environment(),
            )
            self.assertEqual(comparable(ended.stdout), comparable(output), script)
        failure = "responses.py, line 26: ValueError: invalid literal for int() with base 10: 'many'"
        for message in ("Deployed shop", "Commit on website!", failure):
            self.bot.wait_for(message)
        [failed] = [block for block in blocks("text") if block.startswith("!delivery list")]
        typed, _, shown = failed.partition("\n")
        times = 0
        # The log of deliveries is written a moment after the response.
        while shown.partition(" Responses:visits ")[2].strip() not in self.bot.text.rpartition("runs delivery_list")[2]:
            self.say(f"{typed}\n")
            times += 1
            self.bot.wait_for("runs delivery_list", times)


class WebhookTestCommandTests(PluginTestCase):
    """The page's `!webhook test` commands."""

    plugin_dirs = (EXAMPLES,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def test_webhook_test(self) -> None:
        """The report of `!webhook test` is the one that the page shows, as it appears on a terminal."""
        first, second = [block for block in blocks("text") if block.startswith("!webhook test")]
        [report] = [block for block in blocks("text") if block.startswith("*** Test Report")]
        # The command exists when the Webserver plugin is active.
        self.bot.say(next(block for block in blocks("text") if block.startswith("!plugin config Webserver")).strip())
        bodies: list[str] = []
        self.bot.backend.watch(lambda sent: bodies.append(sent.message.body))
        self.bot.say(first.strip())
        [body] = bodies
        shown = re.sub(r"\x1b\[\d+m", "", to_ansi(body))
        self.assertEqual(comparable(shown).rstrip(), comparable(report).rstrip())
        self.bot.say(second.strip())
        self.assertEqual(self.bot.sent_to("#builds"), ["Commit on website!"])
