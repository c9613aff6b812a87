"""The values of `self.store`, in coroutines and threads, and the warning about statements that block the reactor."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, get_ident
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein import BotPlugin, botcmd
from errklein.plugins import store_mixin
from errklein.plugins.store_mixin import StoredValues, StoreMixin, StoreNotOpenError
from errklein.running import RateLimit, register_reactor_thread
from errklein.storage import MemoryStorage, SQLiteStorage, UnstorableValue
from errklein.testing import PluginTestCase
from tests import needs_network
from tests.real_bot import RealBotCase

RELEASED = Event()


class Counting(StoreMixin):
    """A replacement for a plugin with values in a file."""

    def __init__(self, storage: Any, clock: Any = None) -> None:
        self.open_storage(storage, "Counting")
        self.store = StoredValues(self, storage, clock or Clock())


def increased(number: int) -> int:
    """Return the next number."""
    return number + 1


def count_in_process(path: str, times: int) -> None:
    """Count in another process, which uses the same file."""
    plugin = Counting(SQLiteStorage(Path(path)))
    for _ in range(times):
        plugin.store.update("count", increased, 0)


class Lamps(BotPlugin):
    """Uses `self.store` in each kind of command."""

    @botcmd
    async def lamps(self, msg: Any, args: str) -> str:
        """Store, read, update and delete in a coroutine."""
        await self.store.set("color", "red")
        shown = [self["color"], await self.store.get("color"), await self.store.get("size", 10)]
        self["color"] = "blue"
        shown.append(await self.store.get("color"))
        with self.mutable("names", []) as names:
            names.append("hall")
        shown.append(await self.store.update("names", lambda names: [*names, "attic"]))
        with self.mutable("names") as names:
            names.append("cellar")
        shown += [await self.store.get("names"), sorted(await self.store.keys())]
        await self.store.delete("color")
        return str([*shown, "color" in self])

    @botcmd
    def lamps_in_a_thread(self, msg: Any, args: str) -> str:
        """Do the same in blocking code."""
        self.store.set("color", "red")
        uses = [self.store.update("uses", increased, 0) for _ in range(2)]
        self.store.delete("color")
        return str([uses, self.store.get("color", "none"), self.store.keys(), self["uses"]])

    @botcmd
    @inlineCallbacks
    def lamps_in_callbacks(self, msg: Any, args: str) -> Any:
        """Do the same with Deferreds."""
        yield self.store.set("color", "red")
        color = yield self.store.get("color").addCallback(str.upper)
        return color


class Shop(BotPlugin):
    """A plugin that has its own attribute."""

    store = "the shop in the main street"

    @botcmd
    def shop(self, msg: Any, args: str) -> str:
        """Return the plugin's own attribute."""
        return self.store


class CommandTests(PluginTestCase):
    plugins = (Lamps, Shop)

    def test_coroutine(self) -> None:
        """A coroutine's values are those of the mapping and of `mutable`, in both directions."""
        colors, names = ["red", "red", 10, "blue"], ["hall", "attic", "cellar"]
        shown = [*colors, names[:2], names, ["color", "names"], False]
        self.assertEqual(self.command("!lamps"), str(shown))

    def test_thread(self) -> None:
        """In a blocking method, the same methods return the results."""
        self.assertEqual(self.command("!lamps in a thread"), str([[1, 2], "none", ["uses"], 2]))

    def test_deferreds(self) -> None:
        """In a method with Deferreds, the results are Deferreds."""
        self.assertEqual(self.command("!lamps in callbacks"), "RED")

    def test_own_attribute(self) -> None:
        """A plugin's own attribute named `store` takes precedence."""
        self.assertEqual(self.command("!shop"), "the shop in the main street")


