"""Tests for the memory budget of request bodies."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import Overloaded, PoolStopped, WorkerPool
from errklein.web import WebSettings
from errklein.web._delivery import WEIGHT, Lane
from errklein.webhooks import Hook, HookDeclaration, webhook
from tests.clocks import ThreadClock
from tests.web.kit import Connection, WebCase, request, status_of

JSON = "application/json"


class LaneTests(SynchronousTestCase):
    """A lane admits bodies while there is memory for them."""

    def setUp(self) -> None:
        """Create a lane for ten bodies of one byte, whose "threads" run jobs at once."""
        self.clock = ThreadClock()
        self.pool = WorkerPool(self.clock, "test", 20, wait=10, start_thread=lambda target, name: None)
        self.lane = Lane(self.clock, self.pool, 10 * WEIGHT)
        self.handled: list[str] = []
        self.ends: dict[str, Deferred[None]] = {}

    def enter(self, name: str, size: int, client: str = "") -> Deferred[Any]:
        """Let a body enter. It leaves when `ends[name]` fires."""
        self.patch(self.pool, "run", lambda prepare: self._decoded(prepare()()))

        def handle(value: str) -> Deferred[None]:
            self.handled.append(value)
            self.ends[value] = Deferred()
            return self.ends[value]

        return self.lane.run(client or name, size, lambda: name, handle)

    def _decoded(self, value: str) -> Deferred[str]:
        decoded: Deferred[str] = Deferred()
        decoded.callback(value)
        return decoded

    def test_order(self) -> None:
        """Bodies wait for room, and the smallest is admitted first, of equal ones the first."""
        sizes = {"a": 6, "b": 4, "c": 5, "d": 3, "e": 3}
        results = [self.enter(name, size) for name, size in sizes.items()]
        self.assertEqual(self.handled, ["a", "b"])
        self.ends["b"].callback(None)
        self.assertEqual(self.handled, ["a", "b", "d"])
        self.ends["a"].callback(None)
        self.assertEqual(self.handled, ["a", "b", "d", "e"])
        self.ends["d"].errback(ValueError("x"))
        self.failureResultOf(results[3], ValueError)
        self.assertEqual(self.handled, ["a", "b", "d", "e", "c"])
        self.assertNoResult(results[2])
        self.clock.advance(100)

    def test_shares_of_clients(self) -> None:
        """A client whose bodies use less memory is next, also with a larger body, and none may use more than half."""
        for name in "abc":
            self.enter(name, 3, client="one")
        self.assertEqual(self.handled, ["a"])
        self.enter("d", 4, client="two")
        self.enter("e", 2, client="one")
        self.assertEqual(self.handled, ["a", "d", "e"])
        self.ends["d"].callback(None)
        self.assertEqual(self.handled, ["a", "d", "e"])
        self.ends["a"].callback(None)
        self.assertEqual(self.handled, ["a", "d", "e", "b"])

    def test_threads(self) -> None:
        """Only as many bodies are admitted as the threads can decode; one that is smaller than others gets the next thread."""
        self.pool.size = 1
        pending: list[Deferred[Any]] = []
        self.patch(self.pool, "run", lambda prepare: pending.append(Deferred()) or pending[-1])
        for name in "abc":
            size = "cba".index(name) + 1
            self.lane.run(name, size, lambda: None, lambda name: self.handled.append(name) or Deferred())
        for name in "acb":
            pending[-1].callback(name)
        self.assertEqual(self.handled, ["a", "c", "b"])
        self.assertEqual(len(pending), 3)

    def test_larger_than_the_limit(self) -> None:
        """A body that needs more memory than all together may have is admitted alone."""
        self.enter("a", 1)
        self.enter("b", 1000)
        self.assertEqual(self.handled, ["a"])
        self.ends["a"].callback(None)
        self.enter("c", 1)
        self.assertEqual(self.handled, ["a", "b"])
        self.ends["b"].callback(None)
        self.assertEqual(self.handled, ["a", "b", "c"])

    def test_overloaded(self) -> None:
        """A body that doesn't get memory in time is rejected, and those behind it still wait."""
        self.enter("a", 10)
        late = self.enter("b", 10)
        self.clock.advance(5)
        later = self.enter("c", 1)
        self.clock.advance(5)
        error = self.failureResultOf(late, Overloaded).value
        self.assertEqual(str(error), "the test pool is overloaded: no memory for a body became free in 10 s")
        self.assertEqual(error.retry_after, 10)
        self.assertNoResult(later)
        self.ends["a"].callback(None)
        self.assertEqual(self.handled, ["a", "c"])

    def test_stop(self) -> None:
        """When the server stops, bodies that wait are rejected."""
        self.enter("a", 10)
        waiting = [self.enter(name, 10) for name in "bc"]
        self.lane.stop()
        for result in waiting:
            self.failureResultOf(result, PoolStopped)
        self.ends["a"].callback(None)
        self.assertEqual(self.handled, ["a"])

    def test_many_that_fail_at_once(self) -> None:
        """A thousand waiting bodies whose requests have ended meanwhile leave one after the other."""
        self.enter("a", 10)

        def ended() -> Any:
            raise RuntimeError

        def run(prepare: Any) -> Deferred[Any]:
            failed: Deferred[Any] = Deferred()
            try:
                prepare()()
            except RuntimeError as error:
                failed.errback(error)
            return failed

        self.patch(self.pool, "run", run)
        results = [self.lane.run("client", 10, ended, lambda _: Deferred()) for _ in range(1000)]
        self.ends["a"].callback(None)
        for result in results:
            self.failureResultOf(result, RuntimeError)


