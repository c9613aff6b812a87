"""Blocks of `mutable` that use a key at the same time: in threads, in coroutines, and in both."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from copy import deepcopy
from functools import partial
from threading import Barrier, Event, Thread
from time import monotonic
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins import store_mixin
from errklein.plugins.store_mixin import StoreMixin, StoreNotOpenError
from errklein.running import register_reactor_thread
from errklein.storage import MemoryStorage


class Votes(StoreMixin):
    """A replacement for a plugin."""


class SlowStorage(MemoryStorage):
    """A storage that copies values, as one with a file does, and lets other threads run before it stores the copy."""

    def open(self, namespace: str) -> Any:
        """Return a store."""
        store = super().open(namespace)
        get, put = store.get, store.set

        def slow_get(key: str) -> Any:
            copy = deepcopy(get(key))
            self.pause()
            return copy

        def slow_set(key: str, value: Any) -> None:
            copy = deepcopy(value)
            self.pause()
            put(key, copy)

        store.get, store.set = slow_get, slow_set
        return store

    def pause(self) -> None:
        """Let other threads run."""
        for _ in range(10):
            os.sched_yield()


def opened(storage: SlowStorage | None = None) -> Votes:
    """Return a plugin with an open storage."""
    plugin = Votes()
    plugin.open_storage(storage or SlowStorage(), "Votes")
    return plugin


def append(plugin: Votes, name: str) -> None:
    """Append a name in a block."""
    with plugin.mutable("names") as names:
        names.append(name)


class ThreadOwner:
    """Stands for a reactor whose thread is the test's."""


class MutableCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Open the values of a plugin, and let threads take turns often."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-5)
        self.plugin = opened()

    def become_reactor_thread(self) -> None:
        """Let the test's thread be that of a reactor until the test ends."""
        self.reactor = ThreadOwner()
        register_reactor_thread(self.reactor)
        self.addCleanup(delattr, self, "reactor")

    def in_thread(self, function: Callable[[], object]) -> Thread:
        """Start a thread that is joined after the test."""
        thread = Thread(target=function, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
        return thread


class ThreadTests(MutableCase):
    def test_appends_of_many_threads(self) -> None:
        """A hundred appends in thirty threads are all stored."""

        def append(number: int) -> None:
            with self.plugin.mutable("names", []) as names:
                os.sched_yield()
                names.append(number)

        with ThreadPoolExecutor(30) as pool:
            list(pool.map(append, range(100)))
        self.assertEqual(sorted(self.plugin["names"]), list(range(100)))

    def test_counts_of_many_threads(self) -> None:
        """In threads, a block may change a value in several steps: no other thread has it meanwhile."""

        def count(_: int) -> None:
            with self.plugin.mutable("counts", {"votes": 0}) as counts:
                votes = counts["votes"]
                for _ in range(5):
                    os.sched_yield()
                counts["votes"] = votes + 1

        with ThreadPoolExecutor(30) as pool:
            list(pool.map(count, range(100)))
        self.assertEqual(self.plugin["counts"], {"votes": 100})

    def test_other_keys_do_not_wait(self) -> None:
        """Blocks of different keys are open at the same time."""
        together = Barrier(2, timeout=10)

        def work(key: str) -> None:
            with self.plugin.mutable(key, []) as value:
                together.wait()
                value.append(key)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, "ab"))
        self.assertEqual(dict(self.plugin.items()), {"a": ["a"], "b": ["b"]})

    def test_nested(self) -> None:
        """A block within a block of the same key has the same object, so both changes are stored."""
        with self.plugin.mutable("names", []) as outer:
            outer.append("alice")
            with self.plugin.mutable("names") as inner:
                inner.append("bob")
            self.assertEqual(self.plugin["names"], ["alice", "bob"])
            outer.append("carol")
        self.assertEqual(self.plugin["names"], ["alice", "bob", "carol"])

    def test_error_in_a_block(self) -> None:
        """What a block has changed before it raises an exception isn't stored, and the next block doesn't see it."""
        self.plugin["names"] = ["alice"]
        opened, next_starts = Event(), Event()

        def fail() -> None:
            with self.plugin.mutable("names") as names:
                names.append("bob")
                opened.set()
                next_starts.wait(10)
                raise ZeroDivisionError

        def follow() -> list[str]:
            next_starts.set()
            with self.plugin.mutable("names") as names:
                before = list(names)
                names.append("carol")
            return before

        with ThreadPoolExecutor(2) as pool:
            failed = pool.submit(fail)
            opened.wait(10)
            self.assertEqual(pool.submit(follow).result(10), ["alice"])
            self.assertRaises(ZeroDivisionError, failed.result, 10)
        self.assertEqual(self.plugin["names"], ["alice", "carol"])

    def test_threads_that_wait_for_each_other(self) -> None:
        """If two threads need each other's keys, both go on after a while, and a line of the log names plugin and key."""
        self.patch(store_mixin, "LONGEST_WAIT", 0.01)
        lines: list[str] = []
        globalLogPublisher.addObserver(observer := lambda event: lines.append(event["log_format"].format(**event)))
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        together = Barrier(2, timeout=10)

        def work(first: str, second: str) -> None:
            with self.plugin.mutable(first, []) as one:
                together.wait()
                with self.plugin.mutable(second, []) as two:
                    one.append(first)
                    two.append(first)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, "ab", "ba"))
        self.assertEqual({key: sorted(value) for key, value in self.plugin.items()}, {"a": ["a", "b"], "b": ["a", "b"]})
        self.assertRegex(lines[0], r"^Votes: two blocks of mutable\('[ab]'\) run at the same time")

    def test_long_queue(self) -> None:
        """A thread waits as long as other blocks begin and end."""
        self.patch(store_mixin, "LONGEST_WAIT", 0.1)
        opened = Event()
        end = monotonic() + 0.4

        def work() -> None:
            with self.plugin.mutable("names", []) as names:
                opened.set()
                while monotonic() < end:
                    append(self.plugin, "short")
                names.append("first")

        thread = self.in_thread(work)
        opened.wait(10)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(append, self.plugin, "second").result(10)
        thread.join(10)
        self.assertEqual(self.plugin["names"][-2:], ["first", "second"])

    def test_generator_in_several_threads(self) -> None:
        """A block of a generator may end in another thread than it began in; other blocks run afterwards."""

        def generator() -> Generator[str]:
            with self.plugin.mutable("names", []) as names:
                yield "first"
                names.append("alice")

        items = generator()
        self.assertEqual(next(items), "first")
        with ThreadPoolExecutor(1) as pool:
            self.assertEqual(pool.submit(list, items).result(10), [])
            pool.submit(append, self.plugin, "bob").result(10)
        append(self.plugin, "carol")
        self.assertEqual(self.plugin["names"], ["alice", "bob", "carol"])


