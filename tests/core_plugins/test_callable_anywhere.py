"""Tests for async methods that other plugins call without `await`."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from errklein import BotPlugin
from errklein.core_plugins import callable_anywhere
from errklein.plugins.imports import CORE_PLUGINS
from errklein.running import Placement, Runner, WorkerPool, placement_of
from errklein.running.threads import ThreadWaits
from errklein.testing import PluginTestCase

LIFE_CYCLE = ("activate", "deactivate", "configure", "reconfigure", "check_configuration", "get_configuration_template")


class Patient(BotPlugin):
    """A plugin with an async method that waits."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.gate: Deferred[str] = Deferred()
        self.begun = False

    @callable_anywhere
    async def wait(self, word: str, *, more: str = "") -> str:
        self.begun = True
        return await self.gate + word + more


class CallTests(PluginTestCase):
    """Calls on the reactor."""

    plugins = (Patient,)

    def setUp(self) -> None:
        """Remember the plugin's instance."""
        super().setUp()
        self.patient: Patient = self.bot.plugin("Patient")

    def test_runs_without_await(self) -> None:
        """The method runs at once, and its Deferred fires with the result."""
        waiting = self.patient.wait("b", more="c")
        assert isinstance(waiting, Deferred)
        self.assertTrue(self.patient.begun)
        self.assertNoResult(waiting)
        self.patient.gate.callback("a")
        self.assertEqual(self.successResultOf(waiting), "abc")

    def test_error(self) -> None:
        """The Deferred fails with the method's exception."""
        waiting = self.patient.wait("b")
        self.patient.gate.errback(RuntimeError("no"))
        assert isinstance(waiting, Deferred)
        self.assertEqual(str(self.failureResultOf(waiting, RuntimeError).value), "no")

    def test_placement(self) -> None:
        """errklein itself calls such a method on the reactor."""
        self.assertIs(placement_of(self.patient.wait), Placement.REACTOR)

    def test_core_plugins(self) -> None:
        """No life-cycle method of a core plugin returns a coroutine, which would never run without `await`."""
        checked = 0
        for plugin in self.bot.bot.plugin_manager.found:
            if plugin.plug.directory != CORE_PLUGINS:
                continue
            for name in LIFE_CYCLE:
                with self.subTest(plugin=plugin.name, method=name):
                    self.assertFalse(inspect.iscoroutinefunction(getattr(plugin.instance, name)))
                    checked += 1
        self.assertGreater(checked, len(LIFE_CYCLE))


class ThreadTests(TestCase):
    """Calls in a thread."""

    async def test_waits(self) -> None:
        """The call returns the result or raises the exception."""
        from twisted.internet import reactor

        gate: Deferred[str] = Deferred()

        class Caller:
            _bot = SimpleNamespace(waits=ThreadWaits(reactor), runner=Runner(reactor, WorkerPool(reactor, "test", 1)))

            @callable_anywhere  # type: ignore[type-var]
            async def wait(self, word: str) -> str:
                return await gate + word

        called = deferToThread(Caller().wait, "b")
        gate.callback("a")
        self.assertEqual(await called, "ab")
        gate = Deferred()
        called = deferToThread(Caller().wait, "b")
        gate.errback(RuntimeError("no"))
        await self.assertFailure(called, RuntimeError)
