"""Tests for blocking commands in real threads."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.real_bot import RealBotCase

BLOCKING = textwrap.dedent(
    """
    import threading
    from errklein import BotPlugin, botcmd

    class Blocking(BotPlugin):
        gate = threading.Event()

        @botcmd
        def block(self, msg, args):
            self.gate.wait()
            return "released"

        @botcmd(admin_only=True)
        def block_admins(self, msg, args):
            self.gate.wait()
            return "released"

        @botcmd
        def where(self, msg, args):
            return f"{self.build_identifier('carol').network} {'commands' in threading.current_thread().name}"

        @botcmd(template="where")
        def rendered(self, msg, args):
            return {"thread": threading.current_thread}

        @botcmd
        def items(self, msg, args):
            yield self.build_identifier("carol").network
            self.gate.wait()
            yield "released"

        def callback_message(self, message):
            if message.body == "where am I":
                self.send(message.frm, "callback " + self.build_identifier("carol").network)
    """
)


class ThreadTests(RealBotCase):
    """Blocking commands in threads, beside commands on the reactor."""

    config = {
        "NETWORKS": {"libera": {"BACKEND": "Test"}, "console": {"BACKEND": "Test"}},
        "BOT_ASYNC_POOLSIZE": 3,
    }

    async def setUp(self) -> None:
        """Start a bot with blocking commands."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "blocking.plug").write_text("[Core]\nName = Blocking\nModule = blocking\n")
        (directory / "blocking.py").write_text(BLOCKING)
        (directory / "templates").mkdir()
        (directory / "templates" / "where.md").write_text("rendered in {{ thread().name }}")
        await self.start_bot(directory)
        gate = self.bot.plugin_manager.instance("Blocking").gate  # type: ignore[attr-defined]
        gate.clear()
        self.addCleanup(gate.set)
        self.gate = gate

    async def test_blocking_commands_block_nobody(self) -> None:
        """While commands block, an administrator's among them, other commands reply from threads and the reactor."""
        self.backend.receive("!block", frm="bob")
        self.backend.receive("!block admins", frm="@admin")
        self.assertEqual(await self.say("!where", frm="bob"), ["libera True"])
        self.assertIn("I've been up", await self.command("!uptime"))
        self.gate.set()
        await self.bot.dispatcher.when_idle()
        self.assertEqual([sent.text for sent in self.backend.sent][-2:], ["released"] * 2)

    async def test_commands_that_hang(self) -> None:
        """When eight people have five hanging commands each, other people's plain commands still run."""
        self.bot.command_pool.overdue = 0.05
        for number in range(40):
            self.backend.receive("!block", frm=f"eve{number // 5}")
        self.assertEqual(await self.say("!where", frm="bob"), ["libera True"])
        self.gate.set()

    async def test_core_commands_need_no_thread_of_plugins(self) -> None:
        """While plugins hold all threads, and one person an admin-only command, an administrator's core commands reply."""
        for number in range(40):
            self.backend.receive("!block", frm=f"eve{number // 5}")
        self.backend.receive("!block admins", frm="@admin")
        self.bot.command_pool.spare = self.bot.plugin_pool.spare = 0
        self.assertIn("#ops", await self.command("!room list"))
        self.assertEqual(await self.command("!log tail"), "There is no log file; set BOT_LOG_FILE to its path.")
        self.assertIn("There are no flows", await self.command("!flows list"))
        self.assertIn("Networks", await self.command("!status"))
        self.gate.set()

    async def test_templates(self) -> None:
        """The template of a blocking command is rendered in a thread, too."""
        (said,) = await self.say("!rendered", frm="bob")
        self.assertRegex(said, "^rendered in .*commands")
        self.gate.set()

    async def test_items_are_sent_while_it_blocks(self) -> None:
        """The items of a blocking generator are sent at once."""
        self.assertEqual(await self.say("!items", frm="bob"), ["libera"])
        self.gate.set()
        await self.bot.dispatcher.when_idle()
        self.assertEqual(self.backend.sent[-1].text, "released")

    async def test_bare_names_in_threads(self) -> None:
        """In a thread, a bare name belongs to the network of the message, for commands, generators and callbacks."""
        self.assertEqual(await self.say("!where", frm="bob", network="console"), ["console True"])
        self.gate.set()
        self.assertEqual(await self.say("!items", replies=2, frm="bob", network="console"), ["console", "released"])
        self.assertEqual(await self.say("where am I", frm="bob", network="console"), ["callback console"])
        self.assertEqual(await self.say("where am I", frm="bob"), ["callback libera"])


class OneThreadTests(RealBotCase):
    """Blocking commands with `BOT_ASYNC = False`."""

    config = {"NETWORKS": {"libera": {"BACKEND": "Test"}}, "BOT_ASYNC": False}

    async def setUp(self) -> None:
        """Start a bot with blocking commands."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "blocking.plug").write_text("[Core]\nName = Blocking\nModule = blocking\n")
        (directory / "blocking.py").write_text(BLOCKING)
        await self.start_bot(directory)
        self.gate = self.bot.plugin_manager.instance("Blocking").gate  # type: ignore[attr-defined]
        self.gate.clear()
        self.addCleanup(self.gate.set)

    async def test_one_after_the_other(self) -> None:
        """A blocking command waits for the previous one; commands on the reactor don't."""
        self.backend.receive("!block", frm="bob")
        self.backend.receive("!where", frm="bob")
        self.assertIn("I've been up", await self.command("!uptime"))
        self.gate.set()
        await self.bot.dispatcher.when_idle()
        self.assertEqual([sent.text for sent in self.backend.sent][-2:], ["released", "libera True"])