class Hooks:
    """A plugin with handlers that wait for the test."""

    def __init__(self) -> None:
        self.gates: list[Deferred[None]] = []
        self.got: list[Any] = []

    @webhook
    async def slow(self, payload: Any) -> str:
        gate: Deferred[None] = Deferred()
        self.gates.append(gate)
        await gate
        self.got.append(len(payload))
        return "done"

    @webhook
    async def quick(self, payload: Any) -> str:
        return f"{len(payload)}"

    @webhook
    def threaded(self, payload: Any) -> str:
        self.got.append(threading.current_thread().name)
        return f"{len(payload)}"

    @webhook(raw=True)
    async def raw(self, request: Any) -> str:
        return f"{len(request.get_json())} {len(request.get_data())} {len(request.form)}"


class LargeBodyTests(WebCase):
    """Requests with large bodies."""

    settings = WebSettings(body_memory=40_000_000)

    def setUp(self) -> None:
        """Serve the plugin."""
        super().setUp()
        self.plugin = Hooks()
        self.serve(self.plugin)

    def text(self, size: int) -> bytes:
        """Return JSON with a string."""
        return b'"' + b"x" * size + b'"'

    def turn_until(self, gates: int) -> None:
        """Let threads work until the plugin has as many gates."""
        while len(self.plugin.gates) < gates and self.clock.turn():
            self.clock.advance(0)

    def test_every_kind_of_handler(self) -> None:
        """Bodies of all sizes arrive in all handlers; blocking handlers run in their own threads."""
        for size in (10, 100_000, 3_000_000):
            body = self.text(size)
            for path, shown in (("/quick", size), ("/threaded", size), ("/raw", f"{size} {len(body)} 0")):
                self.assertEqual(self.ask("POST", path, body, JSON).text, str(shown))
        self.assertEqual({name.split(" ")[1] for name in self.plugin.got}, {"webhook"})

    def test_memory_is_taken_until_the_handler_ends(self) -> None:
        """The memory of a body is free again when its handler has ended, not when its client has disconnected."""
        room = self.web.site.bodies._room
        connection = self.connect()
        connection.send(request("POST", "/slow", self.text(1000)))
        connection.channel.connectionLost()
        self.assertEqual(self.web.site.bodies._room, room - 1002)
        self.plugin.gates[0].callback(None)
        self.assertEqual(self.web.site.bodies._room, room)

    def test_many_lists_are_decoded_in_a_thread(self) -> None:
        """JSON with many lists waits for memory as a large body does; with fewer, it is decoded on the reactor."""
        connection = self.connect()
        self.assertEqual(
            status_of(connection.send(request("POST", "/quick", b"[" * 2 + b"[]," * 998 + b" " * 12_000 + b"1]]"))), 200
        )
        self.assertEqual(
            connection.send(request("POST", "/quick", b"[" * 2 + b"[]," * 999 + b" " * 12_000 + b"1]]")), b""
        )
        while self.clock.turn(0.05):
            pass
        self.assertEqual(status_of(connection.received()), 200)

    def test_small_bodies_do_not_wait(self) -> None:
        """While large bodies fill the memory, further ones wait and get 503 at last; smaller ones are handled."""
        first = self.start("POST", "/slow", self.text(3_000_000), JSON)
        self.turn_until(1)
        second = self.start("POST", "/quick", self.text(2_000_000), JSON)
        self.assertEqual(self.ask("POST", "/quick", self.text(100_000), JSON).text, "100000")
        self.assertEqual(self.ask("POST", "/quick", b'"x"', JSON).text, "1")
        self.assertNoResult(second)
        self.clock.advance(10)
        response = self.response_to(second)
        self.assertEqual((response.status, response.header("Retry-After")), (503, "10"))
        self.assertIn("no memory for a body", response.text)
        self.plugin.gates[0].callback(None)
        self.assertEqual(self.response_to(first).text, "done")
        self.assertEqual(self.ask("POST", "/quick", self.text(2_000_000), JSON).text, "2000000")

    def test_client_disconnects_while_its_body_waits(self) -> None:
        """A body that waits for memory is handled, also if its client has disconnected."""
        first = self.start("POST", "/slow", self.text(3_000_000), JSON)
        self.turn_until(1)
        connection = self.connect()
        connection.send(request("POST", "/slow", self.text(2_000_000)))
        connection.channel.connectionLost()
        self.plugin.gates[0].callback(None)
        self.response_to(first)
        self.turn_until(2)
        self.plugin.gates[1].callback(None)
        self.assertEqual(self.plugin.got, [3_000_000, 2_000_000])

    def send_and_disconnect(self, path: str, size: int) -> None:
        """Send a request, and disconnect without reading the response."""
        connection = self.connect()
        sent = request("POST", path, self.text(size))
        # What arrives in one piece stays in memory.
        connection.send(sent[:200_000])
        connection.send(sent[200_000:])
        connection.channel.connectionLost()

    def handle_waiting(self, sizes: list[int]) -> None:
        """Let handlers handle bodies of these sizes, and check that all memory is given back."""
        self.turn_until(len(sizes))
        for gate in self.plugin.gates:
            gate.callback(None)
        self.assertEqual(sorted(self.plugin.got), sizes)
        self.assertEqual(self.web.site.bodies._room, 5_000_000)

    def test_client_disconnects_during_a_reload(self) -> None:
        """A body that waits for a reload is handled, also if its client has disconnected."""
        self.web.routes.hold("Hooks")
        self.send_and_disconnect("/slow", 100_000)
        self.send_and_disconnect("/slow", 2_000_000)
        self.web.routes.release("Hooks")
        self.handle_waiting([100_000, 2_000_000])

    def test_client_disconnects_and_its_plugin_is_reloaded(self) -> None:
        """A body that waits for a thread, then for a reload, is handled, also if its client has disconnected."""
        self.send_and_disconnect("/slow", 100_000)
        self.send_and_disconnect("/slow", 2_000_000)
        self.web.routes.hold("Hooks")
        self.clock.turn()
        self.web.routes.release("Hooks")
        self.handle_waiting([100_000, 2_000_000])

    def test_limit_of_a_route_that_changes(self) -> None:
        """If the routes change while a body arrives, the limit of its present route holds."""
        got: list[str] = []

        async def small(payload: Any, number: str) -> None:
            got.append(number)

        for limit, size, status in ((102, 101, 413), (102, 100, 200)):
            self.web.routes.replace("Rest", ())
            self.web.routes.replace("Any", [Hook("Any", "any", HookDeclaration("/<path:any>"), print)])
            connection = self.connect()
            whole = request("POST", "/many/0", self.text(size))
            connection.send(whole[:-1])
            declaration = HookDeclaration("/many/<number>", max_body=limit)
            self.web.routes.replace("Rest", [Hook("Rest", "small", declaration, small)])
            received = connection.send(whole[-1:])
            self.assertEqual(status_of(received), status)
        self.assertEqual(got, ["0"])

    def test_stop_while_a_body_waits(self) -> None:
        """When the server stops, a request whose body waits gets 503, and its handler isn't called."""
        self.start("POST", "/slow", self.text(3_000_000), JSON)
        self.turn_until(1)
        waiting = self.start("POST", "/slow", self.text(2_000_000), JSON)
        self.assertNoResult(waiting)
        self.web.refuse_waiting()
        response = self.response_to(waiting)
        self.assertEqual(response.status, 503)
        self.assertIn("stopping", response.text)
        self.plugin.gates[0].callback(None)
        self.assertEqual(len(self.plugin.gates), 1)

    def test_nothing_is_kept(self) -> None:
        """Requests that are rejected for their bodies leave nothing in memory that the garbage collector would have to find."""
        kept: list[Any] = []
        route = self.web.site.intake.route

        def seen(arrived: Any) -> None:
            kept.append(weakref.ref(arrived))
            route(arrived)

        self.patch(self.web.site.intake, "route", seen)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for path in ("/quick", "/threaded", "/raw"):
            for body, kind in ((self.text(2_000_000), JSON), (b"[" * 100_000, JSON), (b"a&" * 100_000, "text/plain")):
                self.ask("POST", path, body, kind)
        self.assertEqual([ref for ref in kept if ref() is not None], [])


class NoMemoryTests(WebCase):
    """A server with a budget of 0 keeps no body in memory until it is handled."""

    settings = WebSettings(body_memory=0)

    def test_all_bodies_are_handled(self) -> None:
        """Bodies of any size, in one part or in several, are handled by all handlers."""
        self.serve(Hooks())
        for size in (10, 100_000):
            for path in ("/quick", "/threaded"):
                self.assertEqual(self.ask("POST", path, b"x" * size).text, str(size))
        connection: Connection = self.connect()
        whole = request("POST", "/quick", b"x" * 20)
        connection.send(whole[:-10])
        connection.send(whole[-10:])
        received = b""
        while not received and self.clock.turn():
            received = connection.received()
        self.assertEqual(status_of(received), 200)
