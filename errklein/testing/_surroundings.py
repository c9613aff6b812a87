"""The surroundings of a bot under test: a reactor in memory with an asyncio event loop, a pool, secrets, and packages; and StubHTTP,
which stands in for the network of `self.http`."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import json as json_module
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from weakref import WeakSet

from twisted.internet import task
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.testing import MemoryReactorClock
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from twisted.web.resource import Resource
from zope.interface import implementer

from errklein.chat.handles import without_handle
from errklein.running import WorkerPool, blocking_here, install_task_factory

T = TypeVar("T")
_MOST_CALLBACKS = 10_000  # per call of the TestBot, so that a task that never waits doesn't hang the test


class TestLoop(asyncio.BaseEventLoop):
    """An asyncio event loop with the reactor's time, for tests in one thread. Timers such as `asyncio.sleep` end in
    `TestReactor.advance`. Callbacks and tasks that are ready run before the call of the TestBot returns; functions for an
    executor run at once and in place. There is no network, and no second thread: a blocking handler can't wait for a coroutine
    that takes virtual time."""

    __test__ = False

    def __init__(self, reactor: TestReactor) -> None:
        super().__init__()
        self.background: WeakSet[asyncio.Task[Any]] = WeakSet()  # the tasks that plugins have created
        self._reactor = reactor
        self._thread = threading.get_ident()
        self._callbacks: deque[asyncio.Handle] = deque()
        self._timers: dict[int, IDelayedCall] = {}
        install_task_factory(self)

    def __del__(self) -> None:
        """Don't warn that the loop was not closed: it has no resources."""

    def enter(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call the function while this loop is running, and then run the callbacks that are ready."""
        if self.is_running():
            return function(*args, **kwargs)
        with blocking_here(False), _switched(self):
            try:
                return function(*args, **kwargs)
            finally:
                self._run_callbacks()

    def run_until_complete(self, future: Awaitable[T]) -> T:  # type: ignore[override]
        """Return the result of an awaitable. Virtual time passes as it needs it. Raises TimeoutError: it takes more
        than two minutes of virtual time, or no timer is left that it could wait for."""
        task = asyncio.ensure_future(future, loop=self)
        self._reactor.advance_until(task.done)
        if not task.done():
            self.enter(task.cancel)
            raise TimeoutError(f"{future!r} is not complete, and no timer can complete it")
        return task.result()

    def timers(self) -> Collection[IDelayedCall]:
        return self._timers.values()

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def time(self) -> float:
        return self._reactor.seconds()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Call the function before the current call of the TestBot returns, or else in the next one."""
        handle = asyncio.Handle(callback, args, self, context)
        self._callbacks.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Call the function now in the thread of the test, as for a blocking handler; else in the TestBot's next call."""
        handle = self.call_soon(callback, *args, context=context)
        if threading.get_ident() == self._thread and not self.is_running():
            self.enter(lambda: None)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers[id(handle)] = self._reactor.callLater(max(0.0, when - self.time()), self._timer_due, handle)
        return handle

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        if options.get("name") is None:
            task.set_name(getattr(coro, "__qualname__", repr(coro)))
        self.background.add(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            with blocking_apart():
                result = func(*args)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> NoReturn:
        raise OSError(f"a TestBot has no network to look up {host!r}; replace the plugin's client in the test")

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        raise OSError(f"a TestBot has no network to connect to {host}:{port}; replace the plugin's client in the test")

    def call_exception_handler(self, context: Any) -> None:
        """Log the error, unless the loop is closed: handlers that a test leaves unfinished end with it."""
        if not self.is_closed():
            super().call_exception_handler(context)

    def _timer_due(self, handle: asyncio.TimerHandle) -> None:
        del self._timers[id(handle)]
        self._callbacks.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if (timer := self._timers.pop(id(handle), None)) is not None:
            timer.cancel()

    def _run_callbacks(self) -> None:
        for _ in range(_MOST_CALLBACKS):
            if not self._callbacks:
                return
            handle = self._callbacks.popleft()
            if not handle.cancelled():
                handle._run()


@contextmanager
def blocking_apart() -> Iterator[None]:
    """Run blocking code in a `with` block as in a thread of its own, where no event loop is running."""
    with blocking_here(), _switched(None):
        yield


@contextmanager
def _switched(loop: asyncio.AbstractEventLoop | None) -> Iterator[None]:
    """Make `loop` the thread's running loop in a `with` block, without a current task."""
    outer = asyncio._get_running_loop()
    task = None if outer is None else asyncio.current_task(outer)
    if outer is not None and task is not None:
        asyncio.tasks._leave_task(outer, task)
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if outer is not None and task is not None:
            asyncio.tasks._enter_task(outer, task)


_LONGEST = 120.0  # the virtual seconds that `TestReactor.advance_until` lets pass at most


class TestReactor(MemoryReactorClock):
    """A reactor with virtual time and an asyncio event loop, without sockets and threads. It is Twisted's
    `MemoryReactorClock` with two additions: coroutines may use asyncio, whose `loop` has the same time, and `advance`
    runs each call at its own time. A `TestBot` creates one, as `bot.reactor`."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.loop = TestLoop(self)
        """The asyncio event loop. Its `run_until_complete` lets virtual time pass as necessary."""
        # Here the runner of plugins' handlers looks for it, as in Twisted's asyncio reactor.
        self._asyncioEventloop = self.loop

    def advance(self, amount: float) -> None:
        """Let `amount` seconds pass. Delayed calls and timers run at their own times, in order: a poller with an interval of
        10 s runs three times in `advance(30)`. `advance(0)` runs what is due already, and asyncio tasks that are ready."""
        end = self.rightNow + amount
        while self.calls and self.calls[0].getTime() <= end:
            self._advance_to(max(self.rightNow, self.calls[0].getTime()))
        self._advance_to(end)

    def advance_until(
        self, done: Callable[[], bool], delayed_calls: Callable[[], Collection[IDelayedCall]] | None = None
    ) -> None:
        """Let time pass until `done()`, for at most two minutes, from one delayed call to the next, of all or of those given."""
        calls = delayed_calls or self.getDelayedCalls
        end = self.rightNow + _LONGEST
        self.advance(0)
        while not done() and (times := [call.getTime() for call in calls()]) and min(times) <= end:
            self.advance(min(times) - self.rightNow)

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Call the function at once, since a test has no other threads."""
        self.loop.enter(callable, *args, **kwargs)

    def _advance_to(self, time: float) -> None:
        self.rightNow = time
        self.loop.enter(super().advance, 0)


class InlinePool(WorkerPool):
    """Runs each job at once in the calling thread, so that a blocking handler is done when the call returns."""

    def run(self, prepare: Callable[[], Callable[[], T]], **options: object) -> Deferred[T]:
        """Return a Deferred that has already fired with the job's result or error."""

        def do() -> T:
            job = prepare()
            with blocking_apart():
                # `maybeDeferred` would wait for what `send` returns.
                result: T = without_handle(job())
                return result

        return maybeDeferred(do)


@contextmanager
def environment(secrets: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment in a `with` block. Raises ValueError for a name such as "env:GH_SECRET"."""
    for name in secrets:
        if not name.isidentifier():
            raise ValueError(f"secrets: invalid name {name!r}; expected a variable such as 'GH_SECRET'")
    # `patch.dict` would also undo what plugins change.
    with patch.dict(os.environ, secrets) if secrets else nullcontext():
        yield


def share_packages(data_dir: Path) -> None:
    """Link the process's directory of packages into a data directory: modules, and so their files, outlive the bot."""
    (data_dir / "packages").symlink_to(_shared(), target_is_directory=True)


@cache
def _shared() -> Path:
    directory = tempfile.mkdtemp(prefix="errklein-test-packages-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


_UNSET: Any = object()
_PORTS = {"http": 80, "https": 443}


class UnexpectedRequest(AssertionError):
    """A plugin sent a request for which the test has declared no response."""

    # Reports begin with the full name.
    __module__ = "errklein.testing"


@dataclass(frozen=True)
class OutgoingRequest:
    """A request that a plugin has sent with `self.http`. Its `str()` is method and URL, such as "GET https://example.org/".
    `method` is in capital letters, `url` has the query, `headers` has also those that treq adds, and `body` the bytes."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.url}"

    @property
    def text(self) -> str:
        """The body as text, in UTF-8."""
        return self.body.decode()

    @property
    def params(self) -> dict[str, str]:
        """The parameters in the query of the URL."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def json(self) -> Any:
        """Return the body, decoded as JSON."""
        return json_module.loads(self.body)

    def header(self, name: str) -> str | None:
        """Return the value of a header, in any case; None if the request doesn't have it."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


@dataclass
class Answer:
    """What requests with this method and URL get after `delay` seconds: a response, or `error`. `left` is the number of
    requests that can still get it; None for any number."""

    method: str
    url: str
    left: int | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    error: BaseException | None = None
    serve: Callable[[OutgoingRequest], Any] | None = None

    def matches(self, method: str, url: str) -> bool:
        ours, query = _parts(self.url)
        theirs, their_query = _parts(url)
        return self.left != 0 and (self.method, ours) == (method, theirs) and (not query or query == their_query)

    def __str__(self) -> str:
        return f"{self.method} {self.url}" + (" (used up)" if self.left == 0 else "")


class StubHTTP:
    """Stands in for the network of `self.http`: it responds to plugins' requests as the test declares, without sockets.

    A `PluginTestCase`, a `TestBot` and the fixture `testbot` have one as their attribute `http`, as in :doc:`/guides/testing`. A
    request without a declared response raises `UnexpectedRequest` in the plugin, and again at the end of the test."""

    def __init__(self) -> None:
        self.requests: list[OutgoingRequest] = []
        """The requests that plugins have sent, in order."""
        self._declared: list[Answer] = []
        self._unexpected: list[str] = []

    def respond(
        self,
        method: str,
        url: str,
        *,
        status: int = 200,
        json: Any = _UNSET,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        times: int | None = None,
    ) -> None:
        """Declare the response to a request. A later declaration for the same method and URL takes precedence. With `times`,
        the earlier one applies again after so many requests. These are a failure and then a success::

            self.http.respond("GET", URL, json={"up": True})
            self.http.respond("GET", URL, status=503, body="Try again later.", times=1)

        :param url: The URL. Without a query it matches requests with any query; otherwise the query must be the same, with
            the parameters in any order.
        :param json: A value that is sent as JSON, `None` included.
        :param headers: They replace those that errklein would add, such as Content-Type.
        :param delay: The time until the response, in seconds. Use `self.bot.advance` to let it pass."""
        if json is not _UNSET and body:
            raise TypeError("json and body exclude each other; pass one of them as the body of the response")
        default, content = "", body.encode() if isinstance(body, str) else body
        if json is not _UNSET:
            default, content = "application/json", json_module.dumps(json).encode()
        elif isinstance(body, str):
            default = "text/plain; charset=utf-8"
        sent = dict(headers or {})
        if default and "content-type" not in map(str.lower, sent):
            sent["Content-Type"] = default
        self._declare(Answer(method.upper(), url, times, status, sent, content, delay))

    def fail(
        self, method: str, url: str, error: BaseException, *, delay: float = 0.0, times: int | None = None
    ) -> None:
        """Declare that a request fails with an exception after `delay` seconds, such as
        `ConnectionRefusedError("nobody listens")`. See `respond`."""
        self._declare(Answer(method.upper(), url, times, delay=delay, error=error))

    def serve(self, url: str, respond: Callable[[OutgoingRequest], Any]) -> None:
        """Let a function respond to requests whose URLs begin with `url`, unless another response is declared. It returns the
        value of the JSON; or a tuple of status, value and optionally the seconds until the response, as of a long poll."""
        self._declare(Answer("", url, serve=respond))

    def check(self) -> None:
        """Raise UnexpectedRequest if a plugin has sent a request without a declared response. `TestBot.stop` calls it."""
        if self._unexpected:
            raise UnexpectedRequest("\n".join(self._unexpected))

    def agent(self, reactor: Any) -> Any:
        return _StubAgent(reactor, self)

    def answer(self, method: str, url: str) -> Answer:
        """Return the answer to a request. One with a query is preferred to one for any query."""
        found = [declared for declared in reversed(self._declared) if declared.matches(method, url)]
        found += [replace(declared) for declared in self._declared if declared.serve and url.startswith(declared.url)]
        if not found:
            known = ", ".join(map(str, self._declared)) or "none"
            declare = f'declare its response with self.http.respond("{method}", "{url}", …)'
            self._unexpected.append(f"unexpected request {method} {url}; {declare}; declared: {known}")
            return Answer(method, url, error=UnexpectedRequest(self._unexpected[-1]))
        chosen = max(found, key=lambda declared: "?" in declared.url)
        if chosen.left is not None:
            chosen.left -= 1
        return chosen

    def _declare(self, answer: Answer) -> None:
        if not urlsplit(answer.url).scheme:
            raise ValueError(f"{answer.url} has no scheme and host; declare the whole URL: https://example.org/path")
        self._declared.append(answer)


def _parts(url: str) -> tuple[tuple[object, ...], list[tuple[str, str]]]:
    parts = urlsplit(url)
    address = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme), quote(unquote(parts.path)) or "/")
    return address, sorted(parse_qsl(parts.query, keep_blank_values=True))


@implementer(IAgent)
class _StubAgent:
    """Sends each request to a server that has its declared response, and thus uses the real code for both directions."""

    def __init__(self, reactor: Any, stub: StubHTTP) -> None:
        # Imported late: treq's test tools need half as long as all of errklein.
        from treq.testing import RequestTraversalAgent

        self._reactor, self._stub = reactor, stub
        self._agent_for: Any = RequestTraversalAgent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        url = uri.decode("ascii")
        answer = self._stub.answer(method.decode("ascii"), url)
        agent = self._agent_for(_Server(self._stub.requests, url, answer))
        # Bodies are produced in turns of the global reactor, which a synchronous test doesn't run.
        clock = task.Clock()
        with patch.object(task, "_theCooperator", task.Cooperator(scheduler=partial(clock.callLater, 0))):
            sent: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
            while clock.getDelayedCalls():
                clock.advance(0)
        agent.flush()
        if answer.delay:
            sent.addCallback(lambda response: task.deferLater(self._reactor, answer.delay, lambda: response))
        if (error := answer.error) is not None:
            sent.addCallback(lambda _: fail(error))
        return sent

    def close(self) -> Deferred[None]:
        return succeed(None)


class _Server(Resource):
    """The only resource of a server in memory. It records a request, and sends the response of `answer`."""

    isLeaf = True

    def __init__(self, requests: list[OutgoingRequest], url: str, answer: Answer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._requests = requests
        self._url = url
        self._answer = answer

    def render(self, request: Any) -> bytes:
        method = request.method.decode("ascii")
        pairs = request.requestHeaders.getAllRawHeaders()
        headers = {name.decode("iso-8859-1"): b", ".join(values).decode("iso-8859-1") for name, values in pairs}
        self._requests.append(OutgoingRequest(method, self._url, headers, request.content.read()))
        if self._answer.serve is not None:
            result = self._answer.serve(self._requests[-1])
            given = result if isinstance(result, tuple) else (200, result)
            self._answer.status, value, self._answer.delay = (*given, 0.0)[:3]
            self._answer.body = json_module.dumps(value).encode()
        request.setResponseCode(self._answer.status)
        request.defaultContentType = None
        for name, value in self._answer.headers.items():
            request.setHeader(name, value)
        return b"" if method == "HEAD" else self._answer.body
