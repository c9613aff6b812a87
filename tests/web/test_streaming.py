"""Tests for streamed responses, and for generators that yield too much or nothing."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.trial.unittest import TestCase

from errklein.running import Runner, WorkerPool
from errklein.web import ConnectionBroken, WebServer, facade
from errklein.web._responses import StreamStalled
from errklein.web.facade import Response, after_this_request, make_response, stream_with_context
from errklein.webhooks import webhook
from tests import needs_network
from tests.clocks import ThreadClock
from tests.web.kit import Connection, SocketClient, WebCase, hooks_of, port_of, request, status_of

FROZEN = 1_000_000
"""After so many items a generator gives up, so that a test fails in place of running for ever."""


class TurningClock(ThreadClock):
    """A clock that advances by 10 µs whenever it is read, and has the turns of a reactor.

    Calls without a delay wait for the next turn. `advance` runs one turn, while Clock runs as many as possible.
    """

    def seconds(self) -> float:
        """Return the time."""
        self.rightNow += 0.00001
        return self.rightNow

    def advance(self, amount: float) -> None:
        """Let time pass, and run one turn."""
        self.rightNow += amount
        for call in [call for call in self.getDelayedCalls() if call.getTime() <= self.rightNow]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class Generators:
    """A plugin whose generators never end."""

    limit = FROZEN

    def __init__(self) -> None:
        self.yielded = 0
        self.ended: list[str] = []
        self.gates: list[Deferred[None]] = []

    @webhook
    async def quick(self, payload: Any) -> str:
        return "quick"

    @webhook(timeout=5)
    async def empty(self, payload: Any) -> AsyncIterator[str]:
        return self.items("", "empty")

    @webhook(timeout=5)
    async def begun(self, payload: Any) -> AsyncIterator[str]:
        return self.items("", "begun", "first")

    @webhook
    async def full(self, payload: Any) -> AsyncIterator[str]:
        return self.items("x" * 100, "full")

    @webhook(timeout=5)
    def thread(self, payload: Any) -> Iterator[bytes]:
        try:
            while self.yielded < self.limit:
                self.yielded += 1
                yield b""
        finally:
            self.ended.append("thread")

    @webhook
    def full_thread(self, payload: Any) -> Iterator[bytes]:
        try:
            while self.yielded < self.limit:
                self.yielded += 1
                yield b"x" * 100
        finally:
            self.ended.append("full thread")

    @webhook(timeout=5)
    async def slow(self, payload: Any) -> AsyncIterator[str]:
        return self.waiting()

    @webhook
    async def no_content(self, payload: Any) -> Any:
        self.limit = 2
        return self.items("x", "no content"), 204

    async def items(self, item: str, name: str, first: str = "") -> AsyncIterator[str]:
        """Yield the item endlessly."""
        try:
            yield first
            while self.yielded < self.limit:
                self.yielded += 1
                yield item
            self.ended.append("frozen")
        finally:
            self.ended.append(name)

    async def waiting(self) -> AsyncIterator[str]:
        """Yield an empty item, and then a letter each time the gate opens."""
        for letter in "abc":
            for item in ("", letter):
                gate: Deferred[None] = Deferred()
                self.gates.append(gate)
                await gate
                yield item


class PatientGenerators(Generators):
    """The same, with limits that a busy machine with a real reactor doesn't reach."""

    limit = 100 * FROZEN

    @webhook(timeout=3600)
    async def empty(self, payload: Any) -> AsyncIterator[str]:
        return await super().empty(payload)

    @webhook(timeout=3600)
    def thread(self, payload: Any) -> Iterator[bytes]:
        return super().thread(payload)


