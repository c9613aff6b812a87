"""Tests for the decision where a handler runs."""

from __future__ import annotations

import functools
import gc
import time
import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from textwrap import dedent
from typing import Any

import treq
from twisted.internet import defer, reactor, threads
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import ExplainedPlacement, Placement, explain_placement, on_reactor, placement_of
from errklein.webhooks import webhook
from tests import takes_long


def fetch(url: str) -> Any:
    """A helper of the plugin that uses treq."""
    return treq.get(url)


def wrapped(function: Any) -> Any:
    """A decorator that the plugin defines."""

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
    """The place of a handler follows from its code."""

    def test_blocking_code_runs_in_a_thread(self) -> None:
        """Plain functions, and functions that use names made for threads, run in a thread."""
        placed = {name: placement_of(getattr(Handlers(), name)) for name in ON_THREAD}
        self.assertEqual(placed, dict.fromkeys(ON_THREAD, Placement.THREAD))

    def test_code_that_uses_twisted_runs_on_the_reactor(self) -> None:
        """Code that awaits, returns or creates Deferreds runs on the reactor."""
        placed = {name: placement_of(getattr(Handlers(), name)) for name in ON_REACTOR}
        self.assertEqual(placed, dict.fromkeys(ON_REACTOR, Placement.REACTOR))

    def test_every_kind_is_tried(self) -> None:
        """Each handler of this module is in one of the two lists."""
        names = {name for name in vars(Handlers) if not name.startswith("_") and name != "logger"}
        self.assertEqual(names, {*ON_THREAD, *ON_REACTOR})

    def test_a_subclass_can_move_a_handler(self) -> None:
        """Methods used through `self` are looked up on the instance's class."""

        class Blocking(Handlers):
            def names_treq(self, payload: object) -> str:
                return "no treq here"

        self.assertEqual(placement_of(Handlers().names_a_method), Placement.REACTOR)
        self.assertEqual(placement_of(Blocking().names_a_method), Placement.THREAD)

    def test_functions_can_go(self) -> None:
        """The cache keeps no reference to the classes of a reloaded plugin."""
        takes_long()
        namespace: dict[str, Any] = {"__name__": "plugin"}
        exec("class Old:\n    def handler(self): pass", namespace)
        old = namespace.pop("Old")
        placement_of(old().handler)
        gone = weakref.ref(old)
        del old
        gc.collect()
        self.assertIsNone(gone())

    def test_callables_without_code(self) -> None:
        """Builtins and partial objects have a place too."""
        self.assertEqual(placement_of(print), Placement.THREAD)
        self.assertEqual(placement_of(functools.partial(Handlers().names_treq, 1)), Placement.REACTOR)


REASONS = {
    "plain": "plain function",
    "coroutine": "async def",
    "async_generator": "async def",
    "inline_callbacks": "inlineCallbacks",
    "wrapped_coroutine": "async def",
    "annotated": "returns Deferred",
    "marked": "marked with on_reactor or threaded=False",
    "marked_threaded": "marked with threaded=True",
    "hands_over": "plain function",
}


class ReasonTests(SynchronousTestCase):
    """The reasons for the decision, as `errklein check` prints them."""

    def test_reasons(self) -> None:
        """The reason names the rule that decided."""
        found = {name: explain_placement(getattr(Handlers(), name)).reason for name in REASONS}
        self.assertEqual(found, REASONS)

    def test_builtins(self) -> None:
        """Callables without Python code have a reason too."""
        self.assertEqual(explain_placement(print), ExplainedPlacement(Placement.THREAD, "builtin"))

    def test_a_helper_moves_its_caller(self) -> None:
        """A helper that names treq moves the handler that calls it to the reactor, and the reason names the helper."""
        source = """\
            import treq
            class Plugin:
                def handler(self):
                    self._notify()
                def _notify(self):
                    treq.post("/")
            """
        self.assertEqual(self.decide(source), ExplainedPlacement(Placement.REACTOR, "names treq in _notify"))

    def decide(self, source: str, name: str = "handler") -> ExplainedPlacement:
        """Return the decision about a method of the class Plugin in the source."""
        namespace: dict[str, Any] = {"__name__": "some_plugin"}
        exec(compile(dedent(source), "some_plugin.py", "exec"), namespace)
        return explain_placement(getattr(namespace["Plugin"](), name))

    def test_names(self) -> None:
        """The reason contains a Twisted name and its helper; the nearest name is reported."""
        source = """\
            import treq
            from twisted.internet import task
            class Plugin:
                def handler(self):
                    return treq.get("/")
                def caller(self):
                    self.helper()
                    return task.deferLater
                def other(self):
                    self.helper()
                def helper(self):
                    if True:
                        return treq.get("/")
            """
        self.assertEqual(self.decide(source).reason, "names treq")
        self.assertEqual(self.decide(source, "caller").reason, "names task")
        self.assertEqual(self.decide(source, "other").reason, "names treq in helper")

    def test_names_in_another_file(self) -> None:
        """The reason contains the file of a helper in another file."""
        helpers: dict[str, Any] = {"__name__": "errklein_plugins.some.helpers", "treq": treq}
        exec(compile("def fetch():\n    return treq.get('/')\n", "/plugins/some/helpers.py", "exec"), helpers)
        plugin: dict[str, Any] = {"__name__": "errklein_plugins.some.main", "fetch": helpers["fetch"]}
        exec(compile("def handler():\n    return fetch()\n", "/plugins/some/main.py", "exec"), plugin)
        self.assertEqual(explain_placement(plugin["handler"]).reason, "names treq in fetch of helpers.py")

    def test_objects_without_readable_attributes(self) -> None:
        """A global or class attribute whose attributes can't be read, such as Flask's request outside of one, is like any name."""
        source = """\
            class Proxy:
                def __getattr__(self, name):
                    raise RuntimeError("there is no request")
            request = Proxy()
            class Plugin:
                current = request
                def handler(self):
                    return request.data, self.current.data
            """
        self.assertEqual(self.decide(source).reason, "plain function")

    def test_a_module_before_self(self) -> None:
        """A module among the arguments doesn't hide the attributes of self."""
        source = """\
            import json, treq
            class Plugin:
                def handler(self):
                    return print(json, self.helper())
                def helper(self):
                    return treq.get("/")
            """
        self.assertEqual(self.decide(source).reason, "names treq in helper")


