"""Tests for `!status`, `!uptime`, `!restart` and `!shutdown`."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from types import SimpleNamespace

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from errklein import BotPlugin
from errklein.ports.journal import JournalError
from errklein.ports.outbox import OutboxStatus
from errklein.running.reactors import CannotRestart
from errklein.testing import PluginTestCase, TestBot
from tests.plugin_files import PluginFilesTestCase


class Broken(BotPlugin):
    """A plugin whose activation can fail."""

    def deactivate(self) -> None:
        super().deactivate()
        self.refuses = True

    def activate(self) -> None:
        if getattr(self, "refuses", False):
            raise RuntimeError("a | b\nc at <d>")
        super().activate()


class HealthTests(PluginTestCase):
    """Replies of `!status` and `!uptime`."""

    plugins = (Broken,)

    def test_states(self) -> None:
        """The states of inactive, blacklisted and broken plugins come first, with their problems."""
        self.command("!plugin deactivate Broken")
        self.assertIn("• D Broken", self.command("!status plugins"))
        self.assertIn("a | b", self.command("!plugin activate Broken"))
        broken = self.command("!status plugins")
        self.assertRegex(broken, r"\A *• E Broken: .*RuntimeError: a \| b c at <d>\n")
        self.command("!plugin blacklist Broken")
        self.assertIn("• B,E Broken: ", self.command("!status plugins"))
        self.flushLoggedErrors(RuntimeError)

    def test_states_for_others(self) -> None:
        """Only an administrator in private sees the exceptions of broken plugins; others see that details exist."""
        self.command("!plugin deactivate Broken")
        self.command("!plugin activate Broken")
        self.flushLoggedErrors(RuntimeError)
        for told in (self.command("!status plugins", frm="bob"), *self.bot.say("!status plugins", room="#ops")):
            self.assertRegex(told, r"• E Broken: details are shown to administrators in private")
            self.assertNotIn("RuntimeError", told)
        self.assertIn("active; not active: Broken (E), Webserver (C)\n", self.command("!status", frm="bob"))

    def test_overview(self) -> None:
        """`!status` has four lines about networks, webhooks, plugins, and errors with the commands for details."""
        self.bot.advance(90)
        lines = self.command("!status").split("\n")
        details = "!status plugins, !status load, !webstatus, !delivery list"
        active = len(self.bot.bot.plugin_manager.active())
        self.assertEqual(
            [line.strip() for line in lines],
            [
                "Yes I am alive... Networks: test: connected for 1 minute and 30 seconds",
                "Webhooks: no address; deliveries: 0 waiting, 0 running, 0 dead",
                f"Plugins: {active} active; not active: Webserver (C)",
                f"Errors of this run in the last hour: none; threads: 0 busy. Details: {details}",
            ],
        )

    def test_load(self) -> None:
        """`!status load` has the machine's load and the threads of each pool."""
        self.assertRegex(
            self.command("!status load"),
            r"^Load [\d.]+, [\d.]+, [\d.]+\s+Threads: commands 0 of 10 busy, core commands 0 of 4 busy, plugins 0 of 10 busy, ",
        )

    def test_active_plugins(self) -> None:
        """`!status plugins` names plugins that are active, and have no problem, in one paragraph, and has at most ten lines."""
        shown = self.command("!status plugins")
        self.assertRegex(shown, r"(?m)^ *Active: Broken\. Core: ACLs, Backup, ChatRoom, ")
        self.assertRegex(shown, r"(?m)^ *• C Webserver\b")
        self.assertRegex(shown, r"(?m)^ *• D TextCmds\b")
        self.assertIn("Details: !plugin info NAME", shown)
        self.assertLessEqual(len(shown.splitlines()), 10)

    def test_lost_connection(self) -> None:
        """A network that isn't connected is shown as such, and the number of its reconnects later."""
        events, backend = self.bot.bot.events, self.bot.bot.backend
        events.backend_disconnected(backend, "gone")
        self.assertIn("test: not connected\n", self.command("!status"))
        events.backend_connected(backend)
        self.assertIn("test: connected for less than a second, reconnects: 1", self.command("!status"))

    def test_waiting_messages(self) -> None:
        """The waiting messages of a network are shown with the age of the oldest that doesn't wait for a room."""
        backend = self.bot.bot.backend
        self.patch(backend, "outbox", SimpleNamespace(status=OutboxStatus(3, 3, 30, self.bot.bot.now() - 61)))
        self.assertIn(", messages waiting: 3, the oldest for 1 minute and 1 second\n", self.command("!status"))
        self.patch(backend, "outbox", SimpleNamespace(status=OutboxStatus(3, 3, 30, 0.0)))
        self.assertIn(", messages waiting: 3, only for rooms\n", self.command("!status"))

    def test_encrypted_rooms(self) -> None:
        """The status names rooms that the bot can't read."""
        self.bot.bot.backend.unreadable = ("#secret:example.org",)
        self.assertIn(", encrypted rooms that can't be read: #secret:example.org\n", self.command("!status"))

    def test_journal_that_cannot_be_read(self) -> None:
        """A journal that can't be read, or doesn't respond in three seconds, is no reason for having no status."""
        self.patch(self.bot.bot.journal, "depth", lambda: fail(JournalError("journal.sqlite: disk I/O error")))
        self.assertIn("; the journal can't be read", self.command("!status"))
        self.patch(self.bot.bot.journal, "depth", Deferred)
        self.assertEqual(self.bot.say("!status"), [])
        self.bot.advance(3)
        self.assertIn("; the journal can't be read", self.bot.sent_to("@admin")[-1])

    def test_recent_errors(self) -> None:
        """Administrators in private see which handlers have failed in the last hour, others how often."""
        self.command("!plugin deactivate Broken")
        self.command("!plugin activate Broken")
        self.flushLoggedErrors(RuntimeError)
        self.assertIn("Errors of this run in the last hour: Broken.activate (1); ", self.command("!status"))
        for told in (self.command("!status", frm="bob"), *self.bot.say("!status", room="#ops")):
            self.assertIn("Errors of this run in the last hour: 1; ", told)
        self.bot.advance(3600)
        self.assertIn("Errors of this run in the last hour: none", self.command("!status"))

    def test_errors_after_the_end(self) -> None:
        """A bot that has stopped counts no errors any more."""
        self.bot.stop()
        Logger().error("an error of another bot")
        self.assertEqual(self.bot.bot.recent_errors.total, 0)

    def test_uptime(self) -> None:
        """The uptime is shown in its two largest units."""
        self.assertIn("less than a second", self.command("!uptime"))
        self.bot.bot.startup_time -= timedelta(days=3, hours=1, minutes=2, seconds=1)
        self.assertIn("I've been up for 3 days and 1 hour (since ", self.command("!uptime"))