class StreamTests(WebCase):
    """Generators on a clock."""

    clock_type = TurningClock

    def setUp(self) -> None:
        """A server with the plugin."""
        super().setUp()
        self.plugin = Generators()
        self.serve(self.plugin)

    def begin(self, path: str, method: str = "GET") -> Connection:
        """Send a request, and return its connection."""
        connection = self.connect()
        connection.channel.dataReceived(request(method, path))
        return connection

    def test_no_content(self) -> None:
        """A generator with status 204 is closed, and the connection stays open."""
        connection = self.begin("/no_content")
        self.clock.advance(0)
        response = connection.received()
        self.assertEqual(status_of(response), 204)
        self.assertTrue(response.endswith(b"\r\n\r\n"))
        self.assertNotIn(b"chunked", response)
        self.assertEqual(self.plugin.ended, ["no content"])
        self.assertEqual(status_of(connection.send(request("GET", "/quick"))), 200)

    def test_a_generator_of_empty_items_leaves_turns_to_others(self) -> None:
        """Other requests are served while an asynchronous generator yields only empty items."""
        stream = self.begin("/empty")
        for _ in range(5):
            before = self.plugin.yielded
            self.assertEqual(status_of(self.begin("/quick").received()), 200)
            self.clock.advance(0)
            self.assertGreater(self.plugin.yielded, before)
        self.assertEqual((stream.received(), self.plugin.ended), (b"", []))

    def test_two_generators_share_a_turn(self) -> None:
        """All generators together get 10 ms of each turn of the reactor."""
        for _ in range(10):
            self.begin("/empty")
        self.clock.advance(0)
        before = self.clock.rightNow
        self.clock.advance(0)
        self.assertLess(self.clock.rightNow - before, 0.02)

    def test_empty_items_before_the_first_are_no_answer(self) -> None:
        """A generator of empty items gets 504 at the timeout of its route, and is closed."""
        stream = self.begin("/empty")
        self.pass_time(4.5)
        self.assertEqual(stream.received(), b"")
        self.pass_time(1)
        self.assertEqual(status_of(stream.received()), 504)
        self.clock.advance(0)
        self.assertEqual(self.plugin.ended, ["empty"])
        self.assertEqual(len(self.events.overdue), 1)
        self.successResultOf(self.web.when_idle())

    def test_empty_items_after_the_first_end_the_answer(self) -> None:
        """A stream with only empty items during the timeout is aborted."""
        stream = self.begin("/begun")
        self.assertEqual(status_of(stream.received()), 200)
        self.pass_time(4.5)
        self.assertFalse(stream.closed)
        self.pass_time(1)
        self.assertTrue(stream.disconnected)
        self.assertEqual(self.plugin.ended, ["begun"])
        [(hook, _, failure)] = self.events.failed
        self.assertEqual((hook, failure.type), ("Generators:begun", StreamStalled))
        self.logged_failures(StreamStalled)
        self.successResultOf(self.web.when_idle())

    def test_empty_items_now_and_then_end_nothing(self) -> None:
        """A stream with some empty items may take any time."""
        stream = self.begin("/slow")
        for number in range(6):
            self.plugin.gates[number].callback(None)
            self.pass_time(4)
        self.assertTrue(stream.received().endswith(b"1\r\nc\r\n0\r\n\r\n"))
        self.assertFalse(stream.closed)

    def test_an_empty_item_before_a_long_wait_ends_nothing(self) -> None:
        """A long wait after an empty item doesn't end the stream."""
        stream = self.begin("/slow")
        self.plugin.gates[0].callback(None)
        self.plugin.gates[1].callback(None)
        self.plugin.gates[2].callback(None)
        self.pass_time(60)
        self.plugin.gates[3].callback(None)
        self.assertTrue(stream.received().endswith(b"1\r\na\r\n1\r\nb\r\n"))
        self.assertEqual(self.events.failed, [])

    def test_empty_items_of_a_plain_generator(self) -> None:
        """The timeout applies to a generator in a thread too."""
        stream = self.begin("/thread")
        while not stream.closed and self.plugin.yielded < FROZEN:
            self.clock.turn()
            self.clock.advance(0.25)
            if stream.value():
                break
        self.assertEqual(status_of(stream.received()), 504)
        while not self.plugin.ended:
            self.assertTrue(self.clock.turn())
        self.assertEqual(self.plugin.ended, ["thread"])

    def reluctant(self, path: str) -> Connection:
        """Send a request on a connection that reads 10 kB at a time."""
        connection = self.connect()
        connection.capacity = 10_000
        connection.channel.dataReceived(request("GET", path))
        return connection

    def test_a_client_that_does_not_read(self) -> None:
        """A client that doesn't read pauses the generator, which is closed when it disconnects."""
        connection = self.reluctant("/full")
        for _ in range(100):
            self.clock.advance(0)
        self.assertLess(len(connection.received()), 12_000)
        connection.channel.resumeProducing()
        for _ in range(100):
            self.clock.advance(0)
        self.assertLess(len(connection.received()), 12_000)
        connection.channel.connectionLost()
        self.clock.advance(0)
        self.assertEqual(self.plugin.ended, ["full"])
        self.assertLess(self.plugin.yielded, 300)

    def test_a_client_that_does_not_read_from_a_thread(self) -> None:
        """A client that doesn't read pauses a generator in a thread too."""
        connection = self.reluctant("/full_thread")
        while len(connection.value()) <= 10_000:
            self.assertTrue(self.clock.turn())
        self.assertFalse(self.clock.turn(0))
        self.assertLess(len(connection.received()), 12_000)
        self.assertLess(self.plugin.yielded, 120)
        connection.channel.connectionLost()
        self.assertTrue(self.clock.turn())
        self.assertEqual(self.plugin.ended, ["full thread"])

    def test_a_client_that_reads_everything(self) -> None:
        """A generator with a fast client doesn't block other requests."""
        stream = self.begin("/full")
        for _ in range(3):
            self.assertEqual(status_of(self.begin("/quick").received()), 200)
            self.clock.advance(0)
            self.assertGreater(len(stream.received()), 100)
        self.assertEqual(self.plugin.ended, [])

    def test_the_client_hangs_up(self) -> None:
        """A generator of empty items is closed when the client disconnects."""
        for path in ("/empty", "/begun"):
            stream = self.begin(path)
            self.clock.advance(0)
            stream.channel.connectionLost()
            self.clock.advance(0)
        self.assertEqual(self.plugin.ended, ["empty", "begun"])
        self.assertEqual(self.events.failed, [])

    def test_head(self) -> None:
        """For a HEAD request, the generator is closed after the first item."""
        stream = self.begin("/full", "HEAD")
        self.assertEqual(status_of(stream.received()), 200)
        self.assertEqual(self.plugin.ended, ["full"])
        self.assertEqual(status_of(stream.send(request("GET", "/quick"))), 200)


