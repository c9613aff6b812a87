"""The tutorial works when it is followed literally: its commands are run, and its files are used, as the page has them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.backends.irc.ngircd import Ngircd, join
from tests.processes import ERRKLEIN, ROOT, TWISTD, Program, adopting_daemons, free_port, kill, run, wait_for_daemon
from tests.real_bot import exchange

PAGE = ROOT / "docs" / "tutorial.md"
TRIAL = [sys.executable, "-m", "twisted.trial"]
PROGRAMS = {"errklein": ERRKLEIN, "twistd": TWISTD, "trial": TRIAL}


def commands() -> list[list[str]]:
    """The commands of the page, each as its words, in order."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]


def included() -> dict[str, str]:
    """The files that the page includes, as far as it shows them, by their names."""
    files = {}
    for name, options in re.findall(r"```\{literalinclude\} (\S+)\n((?::.*\n)*)", PAGE.read_text("utf-8")):
        path = PAGE.parent / name
        text = path.read_text("utf-8")
        end = re.search(r":end-before: (.+)", options)
        if end is not None:
            lines = text.splitlines(keepends=True)
            text = "".join(lines[: next(number for number, line in enumerate(lines) if end[1] in line)])
        files[path.name] = text
    return files


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
        return ended

    def begin(self) -> None:
        """Do what the page does until there is a bot with the GitHub plugin."""
        self.run_command("errklein", "init")
        folder = self.bot / "plugins" / "github_notifier"
        folder.mkdir()
        for name, text in included().items():
            if name.removeprefix("test_").startswith("github_notifier."):
                (folder / name).write_text(text)

    def post(self, *words: str) -> tuple[int, str]:
        """Send what the page's curl command sends; the status and the body of the response."""
        arguments = self.command("curl", *words)[1:]
        headers, data, url = {"Content-Type": "application/x-www-form-urlencoded"}, "", ""
        while arguments:
            word = arguments.pop(0)
            if word == "-H":
                name, _, value = arguments.pop(0).partition(": ")
                headers[name] = value
            elif word == "-d":
                data = arguments.pop(0)
            else:
                url = word
        address, slash, path = url.removeprefix("http://").partition("/")
        answer = exchange(int(address.partition(":")[2]), "POST", slash + path, data, headers)
        return answer.status, answer.text


class TerminalTests(TutorialCase):
    """The steps that need no chat server."""

    timeout = 120

    def test_commands(self) -> None:
        """The page has the commands that these tests run, and no other of errklein's."""
        ours = [command for command in commands() if command[0] in PROGRAMS]
        beginnings = [
            ["errklein", "init"],
            ["errklein", "check"],
            ["errklein", "run"],
            ["trial"],
            ["twistd", "errklein"],
        ]
        self.assertEqual([command[: len(wanted)] for command, wanted in zip(ours, beginnings, strict=True)], beginnings)

    def test_conversation(self) -> None:
        """The bot talks, its plugin is reloaded when it is edited, and webhooks are posted to the room."""
        self.begin()
        self.assertIn("GitHub: can be activated", self.run_command("errklein", "check").stdout)
        program, *arguments = self.command("errklein", "run")
        bot = Program(PROGRAMS[program], *arguments, cwd=self.bot, stdin=subprocess.PIPE)
        self.addCleanup(bot.kill)
        self.say(bot, "!hello")
        bot.wait_for("Hello, admin!")
        bot.wait_for("Watching ")
        example = self.bot / "plugins" / "example" / "example.py"
        example.write_text(example.read_text().replace("Hello", "Good morning"))
        bot.wait_for("Example was changed and is reloaded")
        self.say(bot, "!hello")
        bot.wait_for("Good morning, admin!")
        self.assertEqual(self.post("-d"), (200, "OK\n"))
        bot.wait_for("Somebody posted hello")
        self.assertEqual(self.post("-H"), (200, ""))
        bot.wait_for("issues opened in me/mine by me")
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


class RoomTests(TutorialCase, TestCase):
    """The step to a real room."""

    timeout = 120

    async def test_room(self) -> None:
        """With the page's config.py the bot finds the plugin, enters the room and posts there what GitHub sends."""
        from twisted.internet import reactor

        server = Ngircd(penalties=False)
        self.addCleanup(server.stop)
        server.start()
        await server.wait_until_up(reactor)
        self.begin()
        settings = included()["config.py"]
        for shown, used in (('"irc.libera.chat"', '"127.0.0.1"'), ("6697", str(server.port)), ("True", "False")):
            self.assertEqual(settings.count(shown), 1)
            settings = settings.replace(shown, used)
        (self.bot / "config.py").write_text(settings)
        self.assertIn("GitHub: can be activated", self.run_command("errklein", "check").stdout)
        person: Any = await join(reactor, server.port, "you", "#your-room")
        self.addCleanup(person.leave)
        with adopting_daemons():
            self.run_command("twistd", "errklein")
            pid = int((self.bot / "twistd.pid").read_text())
            self.addCleanup(kill, pid)
            await person.wait_for("JOIN", "#your-room", "errklein")
            self.assertEqual(self.post("-H"), (200, ""))
            await person.wait_for("PRIVMSG #your-room", "opened", "me/mine")
            self.assertIn("Connected to irc", (self.bot / "twistd.log").read_text())
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(wait_for_daemon(pid), -signal.SIGTERM)
        self.assertFalse((self.bot / "twistd.pid").exists())
