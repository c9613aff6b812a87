"""Replacements for the threads of a journal and their reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from errklein.journal import INLINE, SQLiteJournal, _sqlite


class InlineReactor(Clock):
    """A clock that also calls at once what threads pass to the reactor."""

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None:
        """Call the function."""
        callable(*args)


def memory_journal(now: Callable[[], float]) -> SQLiteJournal:
    """Return a journal in memory, in which everything happens at once."""
    return SQLiteJournal(None, InlineReactor(), now, runs=INLINE)


def restarted(journal: SQLiteJournal) -> SQLiteJournal:
    """Return a journal with the database of one in memory, as the next process opens the file of the one before."""
    journal.outbox.close()
    with mock.patch.object(_sqlite, "Database", lambda *_: journal._database):
        return memory_journal(journal._now)


class WaitingThreads:
    """Keeps writes until `turn`, so those that are passed meanwhile share a transaction."""

    def __init__(self) -> None:
        self.runs = (self._write, maybeDeferred)
        self._waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def _write(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Keep the function."""
        done: Deferred[Any] = Deferred()
        self._waiting.append((function, done))
        return done

    def turn(self) -> None:
        """Call the functions until none is left."""
        while self._waiting:
            function, done = self._waiting.pop(0)
            done.callback(function())