class EndingTests(WebCase):
    """Streams that end early, or last longer than a handler may."""

    def test_disconnect_closes_generator(self) -> None:
        """A generator is closed when the client disconnects, and nothing is logged."""
        ended: list[str] = []
        gate = threading.Event()
        self.addCleanup(gate.set)

        class Streams:
            @webhook
            def items(self, payload: Any) -> Iterator[str]:
                try:
                    yield "one"
                    gate.wait(10)
                    yield "two"
                finally:
                    ended.append("closed")

        self.serve(Streams())
        connection = self.connect()
        sent = connection.send(request("POST", "/items"))
        while b"one" not in sent:
            self.assertTrue(self.clock.turn())
            sent += connection.received()
        connection.channel.connectionLost()
        gate.set()
        while not ended:
            self.assertTrue(self.clock.turn())
        self.assertEqual(self.events.failed, [])
        self.successResultOf(self.web.when_idle())

    def test_hanging_generator_gets_504(self) -> None:
        """A generator that hangs gets 504, and continues to its end."""
        ended: list[str] = []
        gate = threading.Event()
        self.addCleanup(gate.set)
        later: Deferred[None] = Deferred()

        class Streams:
            @webhook
            def blocking(self, payload: Any) -> Iterator[str]:
                gate.wait(10)
                ended.append("blocking")
                yield "late"

            @webhook
            async def coroutine(self, payload: Any) -> AsyncIterator[str]:
                async def items() -> AsyncIterator[str]:
                    await later
                    ended.append("coroutine")
                    yield "late"

                return items()

        self.serve(Streams())
        responses = [self.start("POST", path) for path in ("/blocking", "/coroutine")]
        self.assertTrue(self.clock.turn())
        self.pass_time(61)
        self.assertEqual([self.successResultOf(response).status for response in responses], [504, 504])
        self.assertEqual(len(self.events.overdue), 2)
        later.callback(None)
        gate.set()
        while len(ended) < 2:
            self.assertTrue(self.clock.turn())
        self.assertEqual(self.events.failed, [])

    def test_a_stream_takes_its_time(self) -> None:
        """A stream has no deadline, and the server isn't idle meanwhile."""
        begun: Deferred[None] = Deferred()
        gates: list[Deferred[str]] = [Deferred(), Deferred()]

        async def pieces() -> AsyncIterator[str]:
            for gate in gates:
                yield await gate

        class Streams:
            @webhook
            async def items(self, payload: Any) -> AsyncIterator[str]:
                await begun
                return pieces()

        self.serve(Streams())
        response = self.start("POST", "/items")
        begun.callback(None)
        gates[0].callback("one")
        self.pass_time(61)
        idle = self.web.when_idle()
        self.assertNoResult(idle)
        gates[1].callback("two")
        self.assertEqual(self.successResultOf(response).text, "onetwo")
        self.successResultOf(idle)

    def test_failing_stream_aborts_connection(self) -> None:
        """A generator that raises aborts the connection, so that the client notices."""

        class Streams:
            @webhook
            def breaks(self, payload: Any) -> Iterator[str]:
                yield "a part"
                raise RuntimeError("in the middle")

            @webhook
            def never(self, payload: Any) -> Iterator[str]:
                raise RuntimeError("at once")
                yield "nothing"

        self.serve(Streams())
        connection = self.connect()
        sent = connection.send(request("POST", "/breaks"))
        while not connection.disconnected:
            self.assertTrue(self.clock.turn())
            sent += connection.received()
        self.assertIn(b"a part", sent)
        self.assertNotIn(b"500", sent.partition(b"\r\n\r\n")[2])
        self.assertFalse(sent.endswith(b"0\r\n\r\n"))
        broken = self.start("POST", "/breaks")
        while not broken.called:
            self.assertTrue(self.clock.turn())
        self.failureResultOf(broken, ConnectionBroken)
        self.assertEqual(self.ask("POST", "/never").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)
        self.assertEqual(len(self.events.failed), 3)


