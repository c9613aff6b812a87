"""The guides to pages, event streams and WebSockets work when they are followed, with real clients and behind nginx."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from signal import SIGTERM
from textwrap import dedent, indent
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Event, Request, TextMessage

from errklein.testing import PluginTestCase
from errklein.text import to_ansi
from tests.authority import Authority
from tests.processes import ERRKLEIN, LIMIT, ROOT, Program, free_port
from tests.test_webhooks_guide import split_console
from tests.web.test_real_proxies import DEPLOYMENT, Nginx

GUIDES = ROOT / "docs" / "guides"
PAGE = "".join((GUIDES / f"{name}.md").read_text("utf-8") for name in ("pages", "event-streams", "websockets"))
EXAMPLES = ROOT / "docs" / "examples" / "pages"


def blocks(kind: str) -> list[str]:
    """Return the contents of the pages' blocks of this kind, also of those in lists."""
    return [dedent(block) for _, block in re.findall(rf"^( *)```{kind}\n(.*?)^\1```", PAGE, re.DOTALL | re.MULTILINE)]


[CONFIGURATION] = [block for block in blocks("text") if block.startswith("!plugin config")]


class WebSocketClient:
    """A WebSocket on a blocking socket."""

    def __init__(self, connection: socket.socket, host: str, origin: str) -> None:
        self._socket = connection
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._send(Request(host, "/desk", extra_headers=[(b"Origin", origin.encode())]))
        self.accepted = self.next_event()

    def _send(self, event: Event) -> None:
        self._socket.sendall(self._connection.send(event))

    def next_event(self) -> Event:
        """Return the next event from the server."""
        while True:
            for event in self._connection.events():
                return event
            self._connection.receive_data(self._socket.recv(65536) or None)

    def say(self, text: str) -> None:
        """Send a text."""
        self._send(TextMessage(text))

    def hear(self) -> Any:
        """Return the next text from the server, or the status with which it closes the connection."""
        event = self.next_event()
        if isinstance(event, CloseConnection):
            return event.code
        assert isinstance(event, TextMessage), event
        return event.data


class Stream:
    """A client of an event stream on a blocking socket."""

    def __init__(self, connection: socket.socket, path: str) -> None:
        self._socket = connection
        self._received = b""
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bot.example.net\r\n\r\n".encode())

    def wait_for(self, words: bytes) -> None:
        """Read until the words arrive; raise AssertionError if the connection ends before."""
        while words not in self._received:
            data = self._socket.recv(65536)
            assert data, self._received
            self._received += data

    def wait_for_end(self) -> bool:
        """Read to the end. Return whether the response was incomplete."""
        try:
            while data := self._socket.recv(65536):
                self._received += data
        except ConnectionResetError:
            pass
        return not self._received.endswith(b"0\r\n\r\n")


