"""Regular checks of the journal, so that each request for the status gets the latest result at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from errklein.ports import Journal
from errklein.text.masking import masker
from errklein.webhooks.deliveries import QueueDepth

INTERVAL = 2.0
"""The seconds between two checks."""


class JournalWatch:
    """Writes to the journal and reads its depth every INTERVAL seconds, in its own threads."""

    def __init__(self, reactor: IReactorTime, journal: Journal) -> None:
        self.depth = QueueDepth()
        """The last depth that could be read."""
        self._reactor = reactor
        self._journal = journal
        self._problem = ""
        self._asked_at = reactor.seconds()
        self._unanswered = 0
        self._looping = LoopingCall(self._check)
        self._looping.clock = reactor
        self._looping.start(INTERVAL)

    @property
    def problem(self) -> str:
        """The reason why the journal can't be written or read; "" if it can."""
        silent = self._reactor.seconds() - self._asked_at
        hangs = self._unanswered and silent > INTERVAL
        return f"the disk has not responded for {silent:.0f} s" if hangs else self._problem

    def stop(self) -> None:
        """End the checks."""
        if self._looping.running:
            self._looping.stop()

    def _check(self) -> None:
        if not self._unanswered:
            self._asked_at = self._reactor.seconds()
            self._unanswered = 2
            self._await(self._journal.check(), self._writable)
            self._await(self._journal.depth(), self._counted)

    def _await(self, answer: Deferred[Any], use: Callable[[Any], None]) -> None:
        answer.addBoth(self._answered).addCallback(use).addErrback(self._failed)

    def _answered(self, result: Any) -> Any:
        self._unanswered -= 1
        return result

    def _writable(self, _: None) -> None:
        self._problem = ""

    def _counted(self, depth: QueueDepth) -> None:
        self.depth = depth

    def _failed(self, failure: Failure) -> None:
        self._problem = masker(failure.getErrorMessage()) or "unknown error"