class Events:
    """A plugin that returns asynchronous generators of server-sent events in every way."""

    def __init__(self) -> None:
        self.gate: Deferred[str] = Deferred()
        self.ended: list[str] = []

    async def events(self) -> AsyncIterator[str]:
        """Yield an event, and wait for the next one."""
        try:
            yield "data: 1\n\n"
            yield await self.gate
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        finally:
            self.ended.append("finally")

    async def silent(self) -> AsyncIterator[str]:
        """Wait before the first event."""
        try:
            yield await self.gate
        finally:
            self.ended.append("silent")

    def value(self, kind: str) -> Any:
        """Return the response of this kind."""
        if kind == "tuple":
            return self.events(), 201, {"Content-Type": "text/event-stream", "X-Kind": kind}
        if kind == "Response":
            return Response(self.events(), 201, {"X-Kind": kind}, mimetype="text/event-stream")
        if kind == "make_response":
            return make_response(self.events(), 201, [("Content-Type", "text/event-stream"), ("X-Kind", kind)])
        if kind == "after_this_request":
            after_this_request(self.change(kind))
            return self.events()
        if kind == "with_context":
            after_this_request(self.change(kind))
            return stream_with_context(self.events())
        return self.registering(kind)

    def change(self, kind: str) -> Any:
        """Return a function for `after_this_request`."""

        def change(response: Any) -> None:
            response.status_code = 201
            response.headers["X-Kind"] = kind
            response.mimetype = "text/event-stream"

        return change

    async def registering(self, kind: str) -> AsyncIterator[str]:
        """Call `after_this_request` in the generator."""
        after_this_request(self.change(f"{kind} {facade.request.path}"))
        async for event in self.events():
            yield event

    @webhook("/coroutine/<kind>")
    async def coroutine(self, payload: Any, kind: str) -> Any:
        return self.value(kind)

    @webhook("/plain/<kind>")
    def plain(self, payload: Any, kind: str) -> Any:
        return self.value(kind)

    @webhook("/generator/<kind>")
    def generator(self, payload: Any, kind: str) -> Iterator[str]:
        after_this_request(self.change(kind))
        yield ""
        yield "data: 1\n\n"
        after_this_request(self.change("too late"))

    @webhook
    async def first(self, payload: Any) -> AsyncIterator[str]:
        return self.silent()