class Treq:
    """A descriptor of treq clients, as that of BotPlugin."""

    _errklein_library = "treq.client.HTTPClient"

    def __get__(self, instance: object, owner: type) -> object:
        return treq


class Base:
    """Has such a client, as BotPlugin has."""

    http = Treq()


CLIENTS = {
    "return self.http.get('/')": "names self.http",
    "return [self.http.get(url) for url in ()]": "names self.http",
    "return lambda: self.http": "names self.http",
    "client = self.http; return client.get('/')": "names self.http",
    "return self.fetch()": "names self.http in fetch",
    "return self.api.http.get('/')": "plain function",
    "return self.apis['http'].http": "plain function",
    "other = self.api; return other.http.get('/')": "plain function",
    "import http; return http.HTTPStatus": "plain function",
    "reactor.callFromThread(self.http.get, '/')": "plain function",
}
"""Bodies of handlers, and the reasons for their places."""

OWN_ATTRIBUTES = (
    "http = None",
    "def http(self): pass",
    "@property\n    def http(self): pass",
    "def activate(self): self.http = requests.Session()",
    "def activate(self):\n        def later(): self.http: object = None\n        later()",
    "@wrapped\n    def activate(self): self.http = None",
)
"""Definitions of a plugin's own attribute `http`."""


class ClientTests(SynchronousTestCase):
    """`self.http`, which is a treq client."""

    def place(self, body: str, own: str = "pass", bases: str = "Base") -> ExplainedPlacement:
        """Return the decision about a handler with this body, in a class with other definitions."""
        source = (
            f"from twisted.internet import reactor\nclass Plugin({bases}):\n    def handler(self):\n        {body}\n"
            f"    def fetch(self):\n        return self.http.get('/')\n    {own}\n"
        )
        namespace: dict[str, Any] = {"__name__": "some_plugin", "Base": Base, "Mixin": Mixin, "wrapped": wrapped}
        exec(compile(source, "some_plugin.py", "exec"), namespace)
        return explain_placement(namespace["Plugin"]().handler)

    def test_like_treq(self) -> None:
        """Code that uses `self.http` is placed like code that names treq; `http` of another object is like any name."""
        self.assertEqual({body: self.place(body).reason for body in CLIENTS}, CLIENTS)

    def test_many_names(self) -> None:
        """The rule also applies to functions with so many names that instructions need a prefix."""
        names = "; ".join(f"self.name{number}" for number in range(300))
        self.assertEqual(self.place(f"{names}; self.http.get('/')").reason, "names self.http")

    def test_own_attributes(self) -> None:
        """An attribute of the plugin's own that has this name moves nothing to the reactor."""
        for own in OWN_ATTRIBUTES:
            self.assertEqual(self.place("return self.http.get('/')", own).placement, Placement.THREAD, own)
        for bases in ("Mixin, Base", "Base, Mixin"):
            self.assertEqual(self.place("return self.http.get('/')", bases=bases).placement, Placement.THREAD, bases)


class Mixin:
    """Another base class, with an attribute of the same name."""

    def connect(self) -> None:
        self.http = None
