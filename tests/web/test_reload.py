"""Tests for plugins that are reloaded while requests are open."""

from __future__ import annotations

import threading
import time
from contextvars import Context, ContextVar
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from errklein.running import WorkerPool
from errklein.web import ClientResponse, WebServer
from errklein.webhooks import webhook
from errklein.webhooks.options import hook_options
from tests import takes_long
from tests.web.kit import WebCase, hooks_of

user: ContextVar[str] = ContextVar("user", default="nobody")


class Versioned:
    """A plugin that returns its version, and records starts on old code."""

    newest = 0

    def __init__(self, clock: Any, version: int) -> None:
        self.clock = clock
        self.version = version
        self.late: list[int] = []

    def begin(self) -> None:
        """Record a start on old code."""
        if self.version < Versioned.newest:
            self.late.append(self.version)

    @webhook("/blocking/<int:n>")
    def blocking(self, payload: Any, n: int) -> str:
        self.begin()
        time.sleep(0.001)
        return str(self.version)

    @webhook("/coroutine/<int:n>")
    async def coroutine(self, payload: Any, n: int) -> str:
        self.begin()
        await deferLater(self.clock, 0.5)
        return str(self.version)

    @webhook
    async def large(self, payload: Any) -> str:
        self.begin()
        return str(self.version)


class Neighbour:
    """Another plugin."""

    @webhook
    async def neighbour(self, payload: Any) -> str:
        return "here"


class Gated:
    """A plugin whose handler waits for the test."""

    def __init__(self, version: str, gate: threading.Event) -> None:
        self.version = version
        self.gate = gate
        self.begun = threading.Semaphore(0)

    def wait_for(self, handlers: int) -> None:
        """Wait until this number of handlers has started."""
        for _ in range(handlers):
            assert self.begun.acquire(timeout=60)

    @webhook
    def hook(self, payload: Any) -> str:
        self.begun.release()
        self.gate.wait(10)
        return self.version