class EventStreamTests(WebCase):
    """Asynchronous generators with a status and headers."""

    def setUp(self) -> None:
        """A server with the plugin."""
        super().setUp()
        self.plugin = Events()
        self.serve(self.plugin)

    def opened(self, path: str, method: str = "GET") -> tuple[Connection, bytes]:
        """Return a connection, and the first part of the response."""
        self.plugin.gate = Deferred()
        self.plugin.ended.clear()
        connection = self.connect()
        sent = connection.send(request(method, path))
        while not sent:
            self.assertTrue(self.clock.turn())
            sent += connection.received()
        return connection, sent

    def test_status_and_headers(self) -> None:
        """Each way to give a status and headers works, from a coroutine and from a thread."""
        for kind in ("tuple", "Response", "make_response", "after_this_request", "with_context"):
            for place in ("coroutine", "plain"):
                connection, sent = self.opened(f"/{place}/{kind}")
                head, _, body = sent.partition(b"\r\n\r\n")
                self.assertEqual((status_of(sent), body), (201, b"9\r\ndata: 1\n\n\r\n"), sent)
                self.assertIn(b"Content-Type: text/event-stream", head)
                self.assertIn(b"X-Kind: " + kind.encode(), head)
                connection.channel.connectionLost()

    def test_after_this_request_in_generator(self) -> None:
        """A generator can register functions until its first item."""
        for place in ("coroutine", "plain"):
            _, sent = self.opened(f"/{place}/registers")
            self.assertEqual(status_of(sent), 201)
            self.assertIn(f"X-Kind: registers /{place}/registers".encode(), sent)
        _, sent = self.opened("/generator/late")
        self.assertEqual(status_of(sent), 201)
        self.assertIn(b"X-Kind: late", sent)

    def test_disconnect_cancels_waiting_generator(self) -> None:
        """A generator that waits for its next item is cancelled and closed when the client disconnects."""
        for place in ("coroutine", "plain"):
            connection, _ = self.opened(f"/{place}/tuple")
            connection.channel.connectionLost()
            self.assertEqual(self.plugin.ended, ["CancelledError", "finally"])
        self.assertEqual(self.events.failed, [])
        self.successResultOf(self.runner.when_idle())

    def test_disconnect_before_first_item(self) -> None:
        """A generator that waits for its first item is closed too, and its request has ended."""
        connection = self.connect()
        connection.send(request("GET", "/first"))
        connection.channel.connectionLost()
        self.assertEqual(self.plugin.ended, ["silent"])
        self.assertEqual(self.events.failed, [])
        self.successResultOf(self.web.when_idle())

    def test_deactivation_ends_streams(self) -> None:
        """When the plugin is deactivated, its streams are aborted and their generators closed, and nothing is logged."""
        connection, _ = self.opened("/coroutine/tuple")
        self.web.routes.end_streams("Other")
        self.assertFalse(connection.closed)
        self.web.routes.end_streams("Events")
        self.assertTrue(connection.disconnected)
        self.assertEqual(self.plugin.ended, ["CancelledError", "finally"])
        self.assertEqual(self.events.failed, [])
        self.successResultOf(self.web.when_idle())

    def test_stop_ends_event_streams(self) -> None:
        """When the service stops, it doesn't wait for streams of events, but for others."""

        class Progress:
            @webhook
            async def progress(hook, payload: Any) -> Any:  # noqa: N805
                return self.plugin.events()

        self.serve(Progress())
        events, _ = self.opened("/coroutine/tuple")
        progress, _ = self.opened("/progress")
        self.web.begin_stopping()
        self.assertTrue(events.disconnected)
        self.assertNoResult(self.web.when_idle())
        self.plugin.gate.callback("data: 2")
        self.assertTrue(progress.received().endswith(b"0\r\n\r\n"))
        self.successResultOf(self.web.when_idle())

    def test_deactivation_before_first_item(self) -> None:
        """A client that waits for the first item gets 503 when the plugin is deactivated."""
        response = self.start("GET", "/first")
        self.web.routes.end_streams("Events")
        self.assertEqual(self.successResultOf(response).status, 503)
        self.assertEqual(self.plugin.ended, ["silent"])

    def test_deactivation_during_a_large_response(self) -> None:
        """A response that isn't a generator's continues, although it is sent in pieces."""

        class Large:
            @webhook
            async def large(self, payload: Any) -> str:
                return "~" * 1_000_000

        self.serve(Large())
        connection = self.connect()
        connection.capacity = 0
        connection.channel.dataReceived(request("GET", "/large"))
        self.web.routes.end_streams("Large")
        while connection.channel._write_paused:
            connection.channel.resumeProducing()
        self.assertFalse(connection.disconnected)
        self.assertEqual(connection.received().count(b"~"), 1_000_000)

    def test_response_is_closed(self) -> None:
        """The functions of `call_on_close` are called after the generator has ended."""
        ended = self.plugin.ended

        class Closing:
            @webhook
            async def closing(hook, payload: Any) -> Any:  # noqa: N805
                response = Response(self.plugin.events())
                response.call_on_close(lambda: ended.append("closed"))
                return response

        self.serve(Closing())
        connection, _ = self.opened("/closing")
        connection.channel.connectionLost()
        self.assertEqual(ended, ["CancelledError", "finally", "closed"])

    def test_head(self) -> None:
        """A HEAD request gets the head only, and the generator is closed."""
        for kind in ("tuple", "registers"):
            connection, sent = self.opened(f"/coroutine/{kind}", "HEAD")
            self.assertEqual(status_of(sent), 201)
            self.assertIn(b"Content-Type: text/event-stream", sent)
            self.assertTrue(sent.endswith(b"\r\n\r\n"))
            self.assertEqual(self.plugin.ended, ["GeneratorExit", "finally"])
            self.assertFalse(connection.closed)


