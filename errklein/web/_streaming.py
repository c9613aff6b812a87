"""Streamed responses: the items of a generator, sent one by one at the pace of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from errklein.chat.handles import Handle
from errklein.web._error_pages import Problem
from errklein.web._responses import PreparedResponse

if TYPE_CHECKING:
    from errklein.web._delivery import Delivery

_END = object()


class StreamStalled(Exception):
    """A generator yielded only empty items during the timeout of its route."""


@implementer(IPushProducer)
@dataclass(eq=False)
class ResponseStream:
    """A response that is sent in pieces.

    The status is sent together with the first item that isn't empty, as in WSGI (PEP 3333), so that an error response is possible
    if a generator raises before. Generators that never wait share a time slice of each turn of the reactor. When the client
    disconnects, an asynchronous generator is cancelled and closed; one in a thread is closed when it yields the next time.

    A generator that has begun and then yields only empty items for the timeout of the delivery ends with StreamStalled. Before it
    begins, the deadline of the delivery ends it.
    """

    delivery: Delivery
    response: PreparedResponse
    _begun = False
    _empty_since: float | None = field(default=None, init=False)
    _open = True
    _paused = False
    _pulling = False
    _pulled: Deferred[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.request, self.context, self.services = self.delivery.request, self.delivery.context, self.delivery.services
        # The generator may wait for a long time before its first item, with which it becomes the producer of the request.
        self.request.notifyFinish().addErrback(lambda _: self.stopProducing())
        source = self.response.source
        if source is not None and not source.direct_passthrough:
            # A generator of the plugin, not a file or a large body.
            self.services.routes.streams[self.context.hook.owner].add(self)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._run()

    def stopProducing(self) -> None:
        self._end(None)

    @property
    def endless(self) -> bool:
        """Whether the stream is one of events, whose client connects again when it ends."""
        return any(value.startswith(b"text/event-stream") for _, value in self.response.headers)

    def end(self, problem: Problem) -> None:
        self._end(Failure(problem))

    def _run(self) -> None:
        # A loop rather than recursive callbacks, since an asynchronous generator may yield its next item at once.
        while self._open and not self._paused and not self._pulling:
            if not self.services.time_slices.has_time():
                self.services.time_slices.do(self._run)
                return
            self._pulling = True
            pulled = self._pulled = self._pull()
            pulled.addCallbacks(self._item, self._failed).addErrback(self._failed)
            if self._pulling:
                pulled.addCallback(lambda _: self._run())
                return

    def _pull(self) -> Deferred[Any]:
        items: Any = self.response.items
        with self.context.active():
            if isinstance(items, AsyncIterator):

                async def following() -> Any:
                    return self._pulled_item(await anext(items, _END))

                return self.services.runner.call(following)
            return self.services.runner.call_in(lambda: lambda: self._pulled_item(next(items, _END)), follow_up=True)

    def _pulled_item(self, item: Any) -> Any:
        """Return the item. Called where the generator runs, as the functions of `after_this_request` may block."""
        if self.context.after and not self._begun:
            self.response.apply_after(self.context)
        # What `send` returns is text, but not for the client.
        return b"" if isinstance(item, Handle) else item

    def _item(self, item: Any) -> None:
        self._pulling = False
        if not self._open:
            self._close()
            return
        request = self.request
        data = b"" if item is _END else _encode(item)
        if request.finished:
            # The client has disconnected, or has its response.
            self._end(None)
        elif item is not _END and not data:
            self._note_empty_item(request.site.now())
        elif (not self._begun and not self._begin()) or item is _END:
            self._end(None)
        else:
            self._empty_since = None
            request.write(data)

    def _begin(self) -> bool:
        self._begun = True
        if not self.delivery.stream_begins(self.response):
            return False
        has_body = self.request.start_stream(self.response.status, self.response.headers)
        if not self.request.finished:
            self.request.registerProducer(self, True)
        return has_body

    def _note_empty_item(self, now: float) -> None:
        timeout = self.delivery.timeout
        if self._empty_since is None:
            self._empty_since = now
        elif self._begun and now - self._empty_since >= timeout:
            self._end(Failure(StreamStalled(f"the generator has yielded only empty items for {timeout:g} s")))

    def _failed(self, failure: Failure) -> None:
        self._pulling = False
        if self._open:
            self._end(failure)
        else:
            self._close()

    def _end(self, failure: Failure | None) -> None:
        if not self._open:
            return
        self._open = False
        request = self.request
        if request.producer is self and request.channel is not None:
            request.unregisterProducer()
        if not self._pulling:
            self._close()
        elif isinstance(self.response.items, AsyncIterator) and self._pulled is not None:
            # `_failed` closes it. One that runs in a thread is closed by `_item`, when it has yielded once more.
            self._pulled.cancel()
        if failure is None:
            request.finish()
        self.delivery.streamed(self.response, failure)

    def _close(self) -> None:
        """Close the generator and its response, on the reactor or in a thread, as it runs."""
        items: Any = self.response.items
        close = self.response.close

        async def closing() -> None:
            try:
                if hasattr(items, "aclose"):
                    await items.aclose()
            finally:
                if close is not None:
                    close()

        with self.context.active():
            if isinstance(items, AsyncIterator):
                closed = self.services.runner.call(closing)
            else:
                closed = self.services.runner.call_in(lambda: close or items.close, follow_up=True)
        closed.addErrback(lambda _: None)


def _encode(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    # bytes(number) is that many zero bytes.
    raise TypeError(f"a generator yielded {type(item).__name__}; valid items are text and bytes")
