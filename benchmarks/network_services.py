"""Replacements for the services of errbot's backends on PyPI; both bots get the same ones.

Each is the minimum that a bot needs: the responses for its SDK are generated, or a server speaks the protocol on
127.0.0.1. Alice sends messages, in private and in a room, and the bot's messages are put into `said`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import re
import socket
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Protocol
from unittest.mock import MagicMock
from urllib.parse import parse_qsl, unquote, urlsplit


class Service(Protocol):
    """A replaced service."""

    network: str
    """The name of the backend."""
    settings: Mapping[str, Any]
    rooms: Sequence[str]
    """The places of Alice's messages: "private", "room"."""
    said: Queue[tuple[str, str]]
    """The places and texts of the bot's messages."""

    def install(self, files: Path) -> Mapping[str, Any]:
        """Replace the service in the bot's process, before the bot is created; return settings that depend on files."""

    def wait_until_listening(self, bot: Any) -> None:
        """Wait until the bot receives messages."""

    def say(self, where: str, text: str) -> None:
        """Send a message from Alice."""


class Slack:
    """The SDK's only method that contacts Slack returns generated responses; events have Slack's signature."""

    network = "SlackV3"
    rooms = ("private", "room")

    def __init__(self) -> None:
        identity = {"token": "xoxb-1", "signing_secret": "secret"}
        self.settings: Mapping[str, Any] = {"BOT_ADMINS": ("@alice",), "BOT_IDENTITY": identity}
        self.said: Queue[tuple[str, str]] = Queue()
        self._port = free_port()

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        import slack_sdk.web.client
        from slack_sdk.web.slack_response import SlackResponse

        def api_call(client: Any, method: str, *, http_verb: str = "POST", **given: Any) -> Any:
            sent = {**(given.get("data") or {}), **(given.get("params") or {}), **(given.get("json") or {})}
            data = {"ok": True, "team": {"domain": "x", "id": "T"}, **self._answer(method, sent)}
            headers = {"x-oauth-scopes": "chat:write"}
            return SlackResponse(
                client=client,
                http_verb=http_verb,
                api_url=method,
                req_args={},
                data=data,
                headers=headers,
                status_code=200,
            )

        slack_sdk.web.client.WebClient.api_call = api_call
        return {"BOT_EXTRA_BACKEND_DIR": str(files / "slackv3")}

    def wait_until_listening(self, bot: Any) -> None:
        """As Service.wait_until_listening."""
        manager = bot.plugin_manager
        web = {"HOST": "127.0.0.1", "PORT": self._port, "SSL": None}
        wait_for(lambda: getattr(manager.get_plugin_obj_by_name("Speaker"), "is_activated", False))
        manager.set_plugin_configuration("Webserver", web)
        manager.deactivate_plugin("Webserver")
        manager.activate_plugin("Webserver")
        wait_for(lambda: self._post({"type": "url_verification", "challenge": "abc"}) == 200)

    def say(self, where: str, text: str) -> None:
        """As Service.say."""
        channel = {"channel": "D1", "channel_type": "im"}
        if where == "room":
            channel = {"channel": "C1", "channel_type": "channel"}
        event = {"type": "message", **channel, "user": "U1", "text": text, "ts": "1.1"}
        self._post({"type": "event_callback", "event": event})

    def _answer(self, method: str, sent: Mapping[str, Any]) -> Mapping[str, Any]:
        if method == "auth.test":
            return {"user_id": "UBOT", "team": "T", "bot_id": "BBOT", "url": "https://x.slack.com/"}
        if method == "users.info":
            name = "errbot" if sent["user"] == "UBOT" else "alice"
            profile = {"display_name": name, "email": f"{name}@example.org"}
            user = {"id": sent["user"], "name": name, "real_name": name, "team_id": "T", "is_bot": False}
            return {"user": {**user, "profile": profile}}
        if method == "chat.postMessage":
            channel = str(sent["channel"])
            self.said.put(("private" if channel.startswith("D") else "room", str(sent["text"])))
            return {"ts": "1.2", "channel": channel, "message": {"ts": "1.2"}}
        if method.startswith("conversations."):
            channel = sent.get("channel") or "D1"
            known = {"id": channel, "name": "general", "is_im": channel.startswith("D"), "is_channel": True}
            known |= {"is_member": True, "is_private": False, "is_group": False, "is_mpim": False}
            known |= {"topic": {"value": "t"}, "purpose": {"value": "p"}, "is_archived": False}
            return {"channel": known, "channels": [{"id": "C1", "name": "general"}], "members": ["U1"]}
        return {}

    def _post(self, event: Mapping[str, Any]) -> int:
        body, now = json.dumps(event), str(int(time.time()))
        signature = hmac.new(b"secret", f"v0:{now}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": f"v0={signature}"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("POST", "/slack/events", body, {"Content-Type": "application/json", **headers})
            return connection.getresponse().status
        finally:
            connection.close()


class Discord:
    """The client of discord.py doesn't connect: it is ready at once, with two users."""

    network = "Discord"
    rooms = ("private",)

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {"BOT_ADMINS": ("alice#0001",), "BOT_IDENTITY": {"token": "t"}}
        self.said: Queue[tuple[str, str]] = Queue()
        self._client: Any = None

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        import discord

        service = self

        class User:
            bot = False
            discriminator = "0001"

            def __init__(self, number: int, name: str) -> None:
                self.id, self.name = number, name

            async def send(self, **given: Any) -> None:
                service.said.put(("private", given["content"]))

            @asynccontextmanager
            async def typing(self) -> Any:
                yield

        class Private(discord.abc.PrivateChannel):
            id = 5
            me = None

            def __init__(self) -> None:
                pass

        users = {10**17: User(10**17, "bot"), 2 * 10**17: User(2 * 10**17, "alice")}
        self._alice, self._channel = users[2 * 10**17], Private()

        async def start(client: Any, token: str) -> None:
            client.get_user = users.get
            client._connection.user = users[10**17]
            client.get_all_channels = list
            client.loop = asyncio.get_running_loop()
            await client.on_ready()
            self._client = client
            await asyncio.Event().wait()

        discord.Client.start = start
        return {"BOT_EXTRA_BACKEND_DIR": str(files / "err-backend-discord")}

    def wait_until_listening(self, bot: Any) -> None:
        """As Service.wait_until_listening."""
        wait_for(lambda: self._client)

    def say(self, where: str, text: str) -> None:
        """As Service.say."""
        message = types.SimpleNamespace(
            content=text, embeds=[], channel=self._channel, author=self._alice, mentions=[], attachments=[]
        )
        asyncio.run_coroutine_threadsafe(self._client.on_message(message), self._client.loop)


class Aprs:
    """A server of APRS-IS, which acknowledges messages to Alice."""

    network = "APRS"
    rooms = ("private",)

    def __init__(self) -> None:
        self.said: Queue[tuple[str, str]] = Queue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._number = 10
        identity = {"callsign": "ERRBOT", "password": "123", "host": "127.0.0.1"}
        identity["port"] = self._listener.getsockname()[1]
        self.settings: Mapping[str, Any] = {
            "BOT_ADMINS": ("N0ABC",),
            "BOT_IDENTITY": identity,
            "APRS_REGISTRY_ENABLED": "false",
            "APRS_HELP_TEXT": "Ask Alice.",
            # The backend's own plugin replaces errbot's.
            "CORE_PLUGINS": ("Utils", "ACLs", "APRSHelp"),
        }

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        threading.Thread(target=self._serve, daemon=True).start()
        directory = str(files / "aprs_backend")
        return {"BOT_EXTRA_BACKEND_DIR": directory, "BOT_EXTRA_PLUGIN_DIR": (directory,)}

    def wait_until_listening(self, bot: Any) -> None:
        """As Service.wait_until_listening."""
        wait_for(lambda: self._connection)
        time.sleep(1)

    def say(self, where: str, text: str) -> None:
        """As Service.say."""
        self._number += 1
        self._send(f"N0ABC>APRS,TCPIP*,qAC,T2::ERRBOT   :{text}{{{self._number}")

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        connection.recv(1000)
        connection.sendall(b"# aprsc 2.1\r\n# logresp ERRBOT verified, server T2\r\n")
        self._connection = connection
        seen = set()
        for line in connection.makefile(encoding="utf-8", newline="\r\n"):
            message = re.search(r"::N0ABC\s+:(.*?)(?:\{(\w+))?\r?\n", line)
            if message is None or message[1].startswith("ack"):
                continue
            if message[2]:
                self._send(f"N0ABC>APRS,TCPIP*,qAC,T2::ERRBOT   :ack{message[2]}")
            if message.groups() not in seen:
                seen.add(message.groups())
                self.said.put(("private", message[1]))

    def _send(self, line: str) -> None:
        assert self._connection is not None
        self._connection.sendall(f"{line}\r\n".encode())


class Mattermost:
    """The driver returns generated responses, and its loop delivers Alice's messages."""

    network = "Mattermost"
    rooms = ("private", "room")

    def __init__(self) -> None:
        identity = {"team": "team", "server": "x", "login": "l", "password": "p"}
        self.settings: Mapping[str, Any] = {"BOT_ADMINS": ("@alice",), "BOT_IDENTITY": identity}
        self.said: Queue[tuple[str, str]] = Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Any = None

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        import mattermostdriver

        names, service = {"me": "bot", "B": "bot", "U1": "alice"}, self

        class Driver:
            def __init__(self, options: Mapping[str, Any]) -> None:
                self.options = options
                self.client = types.SimpleNamespace(token="token")
                self.teams, self.users, self.channels, self.posts = MagicMock(), MagicMock(), MagicMock(), MagicMock()
                self.teams.get_team_by_name.return_value = {"id": "T", "name": "team"}
                self.users.get_user.side_effect = lambda user_id: {
                    "id": "B" if user_id == "me" else user_id,
                    "username": names[user_id],
                    "first_name": "F",
                    "last_name": "L",
                    "email": "e@example.org",
                }
                self.users.get_user_by_username.side_effect = lambda username: {
                    "id": next(number for number, name in names.items() if name == username and number != "me")
                }
                self.channels.create_direct_message_channel.side_effect = lambda options: {"id": "D1"}
                self.channels.get_channel.side_effect = lambda channel_id: {"id": channel_id, "name": "town"}
                self.channels.get_channel_by_name.side_effect = lambda **given: {"id": "C1", "name": "town"}
                self.posts.create_post.side_effect = self._post

            def login(self) -> None:
                pass

            def logout(self) -> None:
                pass

            def init_websocket(self, event_handler: Any) -> asyncio.AbstractEventLoop:
                service._handler = event_handler
                service._loop = asyncio.new_event_loop()
                service._loop.call_soon(service._tell, {"event": "hello", "data": {}, "broadcast": {}})
                return service._loop

            def _post(self, options: Mapping[str, Any]) -> Mapping[str, str]:
                service.said.put(("private" if options["channel_id"] == "D1" else "room", options["message"]))
                return {"id": "p"}

        mattermostdriver.Driver = Driver
        return {"BOT_EXTRA_BACKEND_DIR": str(files / "err-backend-mattermost")}

    def wait_until_listening(self, bot: Any) -> None:
        """As Service.wait_until_listening."""
        wait_for(lambda: self._loop is not None and self._loop.is_running())

    def say(self, where: str, text: str) -> None:
        """As Service.say."""
        channel, kind = ("C1", "O") if where == "room" else ("D1", "D")
        post = {"id": "p1", "user_id": "U1", "channel_id": channel, "message": text, "type": "", "root_id": ""}
        data = {
            "channel_type": kind,
            "channel_name": "town",
            "team_id": "T",
            "mentions": "[]",
            "post": json.dumps(post),
        }
        event = {"event": "posted", "data": data, "broadcast": {"channel_id": channel}}
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._tell, event)

    def _tell(self, event: Mapping[str, Any]) -> None:
        async def handle() -> None:
            handled = self._handler(json.dumps(event))
            if hasattr(handled, "__await__"):
                await handled

        self._task = asyncio.ensure_future(handle(), loop=self._loop)