class CoroutineTests(MutableCase):
    def setUp(self) -> None:
        """Let the test's thread be that of a reactor."""
        super().setUp()
        self.become_reactor_thread()

    def test_appends_of_many_coroutines(self) -> None:
        """A hundred coroutines that wait within their blocks append a hundred names, whatever the order of their ends is."""
        waits: list[Deferred[None]] = [Deferred() for _ in range(100)]

        async def append(number: int) -> None:
            with self.plugin.mutable("names", []) as names:
                names.append(number)
                await waits[number]
                names.append(-number)

        done = gatherResults([Deferred.fromCoroutine(append(number)) for number in range(100)])
        for number in range(100):
            waits[number * 37 % 100].callback(None)
        self.successResultOf(done)
        self.assertEqual(sorted(self.plugin["names"]), sorted([*range(100), *(-number for number in range(100))]))

    def test_error_while_another_block_is_open(self) -> None:
        """If overlapping blocks end with and without an exception, those without it store the value."""
        self.plugin["names"] = []
        first, second = self.plugin.mutable("names"), self.plugin.mutable("names")
        names = first.__enter__()
        self.assertIs(second.__enter__(), names)
        names.append("alice")
        self.assertFalse(first.__exit__(ZeroDivisionError, ZeroDivisionError(), None))
        self.assertEqual(self.plugin["names"], [])
        second.__exit__(None, None, None)
        self.assertEqual(self.plugin["names"], ["alice"])

    def test_closed_meanwhile(self) -> None:
        """A block that ends after its plugin was deactivated raises an error, and stores nothing, also after an activation."""
        storage = MemoryStorage()
        plugin = Votes()
        plugin.open_storage(storage, "Votes")
        block = plugin.mutable("names", [])
        block.__enter__().append("old")
        plugin.close_storage()
        self.assertRaises(StoreNotOpenError, block.__exit__, None, None, None)
        plugin.open_storage(storage, "Votes")
        block = plugin.mutable("names", [])
        block.__enter__().append("old")
        plugin.close_storage()
        plugin.open_storage(storage, "Votes")
        with plugin.mutable("names", []) as names:
            names.append("new")
        with self.assertRaisesRegex(StoreNotOpenError, "closed during a block of mutable.*names"):
            block.__exit__(None, None, None)
        self.assertEqual(plugin["names"], ["new"])


