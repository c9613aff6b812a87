"""A bot that stops while messages are queued, on a real ngircd."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.networks.irc.ngircd import Ngircd, Person, join
from tests.processes import TWISTD, Program, free_port, write_config, write_plugin

POSTER = """
    from errklein import BotPlugin, webhook

    class Poster(BotPlugin):
        @webhook
        def post(self, payload):
            self.send(self.build_identifier("#ops"), payload["text"])
"""


class DrainingTests(TestCase):
    """Stops by signals and commands."""

    timeout = 120

    async def start(self, rate: float, grace: float) -> None:
        """Start a bot in #ops that sends one line every `rate` seconds, with the administrator alice beside it."""
        from twisted.internet import reactor

        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.server = Ngircd(penalties=False)
        self.addCleanup(self.server.stop)
        self.server.start()
        await deferToThread(self.wait_for_server)
        self.person: Person = await join(reactor, self.server.port, "alice", "#ops")
        self.addCleanup(self.person.leave)
        write_plugin(directory / "plugins", "Poster", dedent(POSTER))
        write_config(
            directory,
            {
                "BACKEND": "IRC",
                "BOT_IDENTITY": {"nickname": "errklein", "server": "127.0.0.1", "port": self.server.port},
                "BOT_ADMINS": ("alice!*@*",),
                "CHATROOM_PRESENCE": ("#ops",),
                "IRC_CHANNEL_RATE": rate,
                "GRACE_PERIOD": grace,
                "BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"),
            },
        )
        self.directory = directory
        await self.start_process()

    async def start_process(self) -> None:
        """Start a process of the bot, and wait until it has joined the room."""
        self.port = free_port()
        joined = self.person.wait_for("errklein", "JOIN", "#ops", seen=False)
        endpoint = f"tcp:{self.port}:interface=127.0.0.1"
        self.program = Program(TWISTD, "-n", "errklein", "--web", endpoint, cwd=self.directory)
        self.addCleanup(self.program.kill)
        await joined

    def wait_for_server(self) -> None:
        """Block until ngircd accepts connections."""
        limit = time.monotonic() + 10
        while not self.server.is_up():
            if time.monotonic() > limit:
                raise AssertionError("ngircd does not accept connections")
            time.sleep(0.02)

    def post(self, count: int) -> None:
        """Post this number of messages."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        for number in range(count):
            connection.request("POST", "/post", f'{{"text": "post {number}"}}', {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            self.assertEqual(response.status, 200)
        connection.close()

    async def stop(self, tell: Callable[[], object]) -> tuple[int, float]:
        """Stop the bot; return its status and the duration in seconds."""
        begun = time.monotonic()
        tell()
        status = await deferToThread(self.program.wait)
        took = time.monotonic() - begun
        await self.person.wait_for("errklein", "QUIT")
        return status, took

    async def test_grace_period_is_used(self) -> None:
        """Messages are sent at the configured rate until the end of the grace period; the next process sends the others."""
        posts = [f"post {number}" for number in range(12)]
        await self.start(rate=1, grace=6)
        await deferToThread(self.post, len(posts))
        status, took = await self.stop(lambda: self.program.signal(signal.SIGTERM))
        said = len(self.person.texts)
        self.assertIn(said, (6, 7, 8), self.person.texts)
        self.assertIn(f"{len(posts) - said} messages were not sent yet", self.program.text)
        self.assertEqual(status, -signal.SIGTERM)
        self.assertGreater(took, 5.5)
        self.assertLess(took, 7)
        self.assertIn("good-bye", self.person.lines[-1].text)
        await self.start_process()
        await self.person.wait_for(posts[-1])
        self.assertEqual(self.person.texts, posts)

    async def test_killed(self) -> None:
        """After SIGKILL the next process sends the rest. Only the line that was being sent may occur twice."""
        posts = [f"post {number}" for number in range(8)]
        await self.start(rate=1, grace=6)
        await deferToThread(self.post, len(posts))
        await self.person.wait_for(posts[1])
        await self.stop(lambda: self.program.signal(signal.SIGKILL))
        await self.start_process()
        await self.person.wait_for(posts[-1])
        self.assertEqual(list(dict.fromkeys(self.person.texts)), posts)
        self.assertLessEqual(len(self.person.texts), len(posts) + 1)

    async def assert_all_is_sent(self, tell: Callable[[], object], status: int) -> None:
        """Check that all queued messages are sent, and that the bot then ends without waiting."""
        await self.start(rate=0.2, grace=10)
        await deferToThread(self.post, 6)
        ended, took = await self.stop(tell)
        said = [text for text in self.person.texts if text.startswith("post")]
        self.assertEqual(said, [f"post {number}" for number in range(6)])
        self.assertNotIn("not sent", self.program.text)
        self.assertEqual(ended, status)
        self.assertLess(took, 8)

    async def test_sigint(self) -> None:
        """After Ctrl-C the queue is sent."""
        await self.assert_all_is_sent(lambda: self.program.signal(signal.SIGINT), -signal.SIGINT)

    async def test_shutdown_command(self) -> None:
        """After `!shutdown` the queue is sent, and the status is 0."""
        await self.assert_all_is_sent(lambda: self.person.send("PRIVMSG errklein :!shutdown --confirm"), 0)

    async def test_second_signal(self) -> None:
        """A second signal ends the process at once."""
        await self.start(rate=5, grace=30)
        await deferToThread(self.post, 3)
        self.program.signal(signal.SIGTERM)
        await deferToThread(self.program.wait_for, "queued messages before disconnecting")
        status, took = await self.stop(lambda: self.program.signal(signal.SIGTERM))
        self.assertEqual(status, -signal.SIGTERM)
        self.assertLess(took, 3)