class FileCase(SynchronousTestCase):
    """A plugin with a file, whose functions run when the test calls `work`."""

    def setUp(self) -> None:
        """Open the plugin."""
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.clock = Clock()
        self.patch(store_mixin, "may_use_reactor", lambda reactor: True)
        self.path = Path(self.mktemp())
        self.storage = SQLiteStorage(self.path, run=self.wait)
        self.addCleanup(self.storage.close)
        self.plugin = Counting(self.storage, self.clock)

    def wait(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Keep a function for `work`."""
        self.waiting.append((work, Deferred()))
        return self.waiting[-1][1]

    def work(self) -> None:
        """Call the functions in their order, until none is left."""
        while self.waiting:
            work, done = self.waiting.pop(0)
            try:
                result = work()
            except Exception:
                done.errback()
            else:
                done.callback(result)


class ReactorTests(FileCase):
    def test_nothing_is_read_or_written_on_the_reactor(self) -> None:
        """Each method only passes a function to the storage's thread, and its Deferred fires after that."""
        store = self.plugin.store
        done = [store.set("a", 1), store.get("a"), store.keys(), store.update("b", increased, 1), store.delete("a")]
        for each in done:
            self.assertNoResult(each)
        self.assertEqual(list(self.plugin), [])
        self.work()
        self.assertEqual([self.successResultOf(each) for each in done], [None, 1, ["a"], 2, None])

    def test_stored_as_it_was(self) -> None:
        """A change of the object after the call of `set` isn't stored."""
        names = ["alice"]
        done = self.plugin.store.set("names", names)
        names.append("bob")
        self.work()
        self.successResultOf(done)
        self.assertEqual(self.plugin["names"], ["alice"])

    def test_changed_meanwhile(self) -> None:
        """If the value changes between the reading and the writing, the function is called again with the new value."""
        seen: list[int] = []

        def add(number: int) -> int:
            seen.append(number)
            if len(seen) == 1:
                SQLiteStorage(self.path).open("Counting").set("count", 10)
            return number + 1

        done = self.plugin.store.update("count", add, 0)
        self.work()
        self.assertEqual((self.successResultOf(done), self.plugin["count"], seen), (11, 11, [0, 10]))

    def test_many_coroutines(self) -> None:
        """Of coroutines that update a value at the same time, each calls its function once, in their order."""
        seen: list[int] = []

        def add(number: int) -> int:
            seen.append(number)
            return number + 1

        done = gatherResults([self.plugin.store.update("count", add, 0) for _ in range(50)])
        self.work()
        self.assertEqual((self.successResultOf(done), seen), (list(range(1, 51)), list(range(50))))

    def test_failing_function(self) -> None:
        """If the function raises an exception, nothing is stored, and the next update runs."""
        failing = self.plugin.store.update("count", lambda number: 1 // number, 0)
        following = self.plugin.store.update("count", increased, 0)
        self.work()
        self.failureResultOf(failing, ZeroDivisionError)
        self.assertEqual(self.successResultOf(following), 1)

    def test_block_of_mutable(self) -> None:
        """An update waits until a block of `mutable` has ended, and changes what it has stored."""
        self.plugin["names"] = ["alice"]
        with self.plugin.mutable("names") as names:
            done = self.plugin.store.update("names", lambda names: [*names, "bob"])
            self.work()
            names.append("carol")
        self.assertNoResult(done)
        self.clock.advance(1)
        self.work()
        self.assertEqual(self.successResultOf(done), ["alice", "carol", "bob"])

    def test_block_that_does_not_end(self) -> None:
        """An update doesn't wait longer than a while for a block, so it may be in one."""
        self.patch(store_mixin, "LONGEST_WAIT", 0.05)
        with self.plugin.mutable("names", []):
            done = self.plugin.store.update("names", lambda names: ["bob"])
            for _ in range(10):
                self.work()
                self.clock.advance(0.01)
            self.assertEqual(self.successResultOf(done), ["bob"])

    def test_errors(self) -> None:
        """A value that can't be stored raises an error at once, a missing key in the Deferred."""
        self.assertRaises(UnstorableValue, self.plugin.store.set, "key", lambda: None)
        done = self.plugin.store.delete("key")
        self.work()
        self.failureResultOf(done, KeyError)

    def test_closed(self) -> None:
        """The methods raise StoreNotOpenError if the plugin isn't active."""
        self.plugin.close_storage()
        store = self.plugin.store
        for call in (store.keys, lambda: store.get("a"), lambda: store.update("a", increased)):
            self.assertRaises(StoreNotOpenError, call)


class AtomicTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Let threads take turns often."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-5)

    def count_in_threads(self, *storages: Any) -> None:
        """Count in eight threads, with each of the storages."""
        plugins = [Counting(storage) for storage in storages]

        def count(number: int) -> None:
            for _ in range(10):
                plugins[number % len(plugins)].store.update("count", increased, 0)

        self.patch(store_mixin, "may_use_reactor", lambda reactor: False)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(count, range(8)))
        self.assertEqual([plugin["count"] for plugin in plugins], [80] * len(plugins))

    def test_updates_of_many_threads(self) -> None:
        """No update of several threads is lost, in a file or in memory."""
        self.count_in_threads(MemoryStorage())
        self.count_in_threads(SQLiteStorage(Path(self.mktemp())))

    def test_connections(self) -> None:
        """No update is lost of two bots that use one file."""
        path = Path(self.mktemp())
        self.count_in_threads(SQLiteStorage(path), SQLiteStorage(path))

    def test_processes(self) -> None:
        """No update is lost of two processes that use one file."""
        path = Path(self.mktemp())
        plugin = Counting(SQLiteStorage(path))
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=count_in_process, args=(str(path.absolute()), 100))
        process.start()
        count_in_process(str(path), 100)
        process.join(60)
        self.assertEqual((process.exitcode, plugin["count"]), (0, 200))