class PagesGuideTests(TestCase):
    """The commands of the pages, and clients, on a bot in a process of its own."""

    timeout = 120

    def setUp(self) -> None:
        """Start the bot as the page does, on another port."""
        self.port = free_port()
        self.directory = Path(self.mktemp()).absolute()
        shutil.copytree(EXAMPLES, self.directory / "docs" / "examples" / "pages")
        consoles = [split_console(block) for block in blocks("console")]
        [start, *self.consoles] = consoles
        arguments = self.local(start[0]).split()
        self.assertEqual(arguments[0], "errklein")
        self.bot = Program(ERRKLEIN, *arguments[1:], cwd=self.directory, stdin=subprocess.PIPE)
        self.addCleanup(self.bot.kill)
        self.bot.wait_for("Connected to text")
        self.type(CONFIGURATION)
        self.bot.wait_for("Plugin configuration done.")

    def local(self, text: str) -> str:
        """Return a text of the page with the port of this bot."""
        return text.replace("3141", str(self.port))

    def type(self, text: str) -> None:
        """Type a text into the bot's terminal."""
        assert self.bot.process.stdin is not None
        self.bot.process.stdin.write(self.local(text).encode())
        self.bot.process.stdin.flush()

    def connect(self) -> socket.socket:
        """Return a connection to the bot."""
        connection = socket.create_connection(("127.0.0.1", self.port), LIMIT)
        self.addCleanup(connection.close)
        return connection

    def run_script(self, script: str) -> str:
        """Run a script of the page. Return its output."""
        ended = subprocess.run(
            ["bash", "-c", self.local(script)],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            cwd=self.directory,
        )
        return ended.stdout

    def visit(self) -> WebSocketClient:
        """Return a visitor who has sent the token."""
        host = f"127.0.0.1:{self.port}"
        client = WebSocketClient(self.connect(), host, f"http://{host}")
        client.say("s3cret")
        self.assertEqual(client.hear(), "welcome")
        return client

    def test_commands(self) -> None:
        """Each command prints what the page shows below it."""
        for script, output in self.consoles:
            self.assertEqual(self.run_script(script), output, script)

    def test_conversation(self) -> None:
        """A visitor's text appears in the terminal, and an answer at the visitor."""
        client = self.visit()
        client.say("is anybody there?")
        self.bot.wait_for("is anybody there?")
        self.type("!answer good morning\n")
        self.assertEqual(client.hear(), "good morning")

    def test_wrong_token(self) -> None:
        """A visitor with another token is sent away."""
        host = f"127.0.0.1:{self.port}"
        client = WebSocketClient(self.connect(), host, f"http://{host}")
        client.say("guess")
        self.assertEqual(client.hear(), 1008)

    def test_disconnect(self) -> None:
        """The generator of a client that disconnects is closed in a moment."""
        connection = self.connect()
        Stream(connection, "/announcements").wait_for(b"retry: 2000")
        connection.close()
        limit = time.monotonic() + LIMIT
        announce = "curl -s --json '{}' http://127.0.0.1:3141/announce"
        while self.run_script(announce) != "readers: 0\n":
            self.assertLess(time.monotonic(), limit)

    def test_deactivation(self) -> None:
        """Streams and WebSockets of a deactivated plugin end, and its mounts are gone."""
        client, stream = self.visit(), Stream(self.connect(), "/announcements")
        stream.wait_for(b"retry: 2000")
        self.type("!plugin deactivate Desk\n!plugin deactivate Announcements\n")
        self.assertEqual(client.hear(), 1001)
        self.assertTrue(stream.wait_for_end())
        self.bot.wait_for("Plugin Announcements deactivated.")
        for path in ("desk", "desk.html", "announcements.html"):
            status = f"curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:3141/{path}"
            self.assertEqual(self.run_script(status), "404", path)

    def test_stop(self) -> None:
        """Open streams and WebSockets don't delay the stop of the bot."""
        client, stream = self.visit(), Stream(self.connect(), "/announcements")
        stream.wait_for(b"retry: 2000")
        self.bot.signal(SIGTERM)
        self.assertEqual(client.hear(), 1001)
        self.assertTrue(stream.wait_for_end())
        self.assertEqual(self.bot.wait(), -SIGTERM)
        self.assertNotIn("did not finish in time", self.bot.text)

    async def test_nginx(self) -> None:
        """Behind nginx as in the guides, events arrive at once, and a WebSocket opens."""
        from twisted.internet import reactor

        authority = Authority()
        bundle = self.directory / "bundle.pem"
        bundle.write_bytes(authority.bundle(authority.issue("bot.example.net")))
        http, https = free_port(), free_port()
        location = indent((DEPLOYMENT / "nginx-websocket.conf").read_text(), "    ")
        proxy = Nginx(
            "nginx.conf",
            {
                "127.0.0.1:3141": f"127.0.0.1:{self.port}",
                "listen [::]:80;": "",
                "listen 80;": f"listen 127.0.0.1:{http};",
                "listen [::]:443 ssl;": "",
                "listen 443 ssl;": f"listen 127.0.0.1:{https} ssl;",
                "/etc/ssl/bot.example.net/fullchain.pem": str(bundle),
                "/etc/ssl/bot.example.net/privkey.pem": str(bundle),
                "    location / {": f"{location}\n    location / {{",
            },
        )
        proxy.port = https
        self.addCleanup(proxy.stop)
        proxy.start()
        await proxy.wait_until_up(reactor)
        context: ssl.SSLContext = authority.client()

        def connect() -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", https), LIMIT)
            secured = context.wrap_socket(connection, server_hostname="bot.example.net")
            self.addCleanup(secured.close)
            return secured

        def use() -> None:
            stream = Stream(connect(), "/announcements")
            stream.wait_for(b"retry: 2000")
            self.run_script('curl -s --json \'{"text": "lunch"}\' http://127.0.0.1:3141/announce')
            stream.wait_for(b"lunch")
            client = WebSocketClient(connect(), "bot.example.net", f"http://127.0.0.1:{self.port}")
            client.say("s3cret")
            self.assertEqual(client.hear(), "welcome")

        await deferToThread(use)


class WebstatusTests(PluginTestCase):
    """The list of mounts."""

    plugin_dirs = (EXAMPLES,)

    def test_webstatus(self) -> None:
        """The page shows what `!webstatus` lists, as it appears on a terminal."""
        self.bot.say("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.bot.say(CONFIGURATION.strip())
        bodies: list[str] = []
        self.bot.backend.watch(lambda sent: bodies.append(sent.message.body))
        self.bot.say("!webstatus")
        [shown] = [block for block in blocks("text") if block.startswith("Mounted")]
        self.assertIn(shown, re.sub(r"\x1b\[\d+m", "", to_ansi(bodies[0])))
