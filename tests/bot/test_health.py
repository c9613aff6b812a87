"""Files of the bot that are deleted while it runs, and a full disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot import _bot
from errklein.bot._bot import HealthChecks
from errklein.journal import INLINE, SQLiteJournal
from errklein.listening import Listeners
from errklein.ports.journal import JournalError
from errklein.storage import MemoryStorage, StorageError
from errklein.testing._surroundings import TestReactor
from errklein.webhooks.deliveries import QueueDepth
from tests.journal.inline import InlineReactor
from tests.notices import KeptNotices
from tests.real_bot import ADMIN, RealBotCase


class Files:
    """Files of the bot; `error` is what is wrong with them."""

    error = ""

    async def depth(self) -> QueueDepth:
        """Return the depth of a journal."""
        return QueueDepth()

    async def check(self) -> None:
        """Do nothing."""

    def check_files(self) -> None:
        """Raise the error."""
        if self.error:
            raise StorageError(self.error)


class Certificates(Listeners):
    """Listeners whose certificates expire."""

    dates: Sequence[datetime] = ()

    def __init__(self) -> None:
        """Open nothing."""

    def expiries(self) -> list[tuple[str, str, datetime]]:
        """Return the dates."""
        return [("tls:1", "a.pem", date) for date in self.dates]


class FullJournal(SQLiteJournal):
    """A journal that can be written unless `error` is set."""

    error = ""

    def check(self) -> Deferred[None]:
        """Fail with the error."""
        return fail(JournalError(self.error)) if self.error else super().check()


class InlineThread:
    """Runs jobs at once."""

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call the function."""
        return maybeDeferred(function)

    def stop(self) -> None:
        """Do nothing."""


class NoticeTests(SynchronousTestCase):
    """What administrators are notified of."""

    def setUp(self) -> None:
        """Watch a storage and a journal."""
        self.reactor, self.notices = InlineReactor(), list[str]()
        self.listeners: Any = Certificates()
        self.values, self.journal = Files(), FullJournal(None, self.reactor, lambda: 0.0, runs=INLINE)
        self.patch(_bot, "JobThread", lambda reactor, name: InlineThread())
        self.health = self.watching(self.journal, self.values)

    def watching(self, journal: object, storage: object) -> HealthChecks:
        """Return the checks of a journal and a storage."""
        board: Any = SimpleNamespace(post=lambda key, text: self.notices.append(text), look=lambda: None)
        health = HealthChecks(self.reactor, cast(Any, journal), storage, self.listeners, board)
        self.addCleanup(health.stop)
        return health

    def test_failing_round(self) -> None:
        """An exception in a round, such as of a thread that can't be started, is logged, and the next rounds come."""
        rounds: list[float] = []

        def look() -> None:
            rounds.append(self.reactor.seconds())
            if len(rounds) == 1:
                raise RuntimeError("can't start new thread")

        board: Any = SimpleNamespace(post=lambda key, text: None, look=look)
        health = HealthChecks(self.reactor, cast(Any, self.journal), self.values, self.listeners, board)
        self.addCleanup(health.stop)
        health.start()
        self.reactor.advance(2.0)
        self.reactor.advance(2.0)
        self.assertEqual((rounds, len(self.flushLoggedErrors(RuntimeError))), ([0.0, 2.0, 4.0], 1))

    def test_one_notice(self) -> None:
        """Administrators get one notice about all deleted files, and another one only after the files were there again."""
        journal = Files()
        health = self.watching(journal, self.values)
        health.start()
        self.assertEqual((self.notices, [*health.problems.values()]), ([], ["", ""]))
        for values, of_journal, notices in (
            ("data was deleted", "data was deleted", ["data was deleted"]),
            ("data was deleted", "journal was deleted", ["data was deleted"]),
            ("", "", ["data was deleted"]),
            ("again", "", ["data was deleted", "again"]),
        ):
            self.values.error, journal.error = values, of_journal
            self.reactor.advance(2)
            self.assertEqual(self.notices, notices)
            self.assertEqual(health.problems, {"journal": of_journal, "storage": values})

    def test_full_disk_is_noticed_while_nobody_asks_for_the_status(self) -> None:
        """Without --status, the journal is written each minute, and administrators are notified if that fails."""
        self.health.start()
        self.journal.error = "the disk is full"
        self.reactor.pump([2.0] * 29)
        self.assertEqual(self.notices, [])
        self.reactor.pump([2.0] * 2)
        self.assertEqual(self.notices, ["the disk is full"])

    def test_hanging_disk_is_noticed(self) -> None:
        """Administrators are notified once of a disk that has not responded for half a minute."""
        self.patch(self.journal, "check", Deferred)
        self.health.watch()
        self.reactor.pump([2.0] * 15)
        self.assertEqual(self.notices, [])
        self.reactor.pump([2.0] * 15)
        self.assertEqual(self.notices, ["the disk has not responded for 32 s"])

    def test_certificate(self) -> None:
        """Administrators are notified once of a certificate that expires, also by a bot without files."""
        board = KeptNotices(TestReactor())
        health = HealthChecks(self.reactor, self.journal, MemoryStorage(), self.listeners, board)
        self.patch(_bot, "JobThread", self.fail)
        health.start()
        self.addCleanup(health.stop)
        self.listeners.dates = (datetime.now(UTC) - timedelta(days=1),)
        self.reactor.pump([3600.0] * 3)
        self.assertEqual(board.texts, ["The certificate in a.pem (tls:1) has expired; replace it."])


class DeletedDirectoryTests(RealBotCase):
    config = {"STORAGE": "Shelf", "BOT_ADMINS_NOTIFICATIONS": (ADMIN,)}

    async def test_administrators_learn_of_deleted_directory(self) -> None:
        """Soon after the data directory is deleted, administrators get one notice that names it, and commands get errors."""
        directory = Path(self.bot.bot_config.BOT_DATA_DIR)
        noticed: Deferred[str] = Deferred()
        self.backend.watch(lambda _: noticed.called or noticed.callback(self.backend.sent[-1].text))
        shutil.rmtree(directory)
        self.assertIn(f"{directory.name} was deleted or replaced, and nothing can be stored", await noticed)
        notices = len(self.backend.sent)
        reply = await self.command("!plugin blacklist Webserver")
        self.assertIn("was deleted or replaced", reply)
        self.assertEqual(len(self.flushLoggedErrors(StorageError)), 1)
        self.assertEqual(notices, 1)