class ThreadTests(TestCase):
    def test_coroutines_and_threads(self) -> Deferred[Any]:
        """No update of coroutines and threads at the same time is lost, and those of coroutines run in another thread."""
        register_reactor_thread(reactor)
        threads = set()

        def in_thread(work: Callable[[], Any]) -> Deferred[Any]:
            def noted() -> Any:
                threads.add(get_ident())
                return work()

            return deferToThread(noted)

        plugin = Counting(SQLiteStorage(Path(self.mktemp()), run=in_thread), reactor)

        def count() -> None:
            for _ in range(10):
                plugin.store.update("count", increased, 0)

        updates = [plugin.store.update("count", increased, 0) for _ in range(30)]
        done = gatherResults([*updates, *(deferToThread(count) for _ in range(3))])

        def check(_: object) -> None:
            self.assertEqual(plugin["count"], 60)
            self.assertNotIn(get_ident(), threads)

        return done.addCallback(check)


class SlowTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Collect warnings, and let each use of the storage take half a second."""
        self.now = 0.0
        self.lines: list[str] = []
        observer = lambda event: self.lines.append(event["log_format"].format(**event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.patch(store_mixin, "monotonic", self.time)
        self.patch(store_mixin, "_warnings", RateLimit(lambda: self.now))
        self.patch(store_mixin, "in_any_reactor_thread", lambda: self.on_reactor)
        self.on_reactor = True
        self.plugin = Counting(MemoryStorage())

    def time(self) -> float:
        """Return the time, which passes."""
        self.now += 0.25
        return self.now

    def test_line(self) -> None:
        """A statement that takes over 50 ms on the reactor is logged with its file and line, once a minute."""
        for _ in range(3):
            self.plugin["key"] = 1
        line = sys._getframe().f_lineno - 1
        self.assertEqual(len(self.lines), 1)
        self.assertIn(f"Counting: a stored value blocked the reactor for 0.25 s at {__file__}:{line};", self.lines[0])

    def test_each_statement(self) -> None:
        """Reading, removing, `get`, `in` and blocks of `mutable` are logged with the plugin's own line, too."""
        first = sys._getframe().f_lineno + 1
        self.plugin["key"] = 1
        self.plugin["key"]
        self.plugin.get("key")
        "key" in self.plugin  # noqa: B015
        len(self.plugin)
        list(self.plugin)
        with self.plugin.mutable("key"):
            pass
        del self.plugin["key"]
        lines = [int(line.partition(f"{__file__}:")[2].partition(";")[0]) for line in self.lines]
        self.assertEqual(sorted(set(lines)), [*range(first, first + 7), first + 8])

    def test_thread(self) -> None:
        """Nothing is logged in other threads."""
        self.on_reactor = False
        self.plugin["key"] = 1
        self.assertEqual(self.lines, [])

    def test_fast(self) -> None:
        """Nothing is logged if the storage is fast."""
        self.patch(store_mixin, "monotonic", lambda: 0.0)
        self.plugin["key"] = 1
        self.assertEqual(self.lines, [])


HELD = """
from errbot.storage.base import StoragePluginBase
from errbot.storage.memory import MemoryStoragePlugin
from tests.plugins.test_stored_values import RELEASED

class Held(StoragePluginBase):
    def open(self, namespace):
        values = MemoryStoragePlugin(None).open(namespace)
        if namespace == "Uses":
            put = values.set
            values.set = lambda key, value: RELEASED.wait(60) and put(key, value)
        return values
"""

USES = """
from errklein import BotPlugin, botcmd
from tests.plugins.test_stored_values import RELEASED

class Uses(BotPlugin):
    @botcmd
    async def use(self, msg, args):
        return f"used {await self.store.update('uses', lambda uses: uses + 1, 0)} times"

    @botcmd
    async def release(self, msg, args):
        RELEASED.set()
        return "released"
"""


class WholeBotTests(RealBotCase):
    """A bot whose storage, written for errbot, stores a value when a command has released it."""

    async def setUp(self) -> None:
        """Start the bot."""
        needs_network()
        RELEASED.clear()
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        for name, source in (("Held", HELD), ("Uses", USES)):
            (directory / f"{name}.plug").write_text(
                f"[Core]\nName = {name}\nModule = {name.lower()}\n", encoding="utf-8"
            )
            (directory / f"{name.lower()}.py").write_text(source, encoding="utf-8")
        self.config = {"STORAGE": "Held", "BOT_EXTRA_STORAGE_PLUGINS_DIR": str(directory)}
        await self.start_bot(directory)

    async def test_nothing_waits_for_the_storage(self) -> None:
        """While the storage works for a coroutine, the reactor runs another one."""
        self.backend.receive("!use", frm="@admin")
        self.assertEqual(await self.say("!release", replies=2, frm="@bob"), ["released", "used 1 times"])
