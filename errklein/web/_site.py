"""The site, which creates the connections, the request ids, the access log and the counts of responses."""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from contextvars import copy_context
from itertools import count
from resource import RLIMIT_NOFILE, getrlimit
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web import server
from twisted.web.http import datetimeToString

from errklein.listening import ConnectionLimits
from errklein.running import DeadlineSweeper, ReactorLag, TimeSlices, WorkerPool, context
from errklein.text import truncated
from errklein.web._channel import Channel
from errklein.web._http1 import NO_HEAD
from errklein.web._settings import WebSettings
from errklein.web.request import BodyMemory, HTTPRequest, shown_path

if TYPE_CHECKING:
    from errklein.web._intake import Intake


BOUNDS = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0)
"""The upper bounds in seconds of the classes in which durations are counted. The last class has no bound."""

OTHER = "other"  # the webhook of requests that no webhook gets

REFUSALS = ("signature", "malformed", "time", "address", "payload", "rate", "size", "slow", "unavailable")
"""The kinds of reasons for which requests for webhooks are refused."""

_MOST = 2000  # the number of webhooks with each of their statuses. Later ones are counted as OTHER.

LONGEST_METHOD = 20  # the number of characters of a method that are logged


class Durations:
    """Durations in classes: `counts` has their number in each class, and `total` is their sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class ResponseCounts:
    """Counts for monitoring, in plain dicts, since each request changes them: the responses by webhook and status, the durations of handlers by webhook and outcome, and refused requests by webhook and reason.

    The name is "Plugin:method" for a webhook and "Plugin:/path" for a mount. An outcome is "succeeded", "rejected" (4xx), "failed" (5xx) or "overdue" (504).
    """

    def __init__(self) -> None:
        self.responses: dict[tuple[str, int], int] = {}
        self.handlers: dict[tuple[str, str], Durations] = {}
        self.refused: dict[tuple[str, str], int] = {}

    def add_response(self, webhook: str, status: int) -> None:
        key = webhook, status
        if key not in self.responses and len(self.responses) >= _MOST:
            key = OTHER, status
        self.responses[key] = self.responses.get(key, 0) + 1

    def add_refused(self, webhook: str, kind: str) -> None:
        self.refused[webhook, kind] = self.refused.get((webhook, kind), 0) + 1

    def add_handler(self, webhook: str, status: int, seconds: float) -> None:
        key = webhook, "succeeded" if status < 400 else _outcome(status)
        durations = self.handlers.get(key)
        if durations is None:
            if len(self.handlers) >= _MOST:
                key = OTHER, key[1]
            durations = self.handlers.setdefault(key, Durations())
        durations.add(seconds)


def _outcome(status: int) -> str:
    if status == 504:
        return "overdue"
    return "failed" if status >= 500 else "rejected"


class Site(server.Site):
    """A web site that limits everything a client can send or delay, and logs one line per response."""

    log = Logger(namespace="errklein.web.access")  # type: ignore[assignment]
    noisy = False

    def __init__(self, reactor: Any, settings: WebSettings, intake: Intake, pool: WorkerPool) -> None:
        super().__init__(None, reactor=reactor, parsePOSTFormSubmission=False)  # type: ignore[no-untyped-call]
        self.settings = settings
        self.intake = intake
        self.counts = ResponseCounts()
        self.stopping = False
        self.sweeper = DeadlineSweeper(reactor)
        self.now = reactor.seconds
        self.lag = ReactorLag()
        self.time_slices = TimeSlices(reactor)
        proxies = settings.proxies
        self.limits = ConnectionLimits(
            settings.max_connections,
            settings.max_connections_per_client,
            self.now,
            proxies.trusts if proxies else lambda host: False,
        )
        memory = math.inf if settings.body_memory is None else settings.body_memory / 8
        self.bodies = BodyMemory(memory, pool, self.limits)
        self.request_ids = map(f"{os.urandom(5).hex()}-{{:06x}}".format, count(1))
        """Ids that are unique among the requests of this and earlier processes."""
        self._date_second = -1
        self._date = b""

    def startFactory(self) -> None:
        """Read the limit of file descriptors before the first endpoint is opened. Twisted's access log isn't used."""
        self.limits.use_descriptors(getrlimit(RLIMIT_NOFILE)[0])

    def stopFactory(self) -> None:
        """Do nothing."""

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # type: ignore[override]
        channel = Channel()
        channel.site = self
        channel.factory = self
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """Return HTTP/1.1 only: sources of webhooks don't need HTTP/2, and Twisted's implementation has known defects."""
        return [b"http/1.1"]

    def date(self) -> bytes:
        second = int(self.now())
        if second != self._date_second:
            self._date_second = second
            self._date = datetimeToString()
        return self._date

    def channel_opened(self, channel: Channel) -> None:
        self.sweeper.watch(channel)
        self.limits.opened(channel)

    def begin_stopping(self) -> None:
        self.stopping = True
        for channel in list(self.limits.connections):
            channel.close_if_idle()

    def drop_connections(self) -> None:
        for channel in list(self.limits.connections):
            channel.abort()

    def log_response(self, request: HTTPRequest) -> None:
        match = request.match
        self.counts.add_response(OTHER if match is None else match.route.label, request.code)
        if not self.settings.access_log:
            return
        if request.head is NO_HEAD:
            assert request.bad_target is not None
            self._log(request, '{peer} "-" {status} {detail}', detail=request.bad_target.detail)
            return
        self._log(
            request,
            '{peer} "{method} {path}" {status} {size} {duration:.4f}s',
            method=truncated(request.method.decode("ascii"), LONGEST_METHOD),
            path=shown_path(request.path),
            size=request.sentLength,
            duration=self.now() - request.first_byte_at,
        )

    def _log(self, request: HTTPRequest, line: str, **fields: object) -> None:
        """Log the line with the request's id, whatever context is current."""
        copied = copy_context()
        copied.run(context.request_id.set, request.request_id)
        peer = str(getattr(request.client, "host", "-"))
        copied.run(self.log.info, line, peer=peer, status=request.code, **fields)
