"""Tests for the counts of recent errors."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.logs import RecentErrors


class RecentErrorsTests(SynchronousTestCase):
    """Errors, on a clock of the test."""

    def setUp(self) -> None:
        """Count what a logger writes."""
        self.clock = Clock()
        self.errors = RecentErrors(self.clock.seconds)
        self.log = Logger("errklein.test", observer=LogPublisher(self.errors))

    def test_places(self) -> None:
        """Errors are counted by webhook, by plugin and method, or by logger; other lines aren't."""
        self.log.info("fine")
        self.log.warn("nearly")
        self.log.error("an error")
        self.log.critical("another one")
        for name in ("callback", "method", "command"):
            self.log.emit(LogLevel.critical, "{plugin} failed", plugin="Builds", **{name: "build"})
        self.log.error("{webhook} failed", webhook="Builds:built")
        self.log.error("{plugin} is slow", plugin="Builds")
        self.assertEqual(self.errors.counts(), {"Builds.build": 3, "errklein.test": 2, "Builds:built": 1, "Builds": 1})
        self.assertEqual(next(iter(self.errors.counts())), "Builds.build")

    def test_hour(self) -> None:
        """After an hour, an error is no longer counted, except in the total."""
        self.log.error("old")
        self.clock.advance(3600)
        self.log.error("new")
        self.assertEqual((self.errors.counts(), self.errors.total), ({"errklein.test": 1}, 2))

    def test_many(self) -> None:
        """Memory is bounded: the latest 10,000 errors are counted."""
        for _ in range(10_010):
            self.errors({"log_level": LogLevel.error, "log_namespace": "x"})
        self.assertEqual((self.errors.counts(), self.errors.total), ({"x": 10_000}, 10_010))
