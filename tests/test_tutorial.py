"""The tutorial works when it is followed literally: its commands are run, and its files are used, as the page has them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.networks.irc.ngircd import Ngircd, join
from tests.processes import ERRKLEIN, ROOT, TWISTD, Program, adopting_daemons, free_port, kill, run, wait_for_daemon
from tests.real_bot import exchange

PAGE = ROOT / "docs" / "tutorials" / "first-bot.md"
TRIAL = [sys.executable, "-m", "twisted.trial"]
PROGRAMS = {"errklein": ERRKLEIN, "twistd": TWISTD, "trial": TRIAL}


def commands() -> list[list[str]]:
    """The commands of the page, each as its words, in order."""
    return [shlex.split(line) for line in re.findall(r"^\$ (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)]


def shown_files() -> dict[str, str]:
    """The files that the page shows, by the paths above them; of a file that is shown twice, the last state."""
    return dict(re.findall(r"^`(\S+)`:\n\n<!-- code: \S+ -->\n```\w+\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S))


class TutorialCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A home directory, and a port in place of 3141, which another program may use."""
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.bot = self.home / "bot"
        self.port = free_port()

    def command(self, *words: str) -> list[str]:
        """The one command of the page that begins with these words, with this test's directory and port."""
        [found] = [command for command in commands() if command[: len(words)] == list(words)]
        return [word.replace("~/", f"{self.home}/").replace("3141", str(self.port)) for word in found]

    def run_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run that command to its end; it has to end well."""
        program, *arguments = self.command(*words)
        ended = run(PROGRAMS[program], *arguments, cwd=self.bot if self.bot.exists() else self.home)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        if words == ("errklein", "init"):
            config = self.bot / "config.py"
            config.write_text(config.read_text().replace("tcp:3141", f"tcp:{self.port}"))
        return ended

    def begin(self) -> None:
        """Create the bot and its plugin, as the page does."""
        self.run_command("errklein", "init")
        self.write_plugin(shown_files())

    def write_plugin(self, files: Mapping[str, str]) -> None:
        """Write the plugin's files, by their paths in the bot's directory, except those that have this text already."""
        self.assertEqual(self.command("mkdir"), ["mkdir", "plugins/builds"])
        (self.bot / "plugins" / "builds").mkdir(exist_ok=True)
        for path, text in files.items():
            file = self.bot / path
            if path.startswith("plugins/") and not (file.exists() and file.read_text() == text):
                file.write_text(text)

    def post(self) -> tuple[int, str]:
        """Send the request of the page's curl command; the status and the body of the response."""
        program, option, data, url = self.command("curl")
        self.assertEqual((program, option), ("curl", "-d"))
        address, slash, path = url.removeprefix("http://").partition("/")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = exchange(int(address.partition(":")[2]), "POST", slash + path, data, headers)
        return response.status, response.text


class TerminalTests(TutorialCase):
    """The steps that need no chat server."""

    timeout = 120

    def test_commands(self) -> None:
        """The page has the commands that these tests run, and no other of errklein's."""
        ours = [command for command in commands() if command[0] in PROGRAMS]
        beginnings = [
            ["errklein", "init"],
            ["errklein", "run"],
            ["trial"],
            ["errklein", "check"],
            ["twistd", "errklein"],
        ]
        self.assertEqual([command[: len(wanted)] for command, wanted in zip(ours, beginnings, strict=True)], beginnings)

    def test_conversation(self) -> None:
        """The new plugin is loaded and replies, is reloaded when it is extended, and a report is posted to the room."""
        self.run_command("errklein", "init")
        program, *arguments = self.command("errklein", "run")
        bot = Program(PROGRAMS[program], *arguments, cwd=self.bot, stdin=subprocess.PIPE)
        self.addCleanup(bot.kill)
        self.say(bot, "!hello")
        bot.wait_for("Hello, admin!")
        bot.wait_for("Watching ")
        first = ROOT / "docs" / "examples" / "tutorial" / "builds_command.py"
        files = {**shown_files(), "plugins/builds/builds.py": first.read_text()}
        self.write_plugin({"plugins/builds/builds.plug": files["plugins/builds/builds.plug"]})
        bot.wait_for("there is no file builds.py beside it")
        self.write_plugin(files)
        bot.wait_for("and activated")
        self.say(bot, "!build shop")
        bot.wait_for("no build yet")
        self.say(bot, "!help build")
        bot.wait_for("Show the status of a project's last build")
        self.write_plugin(shown_files())
        bot.wait_for("Builds reloaded, since builds.py changed")
        self.assertEqual(self.post(), (200, '{"recorded":"shop"}\n'))
        bot.wait_for("The build of shop has passed.")
        self.say(bot, "!build shop")
        bot.wait_for("passed", 2)
        self.say(bot, "!shutdown --confirm")
        bot.wait()

    def say(self, bot: Program, text: str) -> None:
        """Type the text."""
        assert bot.process.stdin is not None
        bot.process.stdin.write(f"{text}\n".encode())
        bot.process.stdin.flush()

    def test_tests(self) -> None:
        """The tests of the plugin pass, and find the plugin in its folder."""
        self.begin()
        ended = self.run_command("trial")
        self.assertIn("PASSED (successes=2)", ended.stdout)

    def test_check(self) -> None:
        """The check finds the plugin's command and webhook."""
        self.begin()
        printed = self.run_command("errklein", "check").stdout
        for expected in (
            "Builds: can be activated",
            "POST /builds/<project>: report",
            "!build: build",
            "Found no problems",
        ):
            self.assertIn(expected, printed)


class RoomTests(TutorialCase, TestCase):
    """The step to a real room."""

    timeout = 120

    async def test_room(self) -> None:
        """With the page's config.py the bot finds the plugin, enters the room and posts reports there."""
        from twisted.internet import reactor

        server = Ngircd(penalties=False)
        self.addCleanup(server.stop)
        server.start()
        await server.wait_until_up(reactor)
        self.begin()
        settings = shown_files()["config.py"]
        for shown, used in (
            ('"irc.libera.chat"', '"127.0.0.1"'),
            ("6697", str(server.port)),
            ("True", "False"),
            ("your_nick!*@your.host", "you!*@127.0.0.1"),
            ("#your-room", "#shop"),
            ("3141", str(self.port)),
        ):
            self.assertEqual(settings.count(shown), 1)
            settings = settings.replace(shown, used)
        (self.bot / "config.py").write_text(settings)
        self.assertIn("Builds: can be activated", self.run_command("errklein", "check").stdout)
        person: Any = await join(reactor, server.port, "you", "#shop")
        self.addCleanup(person.leave)
        with adopting_daemons():
            self.run_command("twistd", "errklein")
            pid = int((self.bot / "twistd.pid").read_text())
            self.addCleanup(kill, pid)
            await person.wait_for("JOIN", "#shop", "errklein")
            self.assertEqual(self.post()[0], 200)
            await person.wait_for("PRIVMSG #shop", "The build of", "shop")
            self.assertIn("Connected to irc", (self.bot / "twistd.log").read_text())
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(wait_for_daemon(pid), -signal.SIGTERM)
        self.assertFalse((self.bot / "twistd.pid").exists())
