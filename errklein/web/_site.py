"""The factory of connections: limits, request ids and the access log."""

from __future__ import annotations

import os
from contextvars import copy_context
from itertools import count
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web import server
from twisted.web.http import datetimeToString

from errklein.running import context
from errklein.web._channel import Channel
from errklein.web._error_pages import Problem
from errklein.web._settings import WebSettings
from errklein.web._shared_timer import DeadlineSweeper
from errklein.web.request import HTTPRequest

if TYPE_CHECKING:
    from errklein.web.resource import WebhookResource


class Site(server.Site):
    """A web site with limits on everything a client can send or draw out, and one line in the log for each answer."""

    log = Logger(namespace="errklein.web.access")  # type: ignore[assignment]
    noisy = False

    resource: WebhookResource

    def __init__(self, reactor: Any, settings: WebSettings) -> None:
        super().__init__(None, reactor=reactor, parsePOSTFormSubmission=False)  # type: ignore[no-untyped-call]
        self.settings = settings
        self.stopping = False
        self.sweeper = DeadlineSweeper(reactor)
        self.now = reactor.seconds
        self.call_later = reactor.callLater
        self._channels: set[Channel] = set()
        self._prefix = os.urandom(5).hex()
        self._numbers = count(1)
        self._date_second = -1
        self._date = b""

    def startFactory(self) -> None:
        """Called by Twisted for each port. Twisted's own access log, and its timer, aren't used."""

    def stopFactory(self) -> None:
        """Called by Twisted when a port is closed."""

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # type: ignore[override]
        """A new connection."""
        channel = Channel()
        channel.site = self
        channel.factory = self
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone: senders of webhooks don't need HTTP/2, and Twisted's has known faults."""
        return [b"http/1.1"]

    def next_request_id(self) -> str:
        """An id that no other request has, in this process or in an earlier one."""
        return f"{self._prefix}-{next(self._numbers):06x}"

    def date(self) -> bytes:
        """The time of day as an HTTP date; made once a second."""
        second = int(self.now())
        if second != self._date_second:
            self._date_second = second
            self._date = datetimeToString()
        return self._date

    def channel_opened(self, channel: Channel) -> None:
        """Called by a connection that begins."""
        self._channels.add(channel)
        self.sweeper.watch(channel)

    def channel_closed(self, channel: Channel) -> None:
        """Called by a connection that has ended."""
        self._channels.discard(channel)
        self.sweeper.forget(channel)

    def begin_stopping(self) -> None:
        """Close idle connections now, and every other one after the request that it is busy with."""
        self.stopping = True
        for channel in list(self._channels):
            channel.close_if_idle()

    def drop_connections(self) -> None:
        """Break off whatever is still connected."""
        for channel in list(self._channels):
            channel.abort()

    def log_response(self, request: HTTPRequest) -> None:
        """Write the access log's line for a request that has been answered."""
        self._log(
            '{peer} "{method} {path}" {status} {size} {duration:.4f}s',
            request.request_id,
            request.client,
            method=request.method.decode("ascii"),
            path=request.path.decode("ascii", "backslashreplace"),
            status=request.code,
            size=request.sentLength,
            duration=self.now() - request.begun,
        )

    def log_rejection(self, channel: Channel, problem: Problem, request_id: str) -> None:
        """Write the access log's line for bytes that were no request."""
        line = '{peer} "-" {status} {detail}'
        self._log(line, request_id, channel.peer, status=problem.status, detail=problem.detail)

    def _log(self, line: str, number: str, client: IAddress, **fields: object) -> None:
        """Log the line as one of the request's, whichever request's context this is."""
        copied = copy_context()
        copied.run(context.request_id.set, number)
        copied.run(self.log.info, line, peer=str(getattr(client, "host", "-")), **fields)