class ReloadTests(WebCase):
    """Reloads during which no request is rejected, and none starts on old code."""

    def test_twenty_reloads_under_load(self) -> None:
        """With 200 open requests at any time, every version responds, and every response is 200."""
        takes_long()
        versions = [Versioned(self.clock, version) for version in range(21)]
        Versioned.newest = 0
        self.serve(versions[0])
        self.serve(Neighbour())
        open_requests: list[Deferred[ClientResponse]] = []
        answered: list[ClientResponse] = []
        number = 0

        def fill() -> None:
            nonlocal number
            for request in [request for request in open_requests if request.called]:
                open_requests.remove(request)
                answered.append(self.successResultOf(request))
            while len(open_requests) < 200:
                number += 1
                kind = ("blocking", "coroutine")[number % 2]
                open_requests.append(self.start("POST", f"/{kind}/{number}", b"{}"))

        def turn() -> None:
            self.clock.turn(0.005)
            self.clock.advance(0.25)
            fill()

        fill()
        for version in range(1, 21):
            self.web.routes.hold("Versioned")
            turn()
            self.assertEqual(self.successResultOf(self.start("POST", "/neighbour")).text, "here")
            self.serve(versions[version])
            Versioned.newest = version
            for _ in range(4):
                turn()
        while any(not request.called for request in open_requests):
            self.clock.turn(0.005)
            self.clock.advance(0.25)
        self.assertEqual({response.status for response in answered}, {200})
        self.assertEqual({int(response.text) for response in answered} - {0}, set(range(1, 21)))
        self.assertEqual([late for version in versions for late in version.late], [])
        self.assertEqual(self.events.failed, [])

    def test_running_on_old_code_waiting_on_new(self) -> None:
        """Running handlers end on the old code; requests that wait for a thread get the new one."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        old = Gated("old", gate)
        self.serve(old, "Gated")
        requests = [self.start("POST", "/hook") for _ in range(30)]
        old.wait_for(20)
        self.web.routes.hold("Gated")
        parked = self.start("POST", "/hook")
        self.assertEqual(self.pool.waiting, 10)
        self.serve(Gated("new", gate), "Gated")
        gate.set()
        texts = [self.response_to(request).text for request in (*requests, parked)]
        self.assertEqual(texts, ["old"] * 20 + ["new"] * 11)

    def test_thread_wakes_up_after_reload(self) -> None:
        """A request whose thread starts after the reload gets the new code."""
        sleeping, gate = self.sleeping_threads(), threading.Event()
        gate.set()
        self.serve(Gated("old", gate), "Gated")
        request = self.start("POST", "/hook")
        self.serve(Gated("new", gate), "Gated")
        self.wake_up(sleeping)
        self.assertEqual(self.response_to(request).text, "new")

    def sleeping_threads(self) -> list[Any]:
        """Replace the server by one whose threads the test starts, and return what they are to run."""
        sleeping: list[Any] = []
        pool = WorkerPool(self.clock, "webhook", 2, start_thread=lambda target, name: sleeping.append(target))
        self.addCleanup(pool.stop)
        self.web = WebServer(self.clock, self.runner.using(pool))
        return sleeping

    def wake_up(self, sleeping: list[Any]) -> None:
        """Start the threads, and let them work."""
        for target in sleeping:
            threading.Thread(target=target, daemon=True).start()
        while self.clock.turn(0.05):
            pass

    def test_deadline_while_a_request_waits_for_a_reload(self) -> None:
        """A request whose thread started during a reload gets 503 if that takes too long, and isn't handled later."""
        sleeping, gate = self.sleeping_threads(), threading.Event()
        gate.set()
        self.serve(Gated("old", gate), "Gated")
        request = self.start("POST", "/hook")
        self.web.routes.hold("Gated")
        self.wake_up(sleeping)
        self.pass_time(61)
        self.assertEqual(self.response_to(request).status, 503)
        new = Gated("new", gate)
        self.serve(new, "Gated")
        while self.clock.turn(0.05):
            pass
        self.assertFalse(new.begun.acquire(blocking=False))

    def test_thread_wakes_up_after_deadline_and_reload(self) -> None:
        """A request whose thread starts after the client got 504 and the plugin was reloaded isn't handled."""
        sleeping, gate = self.sleeping_threads(), threading.Event()
        gate.set()
        self.serve(Gated("old", gate), "Gated")
        request = self.start("POST", "/hook")
        self.pass_time(61)
        self.assertEqual(self.response_to(request).status, 504)
        new = Gated("new", gate)
        self.serve(new, "Gated")
        self.wake_up(sleeping)
        self.assertFalse(new.begun.acquire(blocking=False))
        self.assertEqual(self.web.services.recording.overdue, set())

    def test_thread_becomes_free_during_reload(self) -> None:
        """A request whose thread becomes free during the reload waits for the new code."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        old = Gated("old", gate)
        self.serve(old, "Gated")
        requests = [self.start("POST", "/hook") for _ in range(21)]
        old.wait_for(20)
        self.web.routes.hold("Gated")
        gate.set()
        self.assertEqual([self.response_to(request).text for request in requests[:20]], ["old"] * 20)
        while self.clock.turn(0.05):
            pass
        self.assertNoResult(requests[20])
        self.serve(Gated("new", gate), "Gated")
        self.assertEqual(self.response_to(requests[20]).text, "new")

    def test_client_disconnects_before_its_thread_becomes_free(self) -> None:
        """The new code handles the request, and the memory of its body is given back once."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        old, new = Gated("old", gate), Gated("new", gate)
        self.serve(old, "Gated")
        memory = self.web.site.bodies._room
        requests = [self.start("POST", "/hook") for _ in range(20)]
        old.wait_for(20)
        connection = self.connect()
        connection.send(b"POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")
        connection.channel.connectionLost()
        self.web.routes.hold("Gated")
        gate.set()
        for response in requests:
            self.response_to(response)
        while self.clock.turn(0.05):
            pass
        self.serve(new, "Gated")
        new.wait_for(1)
        while self.clock.turn(0.05):
            pass
        self.assertEqual(self.web.site.bodies._room, memory)

    def test_removed_route_gets_404_while_waiting(self) -> None:
        """A waiting request whose route is removed gets 404."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        old = Gated("old", gate)
        self.serve(old, "Gated")
        requests = [self.start("POST", "/hook") for _ in range(21)]
        old.wait_for(20)
        self.web.routes.remove("Gated")
        gate.set()
        self.assertEqual([self.response_to(request).status for request in requests], [200] * 20 + [404])

    def test_blocking_handler_becomes_coroutine(self) -> None:
        """A waiting request whose new handler is a coroutine runs on the reactor."""

        class Later:
            @webhook("/hook", form_param="payload")
            async def hook(self, payload: Any) -> str:
                return f"new {payload}"

        gate = threading.Event()
        self.addCleanup(gate.set)
        old = Gated("old", gate)
        self.serve(old, "Gated")
        form = "application/x-www-form-urlencoded"
        requests = [self.start("POST", "/hook", b"payload=1", form) for _ in range(21)]
        old.wait_for(20)
        self.serve(Later(), "Gated")
        gate.set()
        self.assertEqual([self.response_to(request).text for request in requests], ["old"] * 20 + ["new 1"])

    def test_large_body_is_parsed_during_reload(self) -> None:
        """A request whose body is decoded during the reload gets the new code."""
        Versioned.newest = 0
        self.serve(Versioned(self.clock, 0))
        request = self.start("POST", "/large", b"[" + b"1," * 50_000 + b"1]")
        Versioned.newest = 1
        newer = Versioned(self.clock, 1)
        self.web.routes.replace("Versioned", hooks_of(newer))
        self.assertEqual(self.response_to(request).text, "1")

    def test_a_hold_that_never_ends(self) -> None:
        """A request that waits for a reload longer than its timeout gets 503."""
        self.serve(Neighbour())
        self.web.routes.hold("Neighbour")
        request = self.start("POST", "/neighbour")
        self.pass_time(60.5)
        self.assertEqual(self.successResultOf(request).status, 503)
        self.assertEqual(self.events.overdue, [])
        self.web.routes.release("Neighbour")
        self.assertEqual(self.ask("POST", "/neighbour").text, "here")

    def test_context_variables(self) -> None:
        """A request that waits for a reload doesn't run in the context of the reload, and so isn't a part of it."""

        class Users:
            @webhook
            async def user(self, payload: Any) -> str:
                return user.get()

        def release() -> None:
            user.set("the reload")
            self.web.routes.release("Users")

        self.serve(Users())
        self.web.routes.hold("Users")
        waiting = self.start("POST", "/user")
        Context().run(release)
        self.assertEqual(self.successResultOf(waiting).text, "nobody")

    def test_a_release_without_change(self) -> None:
        """After a reload without changes, waiting requests get the same code."""
        self.serve(Neighbour())
        self.web.routes.hold("Neighbour")
        request = self.start("POST", "/neighbour")
        self.assertNoResult(request)
        self.web.routes.release("Neighbour")
        self.assertEqual(self.successResultOf(request).text, "here")


class OptionsTests(WebCase):
    """The operator's options change while requests are open."""

    def use(self, **settings: Any) -> None:
        """Use other settings."""
        self.web.use(replace(self.web.site.settings, **settings))

    def test_waiting_request(self) -> None:
        """A request that was admitted runs by the options of then, and isn't checked again; the next one by the new ones."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        plugin = Gated("the same", gate)
        self.serve(plugin, "Gated")
        requests = [self.start("POST", "/hook") for _ in range(25)]
        plugin.wait_for(20)
        self.use(webhooks=hook_options({"Gated:hook": {"verify": "bearer", "secret": "env:NO_SUCH"}}))
        later = self.start("POST", "/hook")
        gate.set()
        self.assertEqual({self.response_to(request).text for request in requests}, {"the same"})
        self.assertEqual(self.response_to(later).status, 503)

    def test_timeout(self) -> None:
        """The next requests have the new timeout."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.serve(Gated("", gate), "Gated")
        before = self.start("POST", "/hook")
        self.use(timeout=5.0)
        after = self.start("POST", "/hook")
        self.pass_time(6)
        self.assertNoResult(before)
        self.assertEqual(self.response_to(after).status, 504)
