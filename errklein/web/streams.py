"""Sends the items of a generator, each when it is there, at the client's pace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from errklein.web.replies import Reply
from errklein.web.request import Request

if TYPE_CHECKING:
    from errklein.running import Runner, WorkerPool
    from errklein.web.facade.context import RequestContext

_END = object()


@implementer(IPushProducer)
class Stream:
    """An answer that is being sent in pieces.

    The status is sent together with the first item, so that a generator that raises at once can still be answered with an
    error. `begins` is called then, and says whether the answer is still wanted. `ended` is called once, with None or with
    the Failure that broke the answer off.
    """

    def __init__(
        self,
        request: Request,
        reply: Reply,
        context: RequestContext,
        runner: Runner,
        pool: WorkerPool,
        begins: Callable[[], bool],
        ended: Callable[[Failure | None], None],
    ) -> None:
        self._request = request
        self._reply = reply
        self._context = context
        self._runner = runner
        self._pool = pool
        self._begins = begins
        self._ended = ended
        self._begun = False
        self._open = True
        self._paused = False
        self._pulling = False

    def start(self) -> None:
        """Send all of it."""
        self._run()

    def pauseProducing(self) -> None:
        """Called when the client doesn't keep up."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Called when the client has caught up."""
        self._paused = False
        if not self._pulling:
            self._run()

    def stopProducing(self) -> None:
        """Called when the client has gone."""
        self._end(None)

    def _run(self) -> None:
        # A loop rather than a callback that calls itself: an asynchronous generator may have its next item at once.
        while self._open and not self._paused:
            self._pulling = True
            pulled = self._pull()
            pulled.addCallbacks(self._item, self._failed).addErrback(self._failed)
            if self._pulling:
                pulled.addCallback(lambda _: self._run())
                return

    def _pull(self) -> Deferred[Any]:
        items: Any = self._reply.items
        with self._context.active():
            if isinstance(items, AsyncIterator):

                async def following() -> Any:
                    return await anext(items, _END)

                return self._runner.call(following)
            return self._runner.call_in(self._pool, lambda: lambda: next(items, _END), admitted=True)

    def _item(self, item: Any) -> None:
        self._pulling = False
        if not self._open:
            self._close()
            return
        request = self._request
        data = b"" if item is _END else _bytes_of(item)
        if (not self._begun and not self._begin()) or item is _END or request.gone:
            self._end(None)
        elif data:
            request.write(data)

    def _begin(self) -> bool:
        self._begun = True
        if not self._begins():
            return False
        self._request.start_stream(self._reply.status, self._reply.headers)
        if not self._request.gone:
            self._request.registerProducer(self, True)  # type: ignore[no-untyped-call]
        return True

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
        request = self._request
        if request.producer is self and request.channel is not None:
            request.unregisterProducer()  # type: ignore[no-untyped-call]
        # A generator can't be closed while it runs; it is when it has yielded once more.
        if not self._pulling:
            self._close()
        if failure is None:
            request.finish()
        self._ended(failure)

    def _close(self) -> None:
        """Let the generator, or the response it came in, clean up, where it runs."""
        items: Any = self._reply.items
        close = self._reply.close or getattr(items, "close", None)
        with self._context.active():
            if isinstance(items, AsyncIterator):
                if hasattr(items, "aclose"):
                    self._runner.call(items.aclose).addErrback(lambda _: None)
            elif close is not None:
                self._runner.call_in(self._pool, lambda: close, admitted=True).addErrback(lambda _: None)


def _bytes_of(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    # bytes() would make a number that many zeros.
    raise TypeError(f"a generator may yield text and bytes, not {type(item).__name__}")
