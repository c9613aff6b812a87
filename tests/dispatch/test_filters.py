"""Tests for command filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from errklein import BotPlugin, botcmd, cmdfilter
from tests.doubles import NetworksCase


class First(BotPlugin):
    """A plugin with commands, and with filters that a test controls."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.asked: list[tuple[str, str | None, Any, bool]] = []
        self.decide: Callable[..., Any] = lambda *passed: passed

    @cmdfilter
    def plain(self, msg: Any, cmd: str, args: Any, dry_run: bool) -> Any:
        self.asked.append(("plain", cmd, args, dry_run))
        return msg, cmd, args

    @cmdfilter
    async def decides(self, msg: Any, cmd: str, args: Any, dry_run: bool) -> Any:
        self.asked.append(("decides", cmd, args, dry_run))
        decision = self.decide(msg, cmd, args)
        return await decision if isinstance(decision, Deferred) else decision

    @botcmd
    def echo_it(self, msg: Any, args: str) -> str:
        return f"{msg.body} {args}"

    @botcmd(admin_only=True)
    def secret(self, msg: Any, args: str) -> str:
        return "hush"


class Second(BotPlugin):
    """A plugin with later filters, one of them for unknown commands."""

    @cmdfilter(catch_unprocessed=True)
    def catches(self, msg: Any, cmd: Any, args: Any, dry_run: bool, emptycmd: bool = False) -> Any:
        first: Any = self._bot.plugin_manager.instance("First")
        first.asked.append(("catches", cmd, args, dry_run))
        return f"caught {msg.body}" if emptycmd else (msg, cmd, args)

    @cmdfilter(catch_unprocessed=True)
    def fails_for_unknown(self, msg: Any, cmd: Any, args: Any, dry_run: bool, emptycmd: bool = False) -> Any:
        if emptycmd:
            raise RuntimeError("no idea")
        return msg, cmd, args

    @cmdfilter(catch_unprocessed=True)
    def last(self, msg: Any, cmd: Any, args: Any, dry_run: bool, emptycmd: bool = False) -> Any:
        return succeed("caught last" if emptycmd else (msg, cmd, args))


class FilterCase(NetworksCase):
    """A bot with both plugins."""

    plugins = (First, Second)

    def setUp(self) -> None:
        """Remember the first plugin's instance."""
        super().setUp()
        self.first: Any = self.bot.plugin_manager.instance("First")


class FilterTests(FilterCase):
    """Arguments and results of filters."""

    def test_blocking(self) -> None:
        """A missing message, an exception, or any other value than a triple blocks the command without a reply."""

        def fails(*passed: Any) -> Any:
            raise RuntimeError("no")

        decisions: list[Callable[..., Any]] = [
            lambda msg, cmd, args: (None, cmd, args),
            lambda *passed: (None, None, None),
            lambda *passed: None,
            lambda *passed: "no",
            lambda msg, cmd, args: (msg, None, args),
            lambda msg, cmd, args: (msg, "no_such_command", args),
            fails,
        ]
        for decide in decisions:
            self.first.decide = decide
            self.assertEqual(self.say("!echo it x"), [])
        self.assertEqual(len(self.flushLoggedErrors()), 3)
        self.assertEqual(self.bot.cmd_history["bob"].count(("echo_it", "x")), 0)
        self.successResultOf(self.bot.dispatcher.when_idle())

    def test_permission_for_what_a_filter_made(self) -> None:
        """A filter can't allow a command that access rules deny."""
        self.first.decide = lambda msg, cmd, args: (msg, "secret", "")
        self.assertEqual(self.say("!echo it x"), ["This command requires bot-admin privileges"])
        self.assertEqual(self.say("!echo it x", frm="alice"), ["hush"])

    def test_refused_commands_are_not_shown(self) -> None:
        """Filters don't get commands that access rules deny."""
        self.say("!secret")
        self.assertEqual(self.first.asked, [])

    def test_waiting(self) -> None:
        """A slow filter delays its command and no others."""
        gate: Deferred[Any] = Deferred()
        self.first.decide = lambda msg, cmd, args: gate.addCallback(lambda _: (msg, cmd, "late"))
        self.assertEqual(self.say("!echo it x"), [])
        self.first.decide = lambda *passed: passed
        self.assertEqual(self.say("!echo it y"), ["!echo it y y"])
        gate.callback(None)
        self.assertEqual(self.texts()[-1], "!echo it x late")


class UnknownTests(FilterCase):
    """Filters of unknown commands."""

    def test_all_are_asked(self) -> None:
        """Each filter of unknown commands may reply; an exception is logged."""
        said, *caught = self.say("!nothing at all")
        self.assertIn('"nothing" / "nothing at" not found', said)
        self.assertEqual(caught, ["caught !nothing at all", "caught last"])
        self.assertEqual(self.first.asked, [("catches", None, "", False)])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