class ChangedFilesTests(PluginFilesTestCase):
    """Plugins whose files differ from the running code."""

    def setUp(self) -> None:
        """Start a bot with a plugin of two files."""
        super().setUp()
        self.write("deploy/steps.py", "count = 1")
        self.plugin("Deploy", "import steps\nfrom errklein import BotPlugin\nclass Deploy(BotPlugin): pass", "deploy")
        self.bot = TestBot(plugin_dirs=[self.directory])
        self.bot.start()
        self.addCleanup(self.bot.stop)

    def assert_changed(self, names: str) -> None:
        """Assert that the status and the plugin's information name these files."""
        remark = f"{names} changed after loading: !plugin reload Deploy"
        shown = self.bot.command("!status plugins")
        self.assertEqual(bool(names), f"• A Deploy: {remark}\n" in shown, shown)
        self.assertEqual(bool(names), "files changed: Deploy\n" in self.bot.command("!status"))
        info = self.bot.command("!plugin info Deploy")
        self.assertIn(f"changed after loading: {names}" if names else "module: deploy", info)
        self.assertEqual(bool(names), "changed after loading" in info)

    def test_changed_and_reloaded(self) -> None:
        """A changed file is named until its plugin is reloaded, a helper module too."""
        self.assert_changed("")
        self.write("deploy/steps.py", "count = 2")
        self.assert_changed("steps.py")
        with (self.directory / "deploy/deploy.py").open("a") as file:
            file.write("\n")
        self.assert_changed("deploy.py, steps.py")
        self.assertEqual(self.bot.command("!plugin reload Deploy"), "Plugin Deploy reloaded.")
        self.assert_changed("")

    def test_written_again(self) -> None:
        """A file with a new date and the same content counts as unchanged."""
        self.write("deploy/steps.py", "count = 1")
        self.assert_changed("")

    def test_removed(self) -> None:
        """A removed file is named, and no reload is suggested."""
        (self.directory / "deploy/steps.py").unlink()
        self.assertIn("• A Deploy: steps.py was removed after loading\n", self.bot.command("!status plugins"))
        self.assertNotIn("plugin reload", self.bot.command("!status plugins"))
        self.assertIn("removed after loading: steps.py", self.bot.command("!plugin info Deploy"))
        (self.directory / "deploy").rename(self.directory / "elsewhere")
        self.assertIn(
            "• A Deploy: deploy.py, steps.py were removed after loading\n", self.bot.command("!status plugins")
        )

    def test_changed_for_others(self) -> None:
        """Only an administrator in private sees the names of files."""
        self.write("deploy/steps.py", "count = 2")
        (self.directory / "deploy/deploy.py").unlink()
        remark = "• A Deploy: a file changed after loading: !plugin reload Deploy; a file was removed after loading\n"
        for text in (self.bot.command("!status plugins", frm="bob"), *self.bot.say("!status plugins", room="#ops")):
            self.assertIn(remark, text)

    def test_hanging_disk(self) -> None:
        """The files are read in a thread; if the disk hangs, the reply comes without the changes after 3 seconds."""
        jobs: list[Deferred[None]] = []

        def hang(prepare: object, **options: object) -> Deferred[None]:
            jobs.append(Deferred())
            return jobs[-1]

        self.patch(self.bot.bot.plugin_pool, "run", hang)
        self.assertEqual(self.bot.say("!status plugins") + self.bot.say("!plugin info Deploy"), [])
        self.assertEqual(len(jobs), 1)
        self.bot.advance(3)
        status, info = self.bot.sent_to("@admin")
        self.assertIn("Active: Deploy. Core: ", status)
        self.assertIn("The disk doesn't respond, so changed files aren't listed.", status)
        self.assertIn("changed after loading: unknown, since the disk doesn't respond", info)


