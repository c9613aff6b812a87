"""The loop that looks after the bot: the journal, the storage and their files, certificates, and notices that are due."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein.bot._notices import NoticeBoard
from errklein.database import JobThread
from errklein.listening import Listeners
from errklein.ports.journal import Journal
from errklein.ports.values import UsesFiles
from errklein.text.masking import masker
from errklein.webhooks.deliveries import QueueDepth

INTERVAL = 2.0  # the seconds between two rounds, and those without a response after which a part isn't ready

_HANGING = 30.0
"""The seconds without a response of the disk after which administrators are notified. A busy disk may need some."""

_UNWATCHED = 30
"""The number of rounds between two writes to the journal while nobody asks for the status, so that the disk of an idle bot can sleep."""

_WITHOUT_FILES = 60.0
"""The seconds between two rounds of a bot that stores nothing in files, such as one under test, which waits for an idle bot."""


class HealthChecks:
    """Checks the journal, the storage and their files, and notifies administrators once until all of them work again.
    Each request for the status gets the latest result at once. The journal checks itself in its own threads. Another
    thread looks for the files, since a disk can hang: writing fails without them, but an idle bot writes nothing."""

    log = Logger()

    def __init__(
        self, reactor: Any, journal: Journal, storage: object, listeners: Listeners, notices: NoticeBoard
    ) -> None:
        self.depth = QueueDepth()  # the last depth of the journal that could be read
        self._reactor, self._journal, self._listeners, self._notices = reactor, journal, listeners, notices
        parts = {"journal": journal, "storage": storage}
        self._with_files = {name: part for name, part in parts.items() if isinstance(part, UsesFiles)}
        self._file_problems = dict.fromkeys(parts, "")
        self._journal_problem = ""
        self._since: float | None = None
        self._rounds = 0
        self._watched = self._noticed = False
        self._thread: JobThread | None = None
        self._loop = LoopingCall(self._round)
        self._loop.clock = reactor

    @property
    def problems(self) -> Mapping[str, str]:
        return self._problems_after(INTERVAL)

    def start(self) -> None:
        if self._with_files:
            self._thread = JobThread(self._reactor, "health")
        self._begin(INTERVAL if self._with_files or self._watched else _WITHOUT_FILES)

    def watch(self) -> None:
        """Write to the journal in each round from now on, since somebody asks for the status."""
        self._watched = True
        self._begin(INTERVAL)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()
        if self._thread is not None:
            self._thread.stop()

    def _begin(self, interval: float) -> None:
        if self._loop.interval != interval:
            if self._loop.running:
                self._loop.stop()
            self._loop.start(interval)

    def _round(self) -> None:
        if self._since is None:
            self._since = self._reactor.seconds()
            Deferred.fromCoroutine(self._check(self._watched or self._rounds % _UNWATCHED == 0))
        self._rounds += 1
        try:
            self._notice()
            for key, warning in self._listeners.expiry_warnings():
                self._notices.post(key, warning, interval=inf)
            self._notices.look()
        except Exception:
            # Such as of a thread that can't be started. It would end the loop.
            self.log.failure("A round of the bot's checks failed")

    async def _check(self, journal_too: bool) -> None:
        if self._thread is not None:
            self._file_problems.update(await self._thread.run(self._check_files))
        if journal_too:
            try:
                self.depth = await self._journal.depth()
                await self._journal.check()
                self._journal_problem = ""
            except Exception as error:
                self._journal_problem = masker(str(error)) or "unknown error"
        self._since = None
        self._notice()

    def _check_files(self) -> Mapping[str, str]:
        problems = dict.fromkeys(self._with_files, "")
        for name, part in self._with_files.items():
            try:
                part.check_files()
            except Exception as error:
                problems[name] = str(error)
        return problems

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
            self._notices.post("health", "; ".join(problems))
        self._noticed = bool(problems)
