"""A bot as in production, with real sockets, threads and reactor, but with a network in memory."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import TestCase

from errklein.bot import Bot
from errklein.config import load_config
from errklein.networks.test import TestBackend
from errklein.wiring import wire
from tests import needs_network
from tests.processes import free_port

FIXTURES = Path(__file__).parent / "chapter" / "fixtures"
ADMIN = "@admin"


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()


class RealBotCase(TestCase):
    """A test with a running bot and the fixture plugins that the class names."""

    timeout = 120

    fixtures: Sequence[str] = ()
    """Folders below `chapter/fixtures`."""

    config: Mapping[str, object] = {}
    """Settings by name."""

    bot: Bot
    backend: TestBackend

    async def setUp(self) -> None:
        """Start the bot."""
        needs_network()
        await self.start_bot(*(FIXTURES / name for name in self.fixtures))

    async def start_bot(self, *plugin_dirs: Path) -> None:
        """Start a bot with the plugins below these directories; it is stopped after the test."""
        from twisted.internet import reactor

        registerAsIOThread()
        settings: dict[str, object] = {
            "NETWORKS": {"test": {"BACKEND": "Test"}},
            "STORAGE": "Memory",
            "BOT_ADMINS": (ADMIN,),
            "BOT_DATA_DIR": self.mktemp(),
            "CHATROOM_PRESENCE": ("#ops", "#dev"),
            "BOT_EXTRA_PLUGIN_DIR": [str(directory) for directory in plugin_dirs],
            **self.config,
        }
        Path(str(settings["BOT_DATA_DIR"])).mkdir()
        _, make_bot = wire(reactor, load_config(None, settings))
        self.bot = make_bot()
        self.backend = next(iter(self.bot.backends.values()))  # type: ignore[assignment]
        await self.bot.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.bot.stop(1)))
        problems = [plugin.problem for plugin in self.bot.plugin_manager.found if plugin.problem]
        self.assertEqual(problems, [])

    async def say(
        self, text: str, replies: int = 1, frm: str = ADMIN, to: str | None = None, network: str = ""
    ) -> list[str]:
        """Send a message on a network, by default the first, and return this number of messages of the bot."""
        backend: Any = self.bot.backends[network] if network else self.backend
        before = len(backend.sent)
        done: Deferred[None] = Deferred()

        def heard(_: object) -> None:
            if len(backend.sent) - before >= replies and not done.called:
                done.callback(None)

        backend.watch(heard)
        backend.receive(text, frm=frm, to=to)
        heard(None)
        await done
        return [sent.text for sent in backend.sent[before:]]

    async def command(self, text: str, frm: str = ADMIN) -> str:
        """Return the reply to a command."""
        return (await self.say(text, frm=frm))[0]

    async def configure(self, **changes: Any) -> int:
        """Configure the Webserver plugin as the chapter describes, with some changes; return the port of HTTP."""
        port: int = changes.get("PORT") or free_port()
        configuration = {"HOST": "127.0.0.1", "PORT": port, **changes}
        reply = await self.command(f"!plugin config Webserver {configuration!r}")
        self.assertEqual(reply, "Plugin configuration done.")
        return port


def exchange(
    port: int,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    certificate: Path | None = None,
) -> Answer:
    """Send a request to 127.0.0.1 with Python's HTTP client, by TLS if a trusted certificate is given."""
    if certificate is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    else:
        context = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        connection.request(method, path, body.encode() if isinstance(body, str) else body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


async def request(
    port: int,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    certificate: Path | None = None,
) -> Answer:
    """Send a request as `exchange` does, without blocking the reactor."""
    answer: Answer = await deferToThread(exchange, port, method, path, body, headers, certificate=certificate)
    return answer


async def post(port: int, path: str, body: bytes | str = b"", content_type: str = "", **headers: str) -> Answer:
    """Send a POST request to 127.0.0.1."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        given["Content-Type"] = content_type
    return await request(port, "POST", path, body, given)
