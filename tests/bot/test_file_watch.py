"""Files of the bot that are deleted while it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._file_watch import FileWatch
from errklein.storage import MemoryStorage, StorageError
from errklein.testing._reactor import TestReactor
from tests.journal.inline import InlineReactor
from tests.real_bot import ADMIN, RealBotCase


class Files:
    """Files of the bot; `error` is what is wrong with them."""

    error = ""

    def check_files(self) -> None:
        """Raise the error."""
        if self.error:
            raise StorageError(self.error)


class NoticeTests(SynchronousTestCase):
    def test_one_notice(self) -> None:
        """Administrators get one notice about all deleted files, and another one only after the files were there again."""
        notices: list[str] = []
        values, journal = Files(), Files()
        watch = FileWatch(InlineReactor(), notices.append, (values, MemoryStorage(), journal))
        watch.check()
        self.assertEqual((notices, watch.problem), ([], ""))
        values.error = journal.error = "data was deleted"
        watch.check()
        journal.error = "journal was deleted"
        watch.check()
        self.assertEqual(notices, ["data was deleted"])
        self.assertEqual(watch.problem, "data was deleted; journal was deleted")
        values.error = journal.error = ""
        watch.check()
        self.assertEqual(watch.problem, "")
        values.error = "again"
        watch.check()
        self.assertEqual(notices, ["data was deleted", "again"])

    def test_nothing_to_watch(self) -> None:
        """A bot without files needs no thread."""
        watch = FileWatch(TestReactor(), self.fail, (MemoryStorage(),))
        watch.start()
        watch.stop()


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
