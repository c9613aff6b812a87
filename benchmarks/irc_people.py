"""IRC servers and people on loopback, for the benchmarks of bots on IRC."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bots import HERE

sys.path.insert(0, str(HERE.parent))

from tests.networks.irc.ngircd import Ngircd
from tests.server_program import ServerProgram

BOT = "thebot"
LIMIT = 30.0
"""The seconds within which a server accepts connections, and a person has joined a room."""


class UnlimitedNgircd(Ngircd):
    """An ngircd that delays nobody, and lets everybody join as many rooms as there are."""

    def __init__(self) -> None:
        super().__init__(penalties=False)
        text = self.configuration.read_text(encoding="utf-8")
        self.configuration.write_text(text.replace("[Limits]\n", "[Limits]\nMaxJoins = 0\n"), encoding="utf-8")


@contextmanager
def running_server(server: ServerProgram) -> Iterator[ServerProgram]:
    """Run a server, and yield it when it accepts connections."""
    try:
        start(server)
        yield server
    finally:
        server.stop()


def start(server: ServerProgram) -> None:
    """Start a server, and wait until it accepts connections."""
    server.start()
    limit = time.monotonic() + LIMIT
    while not server.is_up():
        if time.monotonic() > limit:
            raise RuntimeError(f"{server.name} doesn't accept connections")
        time.sleep(0.02)


def settings(port: int, rooms: Sequence[str], **others: object) -> str:
    """Return lines of a config.py that let errklein and errbot join rooms of a server, without a limit of their rate."""
    lines = {
        "BACKEND": "IRC",
        "BOT_IDENTITY": {"nickname": BOT, "server": "127.0.0.1", "port": port},
        "BOT_ADMINS": ("admin!*@*",),
        "CHATROOM_PRESENCE": tuple(rooms),
        "IRC_CHANNEL_RATE": 0,
        "IRC_PRIVATE_RATE": 0,
        "COMMAND_RATE": None,
        # errbot joins rooms in ChatRoom.
        "CORE_PLUGINS": (
            "ACLs",
            "ChatRoom",
            "CommandNotFoundFilter",
            "Health",
            "Help",
            "Plugins",
            "Utils",
            "Webserver",
        ),
        **others,
    }
    return "".join(f"{name} = {value!r}\n" for name, value in lines.items())


def add_settings(bot_directory: Path, lines: str) -> None:
    """Add lines to the config.py of a bot."""
    with (bot_directory / "config.py").open("a", encoding="utf-8") as config:
        config.write(lines)


class Person(asyncio.Protocol):
    """A connection of a person.

    :param hear: Called with the time, the room or nick that a message of the bot went to, and its text.
    """

    def __init__(self, nick: str, hear: Callable[[float, str, str], None]) -> None:
        self.nick = nick
        self._hear = hear
        self._rest = b""
        self._sender = f":{BOT}".encode()
        self._welcomed = asyncio.Event()
        self._joined: dict[bytes, asyncio.Event] = {}
        self._bot_in: dict[bytes, asyncio.Event] = {}
        self._transport: asyncio.WriteTransport | None = None

    async def join(self, port: int, *rooms: str) -> Person:
        """Connect to a server on loopback, and join rooms."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        async with asyncio.timeout(LIMIT):
            await self._welcomed.wait()
            for room in rooms:
                joined = self._joined[room.encode()] = asyncio.Event()
                self._bot_in[room.encode()] = asyncio.Event()
                self.send(f"JOIN {room}")
                await joined.wait()
        return self

    async def await_bot(self, limit: float = LIMIT) -> None:
        """Wait until the bot has joined the person's rooms."""
        async with asyncio.timeout(limit):
            for event in self._bot_in.values():
                await event.wait()

    def forget_bot(self) -> None:
        """Forget that the bot has joined the rooms, before it is started again."""
        for event in self._bot_in.values():
            event.clear()

    def send(self, line: str) -> None:
        """Send a line."""
        assert self._transport is not None
        self._transport.write(line.encode() + b"\r\n")

    def leave(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the server."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._socket = transport.get_extra_info("socket")
        self.send(f"NICK {self.nick}\r\nUSER {self.nick} 0 * :{self.nick}")

    def data_received(self, data: bytes) -> None:
        """Handle lines."""
        now = time.monotonic()
        # The server sends nothing more until what it has sent is acknowledged (Nagle's algorithm); people who only listen
        # acknowledge after up to 40 ms, which would be part of each bot's times.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line.startswith(self._sender):
                self._handle_bot(now, line)
            elif line.startswith(b"PING"):
                self.send("PONG" + line[4:].decode())
            elif b"PRIVMSG" not in line:
                self._handle_reply(line.split(b" "))

    def _handle_bot(self, now: float, line: bytes) -> None:
        _, command, target, *text = line.split(b" ", 3)
        if command in (b"PRIVMSG", b"NOTICE"):
            self._hear(now, target.decode(), text[0][1:].decode())
        elif command == b"JOIN" and (event := self._bot_in.get(target.lstrip(b":"))):
            event.set()

    def _handle_reply(self, words: Sequence[bytes]) -> None:
        if len(words) > 3 and words[1] == b"001":
            self._welcomed.set()
        elif len(words) > 3 and words[1] == b"366" and (event := self._joined.get(words[3])):
            event.set()
