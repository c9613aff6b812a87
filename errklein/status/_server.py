"""The status server, a small site on an endpoint of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from errklein.bot import Bot
from errklein.listening import Listeners
from errklein.status._journal_watch import JournalWatch
from errklein.status._readiness import problems

_IDLE = 30
"""The seconds after which an idle connection is closed."""


class StatusServer:
    """Responds to `/health`, `/ready` and `/metrics` from before the start of the bot until after its end.

    Requests aren't authenticated, and responses contain no secrets.

    :param endpoint: The endpoint as Twisted's description.
    :param public: The endpoints of the web server.
    """

    def __init__(self, reactor: Any, endpoint: str, public: Sequence[str] = ()) -> None:
        self.endpoint = endpoint
        self._reactor = reactor
        self._public = public
        self._bot: Bot | None = None
        self._journal: JournalWatch | None = None
        self.resource = Resource()
        self.resource.putChild(b"health", _Page(lambda _: (200, "ok\n")))
        self.resource.putChild(b"ready", _Page(self._ready))
        site = _QuietSite(self.resource, reactor=reactor, timeout=_IDLE)  # type: ignore[no-untyped-call]
        self._listeners = Listeners(reactor, site)

    def open(self) -> Deferred[None]:
        """Open the endpoint. The Deferred fails with ListenError."""
        return self._listeners.open(self.endpoint)

    def watch(self, bot: Bot) -> None:
        """Report the state of the bot from now on."""
        self._bot, self._journal = bot, JournalWatch(self._reactor, bot.journal)

    def close(self) -> Deferred[None]:
        """Close the endpoint."""
        if self._journal is not None:
            self._journal.stop()
        return self._listeners.close_all()

    def problems(self) -> Mapping[str, str]:
        """Return the problem of each part of the bot; "" if the part works."""
        if self._bot is None or self._journal is None:
            return {"phase": "the bot is starting"}
        return problems(self._bot, self._journal, self._public)

    def _ready(self, request: Request) -> tuple[int, str]:
        found = self.problems()
        ready = not any(found.values())
        parts = {part: problem or "ok" for part, problem in found.items()}
        request.setHeader(b"Content-Type", b"application/json")
        return 200 if ready else 503, json.dumps({"ready": ready, **parts}) + "\n"


class _Page(Resource):
    """A page whose function gets the request, and returns the status and the text."""

    isLeaf = True

    def __init__(self, respond: Callable[[Request], tuple[int, str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._respond = respond

    def render_GET(self, request: Request) -> bytes:
        """Return the body. Called by Twisted."""
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        status, text = self._respond(request)
        request.setResponseCode(status)
        return text.encode()


class _QuietSite(Site):
    """A site without an access log and without tracebacks in responses."""

    noisy = False
    displayTracebacks = False

    def log(self, request: Any) -> None:
        """Do nothing."""