class SocketTests(TestCase):
    """Generators on a real reactor."""

    async def served(self, plugin: object) -> tuple[Any, TCP4ClientEndpoint]:
        """Serve a plugin. Return the reactor, and the endpoint for clients."""
        needs_network()
        from twisted.internet import reactor as imported

        reactor: Any = imported
        pool = WorkerPool(reactor, "webhook", 2)
        self.addCleanup(pool.stop)
        web = WebServer(reactor, Runner(reactor, pool))
        self.addCleanup(web.close)
        web.routes.replace("Generators", hooks_of(plugin))
        await web.listeners.open("tcp:0:interface=127.0.0.1")
        return reactor, TCP4ClientEndpoint(reactor, "127.0.0.1", port_of(web.listeners, "tcp:0:interface=127.0.0.1"))

    async def wait_until(self, reactor: Any, done: Callable[[], bool]) -> None:
        """Wait until `done` returns True."""
        while not done():
            turned: Deferred[None] = Deferred()
            reactor.callLater(0, turned.callback, None)
            await turned

    async def test_disconnect_on_socket_closes_generator(self) -> None:
        """A generator that waits for its next item is closed when its client disconnects."""
        plugin = Events()
        reactor, endpoint = await self.served(plugin)
        client: SocketClient = await connectProtocol(endpoint, SocketClient())
        client.transport.write(request("GET", "/coroutine/tuple"))  # type: ignore[union-attr]
        await client.begun
        client.transport.loseConnection()  # type: ignore[union-attr]
        await client.closed
        await self.wait_until(reactor, lambda: len(plugin.ended) == 2)
        self.assertEqual(plugin.ended, ["CancelledError", "finally"])

    async def test_others_are_answered_meanwhile(self) -> None:
        """Other clients are served during endless streams, which end when their clients disconnect."""
        plugin = PatientGenerators()
        reactor, endpoint = await self.served(plugin)
        streams: list[SocketClient] = []
        for path in ("/empty", "/thread"):
            client: SocketClient = await connectProtocol(endpoint, SocketClient())
            client.transport.write(request("GET", path))  # type: ignore[union-attr]
            streams.append(client)
        for _ in range(20):
            client = await connectProtocol(endpoint, SocketClient())
            client.begun.addTimeout(10, reactor)
            client.transport.write(request("GET", "/quick", b"", "Connection: close"))  # type: ignore[union-attr]
            await client.begun
            self.assertTrue(client.received.endswith(b"quick"))
            await client.closed
        self.assertGreater(plugin.yielded, 0)
        self.assertEqual([client.received for client in streams], [b"", b""])
        self.assertEqual(plugin.ended, [])
        for client in streams:
            client.transport.loseConnection()  # type: ignore[union-attr]
            await client.closed
        await self.wait_until(reactor, lambda: len(plugin.ended) == 2)
        self.assertEqual(sorted(plugin.ended), ["empty", "thread"])
