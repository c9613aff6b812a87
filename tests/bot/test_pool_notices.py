"""Tests for notices about threads that are all busy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._notices import pool_notice
from errklein.running import PoolStatus, ThreadUse
from errklein.testing import ADMIN, PluginTestCase


class PoolNoticeTests(SynchronousTestCase):
    """The text of a notice."""

    def test_full(self) -> None:
        """A notice names those who keep threads from others, their methods and times, and the setting."""
        uses = (ThreadUse("person:irc/bob", "Builds.run", 75.2), ThreadUse("", "loading plugins", 1.0))
        uses += (ThreadUse("person:irc/bob", "Builds.run", 62.0), ThreadUse("person:irc/eve", "Builds.ask", 9.0, True))
        self.assertEqual(
            pool_notice(PoolStatus("commands", 3, 3, uses, {"person:irc/bob": 1, "person:irc/eve": 2}, 60.0), "!"),
            "All threads for commands have been busy for 60 s, and 3 jobs wait. 3 threads are held by person irc/bob (2; "
            "Builds.run for 75 s), the bot (1; loading plugins for 1 s). !status plugins lists what runs. What to do: make "
            "the handlers async def, give what they wait for a timeout, or deactivate the plugin; if all of them are "
            "needed, raise BOT_ASYNC_POOLSIZE (now 3).",
        )

    def test_many_origins(self) -> None:
        """Only the five origins that hold most are named."""
        uses = tuple(ThreadUse(f"person:irc/{number}", "A.b", 1.0) for number in range(7))
        notice = pool_notice(PoolStatus("decoding", 7, 7, uses, {"": 1}, 60.0), "!")
        self.assertIn("person irc/4 (1; A.b for 1 s), 2 others. !status", notice)
        self.assertIn("deactivate the plugin.", notice)

    def test_refused(self) -> None:
        """A notice about threads that the system refuses names its limits."""
        status = PoolStatus("webhooks", 20, 4, (), {"route:Builds:run": 1}, 0.0, "can't start new thread")
        self.assertIn("starts no further thread for webhooks (can't start new thread)", pool_notice(status, "!"))
        self.assertIn("TasksMax=", pool_notice(status, "!"))


class NotifiedTests(PluginTestCase):
    """A bot whose threads are busy."""

    config = {"BOT_ADMINS_NOTIFICATIONS": (ADMIN,)}

    def test_administrators_learn_what_holds_threads(self) -> None:
        """Administrators get the notice of each pool."""
        for pool in self.bot.bot.pools:
            pool.report(PoolStatus(pool.name, 1, 1, (ThreadUse("", "*a*.b", 61.0),), {"": 1}, 60.0))
            self.assertIn(f"All threads for {pool.name} have been busy for 60 s", self.bot.sent_to(ADMIN)[-1])
            self.assertIn("*a*.b for 61 s", self.bot.sent_to(ADMIN)[-1])
