"""Pages that follow what changes: the streams of server-sent events from which browsers get the new content."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from errklein.console._access import NotPermitted
from errklein.console._visit import OtherResponse, Values, Visit

_PART = 0.01  # the part of the time that rounds may take, about half of which is processor time
_INTERVAL = 0.2  # the seconds from one look for changes to the next
_SOONEST, _LATEST = 1.0, 5.0  # the seconds from a round to the next, with and without a change of the journal
_SILENT = 20.0  # the seconds after which something is sent, lest proxies close the connection
_STUCK = 30.0  # the seconds for which a browser may read nothing
_LONGEST = 600.0  # the seconds after which browsers connect anew


@implementer(IPushProducer)
class _Stream:
    """The stream of a browser. `ended` is cancelled when it ends. `make_event` returns the present content of the page, if
    its visitor may see it."""

    def __init__(self, request: Request, make_event: Callable[[], Awaitable[bytes]], now: float) -> None:
        self.request, self.make_event = request, make_event
        self.ended: Deferred[None] = Deferred()
        self.sent, self.ends_at = b"", now + _LONGEST
        self._sent_at, self._full = now, False
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("X-Accel-Buffering", "no")
        request.registerProducer(self, True)

    def send(self, event: bytes, now: float) -> None:
        """Send the content if the browser has another one. A browser that reads slowly gets a later one instead."""
        if self._full:
            if now - self._sent_at > _STUCK:
                self.request.channel.forceAbortClient()
        elif event != self.sent or now - self._sent_at > _SILENT:
            self.request.write(event if event != self.sent else b":\n\n")
            self.sent, self._sent_at = event, now

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False

    def stopProducing(self) -> None:
        """Do nothing, since Klein cancels the handler of a lost connection."""


class Live:
    """Sends visitors what has changed on the pages that they look at. In a round, each page is made once for each
    visitor who looks at it. A round begins soon after a change of the journal, and regularly for what isn't in the journal, but so
    late that rounds take at most `_PART` of the time. `check` raises OtherResponse if the session of a request has
    ended. `render` returns the live part of a template as HTML."""

    log = Logger(namespace="errklein.console")

    def __init__(
        self, reactor: Any, check: Callable[[Request], Visit], render: Callable[[str, Values], Awaitable[bytes]]
    ) -> None:
        self._reactor, self._check, self._render = reactor, check, render
        self._streams: list[_Stream] = []
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._looking.clock = reactor
        self._changed, self._soonest, self._latest = False, 0.0, 0.0

    def changed(self) -> None:
        """Begin a round soon. Called after each change of the journal."""
        self._changed = True

    def end(self) -> None:
        """End all streams, with the server."""
        if self._looking.running:
            self._looking.stop()
        for stream in list(self._streams):
            stream.ended.cancel()

    async def follow(self, request: Request, make_values: Callable[[], Awaitable[Values]], template: str) -> bytes:
        """Send the live part of a page, and again after changes, until the stream ends."""

        async def make_event() -> bytes:
            html = await self._render(template, await make_values())
            # A carriage return ends a line of a stream, too.
            return b"".join(b"data: %b\n" % line for line in html.splitlines()) + b"\n"

        event, now = await make_event(), self._reactor.seconds()
        stream = _Stream(request, make_event, now)
        self._streams.append(stream)
        self.changed()  # perhaps while the content was made
        if not self._looking.running:
            self._looking.start(_INTERVAL, now=False)
        stream.send(event, now)
        with suppress(CancelledError):
            await stream.ended
        self._streams.remove(stream)
        if request.channel is not None:
            request.unregisterProducer()
        return b""

    async def _look(self) -> None:
        if not self._streams:
            self._looking.stop()
            return
        began = self._reactor.seconds()
        is_due = began >= (self._soonest if self._changed else self._latest)
        self._changed &= not is_due
        events: dict[object, bytes] = {}
        for stream in list(self._streams):
            page: object = None
            try:
                if is_due:
                    # Another visitor may be permitted less.
                    page = stream.request.uri, self._check(stream.request).session.visitor
                    events[page] = events.get(page) or await stream.make_event()
                if began > stream.ends_at:
                    stream.ended.cancel()
                elif not stream.ended.called:
                    stream.send(events.get(page, stream.sent), began)
            except Exception as error:
                # The browser connects once more, and gets the reason.
                stream.ended.cancel()
                if not isinstance(error, OtherResponse | NotPermitted):
                    self.log.failure("A page could not be shown again")
        if is_due:
            now = self._reactor.seconds()
            self._soonest = now + max(_SOONEST, (now - began) / _PART)
            self._latest = max(self._soonest, now + _LATEST)
