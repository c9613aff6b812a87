"""`await sent.stored`: messages of handlers in threads and on the reactor are on disk."""

from __future__ import annotations

import sqlite3
import textwrap
from contextlib import closing
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.processes import free_port
from tests.real_bot import ADMIN, RealBotCase

SENDING = textwrap.dedent(
    """
    from twisted.internet import reactor
    from errklein import BotPlugin, botcmd

    class Sending(BotPlugin):
        def tell(self, text):
            return self.send(self.build_identifier("libera:#ops"), text)

        @botcmd
        def in_a_thread(self, msg, args):
            sent = self.tell("from a thread")
            reactor.callFromThread(self.bot_config.SENT, sent)

        @botcmd
        async def in_a_coroutine(self, msg, args):
            sent = self.tell("from a coroutine")
            await sent.stored
            self.bot_config.STORED("in the coroutine")
            self.bot_config.SENT(sent)
    """
)


class StoredTests(RealBotCase):
    """Messages to a network that can't be reached."""

    async def setUp(self) -> None:
        """Start a bot with a plugin that sends."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "sending.py").write_text(SENDING)
        (directory / "sending.plug").write_text("[Core]\nName = Sending\nModule = sending\n")
        self.found: dict[str, list[str]] = {}
        self.config = {
            "NETWORKS": {
                "libera": {
                    "BACKEND": "IRC",
                    "BOT_IDENTITY": {"nickname": "bot", "server": "127.0.0.1", "port": free_port()},
                },
                "console": {"BACKEND": "Test"},
            },
            "STORAGE": "Shelf",
            "SENT": lambda sent: self.sent.callback([sent]),
            "STORED": self.look,
        }
        await self.start_bot(directory)
        self.backend = self.bot.backends["console"]  # type: ignore[assignment]

    def look(self, where: str) -> None:
        """Remember the texts that another program sees in the file now."""
        with closing(sqlite3.connect(Path(self.bot.bot_config.BOT_DATA_DIR) / "journal.sqlite")) as connection:
            rows = connection.execute("SELECT body FROM outbox ORDER BY id")
            self.found[where] = [body.decode() for (body,) in rows]

    async def receive(self, command: str) -> None:
        """Let the command send, and wait until its message is stored."""
        self.sent: Deferred[list[Deferred[None]]] = Deferred()
        self.backend.receive(command, frm=ADMIN)
        [sent] = await self.sent
        await sent.stored  # type: ignore[attr-defined]
        self.look(command)

    async def test_stored(self) -> None:
        """The message of a handler is in the file when `sent.stored` fires, and waits for the network."""
        await self.receive("!in a thread")
        self.assertEqual(self.found["!in a thread"], ["from a thread"])
        await self.receive("!in a coroutine")
        self.assertEqual(self.found["in the coroutine"], ["from a thread", "from a coroutine"])
