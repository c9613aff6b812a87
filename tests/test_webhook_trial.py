"""README's "Connect a service", as a new user follows it: from a room to a signed event of GitHub and an alert in it.

Each step is pasted from what the user has in front of him, which is the section and the bot's replies, or is typed. Both are counted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import shlex
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.networks.irc.ngircd import Ngircd, Person, join
from tests.processes import ERRKLEIN, ROOT, Program
from tests.real_bot import exchange
from tests.server_program import free_port

README = (ROOT / "README.md").read_text("utf-8")
SECTION = README[README.index("## Connect a service") : README.index("## Networks")]
SOURCES = ROOT / "errklein" / "sources"
EVENT = (SOURCES / "github" / "payloads" / "push.json").read_bytes()
ALERT = (SOURCES / "alertmanager" / "payloads" / "firing.json").read_bytes()

MOST_PASTES = 8
MOST_TYPED = 400


class NewUserTests(TestCase):
    """A new user with errklein installed, an IRC server, and nothing but README.md."""

    timeout = 240

    async def setUp(self) -> None:
        """An IRC server, the user in it, and an empty directory."""
        from twisted.internet import reactor

        self.server = Ngircd(penalties=False)
        self.addCleanup(self.server.stop)
        self.server.start()
        await self.server.wait_until_up(reactor)
        self.user: Person = await join(reactor, self.server.port, "you", "#dev", "#ops")
        self.addCleanup(self.user.leave)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.pastes, self.typed = 0, ""

    def paste(self, text: str) -> str:
        """Paste what the section or a reply of the bot has."""
        self.assertIn(text, "\n".join([SECTION, *self.user.texts]))
        self.pastes += 1
        return text

    def type(self, text: str) -> str:
        """Type a text."""
        self.typed += text
        return text

    async def reply(self, *wanted: str) -> str:
        """Return a line that the bot has sent in private, without the words before the value."""
        line: Any = await self.user.wait_for("PRIVMSG you :", *wanted)
        return str(line.params[1]).partition(": ")[2]

    def blocks(self, kind: str) -> list[str]:
        """The section's blocks of a kind."""
        return re.findall(rf"^```{kind}\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)

    async def test_from_the_section_to_messages(self) -> None:
        """Two rooms show what GitHub and Alertmanager send, and nobody else can send it."""
        [settings], [command], [make] = self.blocks("python"), self.blocks("console"), self.blocks("text")
        config = self.paste(settings)
        port = str(free_port())
        for shown, own in (
            ("irc.libera.chat", "127.0.0.1"),
            ("6697", str(self.server.port)),
            ("True", "False"),
            ("your_nick!*@your.host", "you!*@127.0.0.1"),
            ("#your-dev", "#dev"),
            ("#your-ops", "#ops"),
            # The test can't know which ports are free.
            ("3141", port),
        ):
            self.assertEqual(config.count(shown), 1, shown)
            config = config.replace(shown, self.type(own))
        (self.directory / "config.py").write_text(config)
        program, *arguments = shlex.split(self.paste(command))
        self.assertEqual(program, "venv/bin/errklein")
        bot = Program(ERRKLEIN, *arguments, cwd=self.directory)
        self.addCleanup(bot.kill)
        for room in ("#dev", "#ops"):
            await self.user.wait_for("JOIN", room, "errklein")

        self.user.send(f"PRIVMSG #dev :{self.type(make.strip())}")
        url, secret = self.paste(await self.reply("URL: ")), self.paste(await self.reply("Secret: "))
        await self.user.wait_for("PRIVMSG #dev :", "Made github for #dev")
        signature = hmac.digest(secret.encode(), EVENT, hashlib.sha256).hex()
        headers = {"Content-Type": "application/json", "X-GitHub-Event": "push"}
        path = url.removeprefix(f"http://127.0.0.1:{port}")
        refused = exchange(int(port), "POST", path, EVENT, {**headers, "X-Hub-Signature-256": f"sha256={'0' * 64}"})
        self.assertEqual(refused.status, 401)
        accepted = exchange(int(port), "POST", path, EVENT, {**headers, "X-Hub-Signature-256": f"sha256={signature}"})
        self.assertEqual(accepted.status, 202)
        await self.user.wait_for("PRIVMSG #dev :", "pushed")

        [other] = re.findall("`(!webhook new alertmanager)`", SECTION)
        self.user.send(f"PRIVMSG #ops :{self.type(other)}")
        for beginning in ("route: {", "receivers: ["):
            line: Any = await self.user.wait_for("PRIVMSG you :", beginning)
            lines = self.paste(str(line.params[1]))
        [address] = re.findall(r'url: "http://127\.0\.0\.1:\d+(/hooks/\S+)"', lines)
        sent = exchange(int(port), "POST", address, ALERT, {"Content-Type": "application/json"})
        self.assertEqual(sent.status, 202)
        await self.user.wait_for("PRIVMSG #ops :", "FIRING")

        self.assertLessEqual(self.pastes, MOST_PASTES)
        self.assertLessEqual(len(self.typed), MOST_TYPED)
        public = "\n".join(line.text for line in self.user.lines if "PRIVMSG #" in line.text)
        bot.signal(signal.SIGTERM)
        bot.wait()
        self.assertIn("Connected to irc", bot.text)
        for value in (secret, address.rpartition("/")[2]):
            self.assertNotIn(value, public + bot.text)
