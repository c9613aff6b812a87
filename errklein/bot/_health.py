"""Regular checks of what the bot stores: the journal, the storage and their files."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from errklein.database import JobThread
from errklein.listening import Listeners
from errklein.ports.journal import Journal
from errklein.ports.notices import Notify
from errklein.ports.values import UsesFiles
from errklein.text.masking import masker
from errklein.webhooks.deliveries import QueueDepth

INTERVAL = 2.0
"""The seconds between two checks of the journal, and those without a response after which a part isn't ready."""

_HANGING = 30.0
"""The seconds without a response of the disk after which administrators are notified. A busy disk may need some."""

_UNWATCHED = 30
"""The number of intervals between two checks while nobody asks for the status, so that the disk of an idle bot can sleep."""

_WITHOUT_FILES = 3600.0
"""The seconds between two checks if the bot stores nothing in files and nobody asks for the status."""


class HealthChecks:
    """Checks the journal, the storage and their files, and notifies administrators once until all of them work again.

    It also notifies them of certificates that expire. Each request for the status gets the latest result at once. The
    journal checks itself in its own threads. Another thread looks for the files once a second, since a disk can hang:
    writing fails without them, but an idle bot writes nothing.
    """

    def __init__(self, reactor: Any, journal: Journal, storage: object, listeners: Listeners, notify: Notify) -> None:
        self.depth = QueueDepth()
        """The last depth of the journal that could be read."""
        self._reactor = reactor
        self._journal = journal
        self._listeners = listeners
        self._notify = notify
        parts = {"journal": journal, "storage": storage}
        self._with_files = {name: part for name, part in parts.items() if isinstance(part, UsesFiles)}
        self._file_problems = dict.fromkeys(parts, "")
        self._journal_problem = ""
        self._since: float | None = None
        self._intervals = 0
        self._watched = self._noticed = False
        self._thread: JobThread | None = None
        self._loop = LoopingCall(self._check)
        self._loop.clock = reactor

    @property
    def problems(self) -> Mapping[str, str]:
        """The reasons why the journal and the storage can't be used, by the name of the part; "" if it can."""
        return self._problems_after(INTERVAL)

    def start(self) -> None:
        """Begin the checks."""
        if self._with_files:
            self._thread = JobThread(self._reactor, "health", self.check_files)
        self._begin()

    def watch(self) -> None:
        """Check the journal in each interval from now on, since somebody asks for the status."""
        self._watched = True
        self._begin()

    def stop(self) -> None:
        """End the checks."""
        if self._loop.running:
            self._loop.stop()
        if self._thread is not None:
            self._thread.stop()

    def check_files(self) -> bool:
        """Look for the files; called in the thread. Returns False, since there is nothing more to do."""
        for name, part in self._with_files.items():
            problem = ""
            try:
                part.check_files()
            except Exception as error:
                problem = str(error)
            self._file_problems[name] = problem
        if self._noticed != any(self._file_problems.values()):
            self._reactor.callFromThread(self._notice)
        return False

    def _begin(self) -> None:
        interval = INTERVAL if self._with_files or self._watched else _WITHOUT_FILES
        if self._loop.interval != interval:
            if self._loop.running:
                self._loop.stop()
            self._loop.start(interval)

    def _check(self) -> None:
        if self._since is None and (self._watched or self._intervals % _UNWATCHED == 0):
            self._since = self._reactor.seconds()
            Deferred.fromCoroutine(self._check_journal())
        self._intervals += 1
        self._notice()
        for key, warning in self._listeners.expiry_warnings():
            self._notify(key, warning, interval=inf)

    async def _check_journal(self) -> None:
        try:
            self.depth = await self._journal.depth()
            await self._journal.check()
            self._journal_problem = ""
        except Exception as error:
            self._journal_problem = masker(str(error)) or "unknown error"
        self._since = None

    def _problems_after(self, patience: float) -> Mapping[str, str]:
        problems = dict(self._file_problems)
        silent = 0.0 if self._since is None else self._reactor.seconds() - self._since
        if silent > patience and self._loop.running:
            problems["journal"] = f"the disk has not responded for {silent:.0f} s"
        else:
            problems["journal"] = self._journal_problem or problems["journal"]
        return problems

    def _notice(self) -> None:
        # The journal and the storage both name the directory if that was deleted.
        problems = dict.fromkeys(filter(None, self._problems_after(_HANGING).values()))
        if problems and not self._noticed:
            self._notify("health", "; ".join(problems))
        self._noticed = bool(problems)
