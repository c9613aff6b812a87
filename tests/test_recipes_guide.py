"""The guide "Recipes" and its pages work when they are followed: requests are sent as the sources send them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import needs_network
from tests.processes import ERRKLEIN, LIMIT, ROOT, Program, environment, free_port
from tests.test_webhooks_guide import PRELUDE, comparable, split_console

GUIDES = ROOT / "docs" / "guides"
NAMES = ("github", "gitlab", "alertmanager", "grafana", "sentry", "stripe")
PAGE = "".join((GUIDES / f"{name}.md").read_text("utf-8") for name in ("recipes", *(f"recipes/{one}" for one in NAMES)))
EXAMPLES = ROOT / "docs" / "examples" / "recipes"


class RecipesGuideTests(SynchronousTestCase):
    """The commands of the pages, in their order, on one bot."""

    timeout = 120

    def test_page(self) -> None:
        """Each command prints what its page shows below it, and each message arrives."""
        needs_network()
        blocks = re.findall(r"^```(console|text)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        first, *requests = [split_console(block) for kind, block in blocks if kind == "console"]
        messages = [block for kind, block in blocks if kind == "text" and block.startswith("#ops: ")]
        self.assertEqual((len(requests), len(messages)), (6, 6))
        port = str(free_port())
        exports, _, start = first[0].replace("3141", port).partition("errklein ")
        for name, _, value in (assignment.partition("=") for assignment in shlex.split(exports.replace("export", ""))):
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "docs").symlink_to(ROOT / "docs")
        bot = Program(ERRKLEIN, *shlex.split(start), cwd=directory, stdin=subprocess.PIPE)
        self.addCleanup(bot.kill)
        bot.wait_for("Connected to text")
        for (script, output), message in zip(requests, messages, strict=True):
            ended = subprocess.run(
                ["bash", "-c", PRELUDE + script.replace("3141", port)],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
                cwd=directory,
                env=environment(),
            )
            self.assertEqual(comparable(ended.stdout), comparable(output), script + ended.stderr)
            for line in message.removeprefix("#ops: ").splitlines():
                bot.wait_for(line)

    def test_plugins_are_short(self) -> None:
        """Each recipe has a page with its plugin, which has at most 25 lines."""
        for plugin in sorted(EXAMPLES.glob("*.plug")):
            module = plugin.with_suffix(".py")
            self.assertIn(f"<!-- code: docs/examples/recipes/{module.name} -->", PAGE)
            self.assertLessEqual(len(module.read_text("utf-8").splitlines()), 25, module.name)
