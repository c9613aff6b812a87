"""Facts about the bot for an operator's console, and the messages that the console replies to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from errklein import BotPlugin, botcmd, re_botcmd
from errklein.chat import Message
from errklein.config.networks import find_network
from errklein.logs import destinations
from errklein.networks.test import NETWORK, TestBackend
from errklein.ports.chat import BotOverview
from tests.doubles import NetworksCase


class Console(TestBackend):
    """A network in memory that is an operator console."""

    @property
    def overview(self) -> BotOverview:
        """The facts about the bot, as they are now."""
        assert self.events is not None
        return self.events.overview(self)

    def plain_text_reply(self, message: Message) -> str | None:
        """Reply to "help" only."""
        return "a hint" if message.body == "help" else None


class Asker(BotPlugin):
    """Has a command that asks, a hidden one, one for administrators, and one without a prefix."""

    @botcmd
    async def order_dish(self, msg: Any, args: str) -> str:
        return f"ordered {await self.ask(msg, 'Which dish?')}"

    @botcmd(hidden=True)
    def secret(self, msg: Any, args: str) -> str:
        return ""

    @botcmd(admin_only=True)
    def shut(self, msg: Any, args: str) -> str:
        return ""

    @re_botcmd(pattern="^hungry", prefixed=False)
    def hungry(self, msg: Any, match: Any) -> str:
        return "eat"


class Reader(BotPlugin):
    """Reads messages."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.read: list[str] = []

    def callback_message(self, message: Message) -> None:
        self.read.append(message.body)


class ConsoleCase(NetworksCase):
    """A bot on a console and on another network."""

    networks = {"console": {"BOT_ADMINS": ("alice",)}, "libera": {}}
    plugins = (Asker,)

    def setUp(self) -> None:
        console = replace(NETWORK, make=lambda context: Console(context.reactor, context.config))
        with mock.patch("errklein.networks.test.NETWORK", console):
            find_network.cache_clear()
            super().setUp()
        find_network.cache_clear()
        backend: Any = self.backends["console"]
        self.console: Console = backend

    @property
    def overview(self) -> BotOverview:
        """The facts about the bot, as they are now."""
        return self.console.overview


class OverviewTests(ConsoleCase):
    """The facts that the console shows."""

    def commands(self, sender: str) -> list[str]:
        """The commands for that sender, without those of core plugins."""
        message = Message("", frm=self.console.build_identifier(sender), to=self.console.bot_identifier)
        ours = {"!order dish", "!secret", "!shut", "!hungry"}
        return [command for command in self.overview.commands(message) if command in ours]

    def test_prefix(self) -> None:
        """Each console has the prefix of its network."""
        self.config.networks["console"].BOT_PREFIX = "?"
        self.assertEqual(self.overview.prefix, "?")

    def test_commands(self) -> None:
        """Commands have prefix and spaces; hidden ones and those without a name are left out."""
        self.assertEqual(self.commands("alice"), ["!order dish", "!shut"])
        self.assertEqual(self.commands("bob"), ["!order dish", "!shut"])

    def test_restricted_commands(self) -> None:
        """HIDE_RESTRICTED_COMMANDS hides what the sender may not use."""
        self.config.networks["console"].HIDE_RESTRICTED_COMMANDS = True
        self.assertEqual(self.commands("alice"), ["!order dish", "!shut"])
        self.assertEqual(self.commands("bob"), ["!order dish"])

    def test_arguments(self) -> None:
        """Names of plugins and commands are completed after `!help`, and names of plugins after `!plugin …`."""
        message = Message("", frm=self.console.build_identifier("alice"), to=self.console.bot_identifier)
        commands = self.overview.commands(message)
        for text in ("!help Asker", "!help order dish", "!plugin reload Asker", "!plugin config Webserver"):
            self.assertIn(text, commands)
        self.assertNotIn("!help secret", commands)

    def test_remaining(self) -> None:
        """The bot continues after the console with webhooks if it listens, and with networks that have not ended."""
        self.assertEqual(list(self.overview.remaining), ["libera"])
        self.test_bot.bot.events.backend_ended(self.backends["libera"])
        self.reactor.advance(0)
        self.assertEqual(list(self.overview.remaining), [])
        self.successResultOf(self.bot.web.listeners.open("tcp:3141:interface=127.0.0.1"))
        self.assertEqual(list(self.overview.remaining), ["webhooks"])
        self.assertEqual(list(self.overview.addresses), ["http://127.0.0.1:3141"])

    def test_log_file(self) -> None:
        """The log file's path is relative if it is below the working directory, unless that is `/`."""
        self.patch(destinations, "_files", [])
        self.assertEqual(self.overview.log_file, "")
        for path, shown in (("/var/log/bot.log", "/var/log/bot.log"), ("data/bot.log", "data/bot.log")):
            self.patch(destinations, "_files", [mock.Mock(path=str(Path(path).absolute()))])
            self.assertEqual(self.overview.log_file, shown)
        self.patch(Path, "cwd", lambda: Path("/"))
        self.patch(destinations, "_files", [mock.Mock(path="/var/log/bot.log")])
        self.assertEqual(self.overview.log_file, "/var/log/bot.log")

    def test_core_plugins_do_not_count_as_readers(self) -> None:
        """Only plugins of the operator count as reading messages."""
        self.assertFalse(self.overview.plugins_read_messages)


class PlainTextTests(ConsoleCase):
    """Messages that the console replies to itself."""

    plugins = (Asker, Reader)

    def test_only_what_nothing_else_handles(self) -> None:
        """Commands, commands without a prefix and answers to questions get no hint; callbacks get every message."""
        self.assertTrue(self.overview.plugins_read_messages)
        self.assertEqual(self.say("help", "alice", network="console"), ["a hint"])
        self.assertEqual(self.say("hungry", "alice", network="console"), ["eat"])
        self.assertEqual(self.say("hello", "alice", network="console"), [])
        self.assertEqual(self.say("!order dish", "alice", network="console"), ["Which dish?"])
        self.assertEqual(self.say("help", "alice", network="console"), ["ordered help"])
        reader = self.bot.plugin_manager.plugin("Reader").instance
        assert isinstance(reader, Reader)
        self.assertEqual(reader.read, ["help", "hungry", "hello", "!order dish", "help"])

    def test_optional_prefix(self) -> None:
        """With BOT_PREFIX_OPTIONAL_ON_CHAT, `help` is the command."""
        self.config.networks["console"].BOT_PREFIX_OPTIONAL_ON_CHAT = True
        self.assertNotEqual(self.say("help", "alice", network="console"), ["a hint"])
