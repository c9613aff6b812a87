"""Tests for waiting for plugins' code."""

from __future__ import annotations

from asyncio import CancelledError
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.plugin import PluginExecution, PluginTimeout


class ExecutionTests(SynchronousTestCase):
    """An execution with a clock and a runner that returns its argument."""

    def setUp(self) -> None:
        """Create the execution."""
        self.clock = Clock()
        runner: Any = SimpleNamespace(run=lambda method: method())
        unused: Any = None
        self.execution = PluginExecution(self.clock, runner, unused)

    def test_timeout(self) -> None:
        """The error contains the method, the timeout and the consequence; a later failure is logged."""
        called: Deferred[None] = Deferred()
        waiting = Deferred.fromCoroutine(self.execution.in_time(called, "Hello.activate", then="It continues."))
        self.clock.advance(PluginExecution.timeout)
        error = self.failureResultOf(waiting, PluginTimeout).value
        self.assertEqual(str(error), "Hello.activate has not returned after 60 s. It continues.")
        called.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_time(self) -> None:
        """A result is returned, and a failure isn't logged."""
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.wait(Deferred(), 1))), 1)
        self.failureResultOf(Deferred.fromCoroutine(self.wait(Deferred(), ZeroDivisionError())), ZeroDivisionError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def wait(self, called: Deferred[Any], result: Any) -> Any:
        """Wait for a Deferred that fires with the result before the timeout."""
        self.clock.callLater(1, called.errback if isinstance(result, Exception) else called.callback, result)
        waiting = Deferred.fromCoroutine(self.execution.in_time(called, "Hello.activate", 2))
        self.clock.advance(1)
        return await waiting

    def test_other_exceptions(self) -> None:
        """An exception that isn't an Exception, such as CancelledError, becomes a RuntimeError with its name."""
        failed = self.execution.run(lambda: fail(CancelledError("stopped")))
        self.assertEqual(str(self.failureResultOf(failed, RuntimeError).value), "CancelledError: stopped")