class ShutdownTests(PluginTestCase):
    """`!shutdown`."""

    def test_confirmed(self) -> None:
        """`--confirm` stops the reactor after the reply."""
        self.command("!shutdown --confirm")
        self.assertFalse(self.bot.reactor.hasStopped)
        self.bot.advance(0)
        self.assertTrue(self.bot.reactor.hasStopped)

    def test_kill(self) -> None:
        """`--confirm --kill` kills the process after the reply; `--kill` alone doesn't."""
        killed: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda *args: killed.append(args))
        self.assertIn("--confirm", self.command("!shutdown --kill"))
        self.command("!shutdown --confirm --kill")
        self.assertEqual(killed, [])
        self.bot.advance(0.1)
        self.assertEqual(killed, [(os.getpid(), signal.SIGKILL)])
        self.assertFalse(self.bot.reactor.hasStopped)

    def test_unknown_argument(self) -> None:
        """An unknown option stops nothing."""
        self.assertIn("Unknown option --force", self.command("!shutdown --confirm --force"))
        self.bot.advance(1)
        self.assertFalse(self.bot.reactor.hasStopped)


class RestartTests(PluginTestCase):
    """`!restart`."""

    def test_restart(self) -> None:
        """An administrator's command calls the bot's restart; other people's don't."""
        asked: list[str] = []
        self.patch(self.bot.bot, "restart", lambda: asked.append("now"))
        self.assertIn("requires bot-admin", self.command("!restart", frm="@bob"))
        self.assertEqual(asked, [])
        self.assertEqual(self.command("!restart"), "Restarting.")
        self.assertEqual(asked, ["now"])

    def test_where_it_can_not_be(self) -> None:
        """If a restart is impossible, the reply contains the reason."""
        self.assertIn("must start it again", self.command("!restart"))

        def refuse() -> None:
            raise CannotRestart("systemd has to (_/srv_/config.py)")

        self.patch(self.bot.bot, "restart", refuse)
        self.assertEqual(self.command("!restart"), "The bot can't restart itself: systemd has to (_/srv_/config.py).")
