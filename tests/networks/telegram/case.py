"""A connection to the double of Telegram in virtual time, without sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.chat.operations import Wanted
from errklein.http_client import HTTPClients
from errklein.networks.context import NetworkContext
from errklein.networks.telegram._backend import TelegramBackend
from errklein.running import register_reactor_thread
from errklein.storage import MemoryStorage
from errklein.testing import StubHTTP
from errklein.testing.backend_contract import ContractReactor
from tests.networks.double import Answer, Call
from tests.networks.events import Events
from tests.networks.telegram.server import ALICE, GROUP, TOKEN, FakeTelegram

URL = "https://api.telegram.org"
HANGS = "hangs"  # instead of an answer


def respond(server: FakeTelegram, request: Any) -> Any:
    """Return the answer of the double to a request without a socket; one for updates that finds none is answered later."""
    headers = {"content-type": request.header("Content-Type") or ""}
    content = json.loads(request.body) if request.body and "json" in headers["content-type"] else None
    path, wait = request.url.removeprefix(URL), 0
    if content and path.endswith("/getUpdates"):
        wait, content["timeout"] = content["timeout"], 0
    call = Call(request.method, path, {}, headers, request.body, content)
    server.calls.append(call)
    try:
        found = server.answer(call)
    except Answer as refused:
        return refused.status, refused.content
    if isinstance(found, Answer):
        return found.status, found.content
    return 200, found, 0 if found["result"] else wait


class TelegramCase(SynchronousTestCase):
    """A bot in a group with alice and bob. `self.faults` has answers instead of those of the double, by method."""

    identity: Mapping[str, Any] = {"token": TOKEN}

    def setUp(self) -> None:
        """Start the bot."""
        self.clock = ContractReactor()
        self.clock.advance(1_800_000_000)
        register_reactor_thread(self.clock)
        self.server = FakeTelegram(self.clock, self.clock.seconds)
        self.server.begin(ALICE)
        self.faults: list[tuple[str, Any]] = []
        self.http = StubHTTP()
        self.http.serve(URL, self.respond)
        self.storage, self.notices = MemoryStorage(), list[str]()
        self.routes: list[Any] = []
        self.settings: dict[str, Any] = {}
        self.start()

    def respond(self, request: Any) -> Any:
        """Answer to a request."""
        for number, (pattern, answer) in enumerate(self.faults):
            if re.search(pattern, request.url):
                del self.faults[number]
                if answer == HANGS:
                    return 200, {}, 100_000
                if answer == "lost":
                    respond(self.server, request)
                    return 502, None
                return answer.status, answer.content
        return respond(self.server, request)

    def start(self) -> None:
        """Connect, as a new process does."""
        settings = {
            "network": "telegram",
            "BACKEND": "Telegram",
            "BOT_IDENTITY": self.identity,
            "BOT_ADMINS": (str(ALICE),),
            "BOT_PREFIX": "!",
            "CHATROOM_PRESENCE": (str(GROUP),),
        }
        config: Any = SimpleNamespace(**settings | self.settings)
        self.events = Events(self.clock)
        self.context = NetworkContext(
            self.clock,
            config,
            self.clock.seconds,
            lambda: 0.0,
            clients=HTTPClients(self.clock, self.http.agent),
            storage=self.storage,
            notify=self.notify,
            set_routes=lambda owner, hooks: self.routes.append((owner, hooks)),
        )
        self.backend = TelegramBackend(self.context)
        self.backend.connect(self.events)  # type: ignore[arg-type]
        self.wait(1)

    def notify(self, key: Any, text: str, *more: object, **options: object) -> None:
        """Note a notice, each once, as the bot does."""
        if text not in self.notices:
            self.notices.append(text)

    def stop(self) -> None:
        """Disconnect."""
        self.successResultOf(self.backend.disconnect())

    def wait(self, seconds: float = 51) -> None:
        """Let time pass: by default until the bot has asked for updates again."""
        step = 1 if seconds < 200 else 10
        for _ in range(int(seconds) // step):
            self.clock.advance(step)

    def copy_of_storage(self) -> MemoryStorage:
        """Return what is stored now."""
        copied = MemoryStorage()
        for name in self.storage.namespaces():
            store, copy = self.storage.open(name), copied.open(name)
            for key in list(store.keys()):
                copy.set(key, store.get(key))
        return copied

    def hears(self, text: str, chat: int = GROUP, by: int = ALICE, **more: Any) -> Message:
        """Let a person write, and return the message as the bot gets it."""
        self.server.say(chat, text, by, **more)
        self.wait()
        return self.events.messages[-1]

    def perform(
        self, body: str = "", wanted: Wanted | None = None, file: bytes = b"", to: int = GROUP, **attributes: Any
    ) -> Deferred[Any]:
        """Let the bot do something."""
        message = Message(body, to=self.backend.build_identifier(str(to)))
        vars(message).update(attributes)
        done: Any = self.backend.perform(message, wanted or Wanted(), file)
        self.clock.advance(1)
        return done