class MixedTests(MutableCase):
    def setUp(self) -> None:
        """Let the test's thread be that of a reactor."""
        super().setUp()
        self.become_reactor_thread()

    def test_reactor_does_not_wait(self) -> None:
        """A block on the reactor begins while a thread has one, and both changes are stored."""
        opened, go_on = Event(), Event()

        def work() -> None:
            with self.plugin.mutable("names", []) as names:
                opened.set()
                go_on.wait(10)
                names.append("thread")

        thread = self.in_thread(work)
        opened.wait(10)
        with self.plugin.mutable("names", []) as names:
            names.append("reactor")
        self.assertEqual(self.plugin["names"], ["reactor"])
        go_on.set()
        thread.join(10)
        self.assertEqual(self.plugin["names"], ["reactor", "thread"])

    def test_reading_in_a_thread(self) -> None:
        """While a thread reads the value, which takes a moment, a block on the reactor waits, so both have the same object."""
        self.append_during_pause(1)

    def test_storing_in_a_thread(self) -> None:
        """While a thread stores the value, which takes a moment, a block on the reactor waits, so the later state is stored last."""
        self.append_during_pause(2)

    def append_during_pause(self, number: int) -> None:
        """Append in a thread, and on the reactor during this pause of the thread."""
        storage = SlowStorage()
        plugin = opened(storage)
        plugin["names"] = []
        pauses: list[None] = []
        pausing, done = Event(), Event()

        def pause() -> None:
            pauses.append(None)
            if len(pauses) == number:
                pausing.set()
                # A block on the reactor that doesn't wait ends in this time.
                done.wait(0.1)

        self.patch(storage, "pause", pause)
        thread = self.in_thread(partial(append, plugin, "thread"))
        pausing.wait(10)
        append(plugin, "reactor")
        done.set()
        thread.join(10)
        self.assertEqual(sorted(plugin["names"]), ["reactor", "thread"])

    def test_appends_everywhere(self) -> None:
        """Appends in threads and on the reactor are all stored, though storing takes time."""

        def append(number: int) -> None:
            with self.plugin.mutable("names", []) as names:
                names.append(number)

        with ThreadPoolExecutor(5) as pool:
            appended = [pool.submit(append, number) for number in range(100)]
            for number in range(100, 200):
                append(number)
            for one in appended:
                one.result(10)
        self.assertEqual(sorted(self.plugin["names"]), list(range(200)))


class ModelTests(SynchronousTestCase):
    @settings(max_examples=200)
    @given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab"), st.sampled_from(["ends", "ends", "fails"]))))
    def test_any_order(self, steps: Sequence[tuple[int, str, str]]) -> None:
        """Whatever the order is in which blocks begin and end, each end without an exception stores all changes since the begin."""
        plugin = opened()
        blocks: dict[tuple[int, str], AbstractContextManager[Any]] = {}
        current: dict[str, list[int]] = {}
        stored: dict[str, list[int]] = {}
        for number, (name, key, end) in enumerate(steps):
            if (name, key) not in blocks:
                block = blocks[name, key] = plugin.mutable(key, [])
                value = block.__enter__()
                expected = current.setdefault(key, list(stored.get(key, [])))
                self.assertEqual(value, expected)
                value.append(number)
                expected.append(number)
                continue
            block = blocks.pop((name, key))
            if end == "ends":
                block.__exit__(None, None, None)
                stored[key] = list(current[key])
            else:
                self.assertFalse(block.__exit__(ZeroDivisionError, ZeroDivisionError(), None))
            if not any(where == key for _, where in blocks):
                del current[key]
            self.assertEqual(dict(plugin.items()), stored)
        for block in blocks.values():
            block.__exit__(None, None, None)