class MattermostAsOnPython310(Mattermost):
    """Mattermost, with a name that its driver needs and Python 3.11 has removed."""

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        asyncio.coroutine = types.coroutine
        return super().install(files)


class Matrix:
    """A homeserver with two rooms: one with Alice and the bot, which counts as private, and one with Carol, too."""

    network = "Matrix"
    rooms = ("private", "room")

    def __init__(self) -> None:
        self.said: Queue[tuple[str, str]] = Queue()
        self._heard: Queue[Mapping[str, Any]] = Queue()
        self._server = self._homeserver()
        self._number = 0
        homeserver = f"http://127.0.0.1:{self._server.server_address[1]}"
        identity = {"homeserver": homeserver, "username": "@bot:x", "password": "p"}
        self.settings: Mapping[str, Any] = {"BOT_ADMINS": ("@alice:x",), "BOT_IDENTITY": identity}
        self._synced = threading.Event()

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return {"BOT_EXTRA_BACKEND_DIR": str(files / "err_backend_matrix")}

    def wait_until_listening(self, bot: Any) -> None:
        """As Service.wait_until_listening."""
        wait_for(self._synced.is_set)

    def say(self, where: str, text: str) -> None:
        """As Service.say."""
        event = self._event("m.room.message", "@alice:x", {"msgtype": "m.text", "body": text})
        self._heard.put({f"!{where}:x": {"timeline": {"events": [event]}}})

    def _answer(self, method: str, path: str, sent: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if path.endswith("/login") and method == "POST":
            return {"user_id": "@bot:x", "device_id": "D", "access_token": "t"}
        if path.endswith("/sync") and "since" in sent:
            self._synced.set()
            try:
                heard = self._heard.get(timeout=20)
            except Empty:
                return {"next_batch": sent["since"]}
            return {"next_batch": str(int(sent["since"]) + 1), "rooms": {"join": heard}}
        if path.endswith("/sync"):
            members = {"!private:x": ("alice", "bot"), "!room:x": ("alice", "bot", "carol")}
            joined = {room: {"state": {"events": [*map(self._member, members[room])]}} for room in members}
            return {"next_batch": "0", "rooms": {"join": joined}}
        message = re.search(r"/rooms/!(\w+):x/send/m\.room\.message/", path)
        if message and method == "PUT":
            self.said.put((message[1], f"{sent['body']} = {sent['formatted_body']}"))
            return {"event_id": "$said"}
        return {} if path.endswith("/status") else None

    def _member(self, name: str) -> Mapping[str, Any]:
        content = {"membership": "join", "displayname": name.title()}
        return {**self._event("m.room.member", f"@{name}:x", content), "state_key": f"@{name}:x"}

    def _event(self, kind: str, sender: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        self._number += 1
        return {
            "type": kind,
            "sender": sender,
            "content": content,
            "event_id": f"${self._number}",
            "origin_server_ts": int(time.time() * 1000),
        }

    def _homeserver(self) -> ThreadingHTTPServer:
        service = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                sent = {**dict(parse_qsl(url.query)), **json.loads(body or b"{}")}
                found = service._answer(self.command, unquote(url.path), sent)
                unknown = {"errcode": "M_UNRECOGNIZED", "error": f"{self.command} {url.path}"}
                self.send_response(404 if found is None else 200)
                content = json.dumps(unknown if found is None else found).encode()
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *given: Any) -> None:
                pass

        return ThreadingHTTPServer(("127.0.0.1", 0), Request)


class MatrixFoundByItsPlug(Matrix):
    """Matrix, with a .plug file whose module is beside it, since the original's isn't."""

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        beside = Path(tempfile.mkdtemp(dir=Path.cwd()))
        (beside / "matrix.plug").write_text("[Core]\nName = Matrix\nModule = found\n[Python]\nVersion = 3\n")
        (beside / "found.py").write_text("from err_backend_matrix import MatrixBackend\n")
        return {**super().install(files), "BOT_EXTRA_BACKEND_DIR": str(beside)}


class Webapp:
    """A browser that uses the backend's own web server."""

    network = "Webapp"
    rooms = ("private",)

    def __init__(self) -> None:
        self.said: Queue[tuple[str, str]] = Queue()
        self._port = free_port()
        self.settings: Mapping[str, Any] = {
            "BOT_ADMINS": ("@webuser",),
            "BOT_IDENTITY": {"username": "bot", "host": "127.0.0.1", "port": self._port},
        }

    def install(self, files: Path) -> Mapping[str, Any]:
        """As Service.install."""
        return {"BOT_EXTRA_BACKEND_DIR": str(files / "errbot_backend_webapp")}

    def wait_until_listening(self, bot: Any) -> None:
        """As Service.wait_until_listening."""
        wait_for(lambda: socket.create_connection(("127.0.0.1", self._port), 1))

    def say(self, where: str, text: str) -> None:
        """As Service.say."""
        from websockets.sync.client import connect

        with connect(f"ws://127.0.0.1:{self._port}/connect", open_timeout=5) as browser:
            browser.send(text)
            self.said.put(("private", str(browser.recv(5))))


SERVICES: Mapping[str, type[Any]] = {
    "SlackV3": Slack,
    "Discord": Discord,
    "APRS": Aprs,
    "Mattermost": Mattermost,
    "Mattermost, asyncio.coroutine put back": MattermostAsOnPython310,
    "Matrix": Matrix,
    "Matrix, its .plug put right": MatrixFoundByItsPlug,
    "Webapp": Webapp,
}


def wait_for(condition: Any, seconds: float = 20) -> None:
    """Return as soon as the condition is true; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the bot doesn't listen")


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
