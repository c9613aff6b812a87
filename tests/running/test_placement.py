"""Tests for where a handler runs."""

from __future__ import annotations

import functools
import gc
import time
import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import treq
from twisted.internet import defer, reactor, threads
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import Placement, on_reactor, place
from errklein.webhooks import webhook


def fetch(url: str) -> Any:
    """A helper of the plugin that uses treq."""
    return treq.get(url)


def wrapped(function: Any) -> Any:
    """A decorator of the plugin's own."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Handlers:
    """Every kind of handler."""

    logger = Logger()

    def plain(self, payload: object) -> str:
        time.sleep(1)
        return "done"

    def plain_generator(self, payload: object) -> Iterator[str]:
        yield "done"

    def logs(self, payload: object) -> str:
        self.logger.info("a logger of Twisted's is safe in threads")
        return "done"

    def hands_over(self, payload: object) -> str:
        reactor.callFromThread(fetch, "http://127.0.0.1/")  # type: ignore[attr-defined]
        return "done"

    def waits_for_reactor(self, payload: object) -> object:
        return threads.blockingCallFromThread(reactor, fetch, "http://127.0.0.1/")

    async def coroutine(self, payload: object) -> str:
        return "done"

    async def async_generator(self, payload: object) -> AsyncIterator[str]:
        yield "done"

    @inlineCallbacks
    def inline_callbacks(self, payload: object) -> Generator[Deferred[Any], Any, str]:
        yield fetch("http://127.0.0.1/")
        return "done"

    @wrapped
    async def wrapped_coroutine(self, payload: object) -> str:
        return "done"

    @wrapped
    @inlineCallbacks
    def wrapped_inline_callbacks(self, payload: object) -> Generator[Deferred[Any], Any, str]:
        yield fetch("http://127.0.0.1/")
        return "done"

    def annotated(self, payload: object) -> Deferred[str]:
        return self.unknown(payload)  # type: ignore[attr-defined, no-any-return]

    def names_treq(self, payload: object):  # type: ignore[no-untyped-def]
        return treq.get("http://127.0.0.1/").addCallback(treq.content)

    def imports_inside(self, payload: object):  # type: ignore[no-untyped-def]
        from twisted.internet.task import deferLater

        return deferLater(reactor, 1, str)

    def names_a_helper(self, payload: object):  # type: ignore[no-untyped-def]
        return fetch("http://127.0.0.1/")

    def names_a_method(self, payload: object):  # type: ignore[no-untyped-def]
        return self.names_treq(payload)

    def names_it_in_a_lambda(self, payload: object):  # type: ignore[no-untyped-def]
        later = lambda: defer.succeed(None)  # noqa: E731
        return later()

    @on_reactor
    def marked(self, payload: object) -> str:
        return "done"

    @webhook(threaded=True)
    async def marked_threaded(self, payload: object) -> str:
        return "done"

    @webhook(threaded=False)
    def marked_reactor(self, payload: object) -> str:
        return "done"


ON_THREAD = ("plain", "plain_generator", "logs", "hands_over", "waits_for_reactor", "marked_threaded")
ON_REACTOR = (
    "coroutine",
    "async_generator",
    "inline_callbacks",
    "wrapped_coroutine",
    "wrapped_inline_callbacks",
    "annotated",
    "names_treq",
    "imports_inside",
    "names_a_helper",
    "names_a_method",
    "names_it_in_a_lambda",
    "marked",
    "marked_reactor",
)


class PlaceTests(SynchronousTestCase):
    """A handler's place follows from how it is written."""

    def test_blocking_code_runs_in_a_thread(self) -> None:
        """Plain functions, and functions that know that they are in a thread, go to the pool."""
        placed = {name: place(getattr(Handlers(), name)) for name in ON_THREAD}
        self.assertEqual(placed, dict.fromkeys(ON_THREAD, Placement.THREAD))

    def test_code_that_uses_twisted_runs_on_the_reactor(self) -> None:
        """Whatever awaits, returns or makes Deferreds stays on the reactor."""
        placed = {name: place(getattr(Handlers(), name)) for name in ON_REACTOR}
        self.assertEqual(placed, dict.fromkeys(ON_REACTOR, Placement.REACTOR))

    def test_every_kind_is_tried(self) -> None:
        """No handler of this module is left out of the two lists."""
        names = {name for name in vars(Handlers) if not name.startswith("_") and name != "logger"}
        self.assertEqual(names, {*ON_THREAD, *ON_REACTOR})

    def test_a_subclass_can_move_a_handler(self) -> None:
        """What a method uses through `self` is looked up on the instance's own class."""

        class Blocking(Handlers):
            def names_treq(self, payload: object) -> str:
                return "no treq here"

        self.assertEqual(place(Handlers().names_a_method), Placement.REACTOR)
        self.assertEqual(place(Blocking().names_a_method), Placement.THREAD)

    def test_functions_can_go(self) -> None:
        """Nothing is kept of a class that nobody has any more, as those of a plugin that was reloaded."""
        namespace: dict[str, Any] = {"__name__": "plugin"}
        exec("class Old:\n    def handler(self): pass", namespace)
        old = namespace.pop("Old")
        place(old().handler)
        gone = weakref.ref(old)
        del old
        gc.collect()
        self.assertIsNone(gone())

    def test_callables_without_code(self) -> None:
        """Builtins and partial objects have a place too."""
        self.assertEqual(place(print), Placement.THREAD)
        self.assertEqual(place(functools.partial(Handlers().names_treq, 1)), Placement.REACTOR)
