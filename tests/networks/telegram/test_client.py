"""The check of the connection, and the commands that Telegram lists."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from errklein.config.networks import CommandText
from errklein.networks.errors import Unusable
from errklein.networks.telegram import NETWORK
from tests.networks.telegram.case import TelegramCase
from tests.networks.telegram.server import BOT, GROUP


class CheckTests(TelegramCase):
    """`errklein network check`."""

    def check(self) -> list[tuple[str, bool]]:
        """Return the findings."""
        assert NETWORK.check is not None
        checking: Any = Deferred.fromCoroutine(NETWORK.check(self.context))  # type: ignore[arg-type]
        self.clock.advance(1)
        return [(one.text, one.is_problem) for one in self.successResultOf(checking)]

    def test_all_is_well(self) -> None:
        """It says who the bot is, and doesn't disturb the running bot."""
        self.assertEqual(self.check(), [("Telegram accepts the bot as @errklein_bot", False)])
        self.hears("!now")

    def test_privacy_mode(self) -> None:
        """It is explained, and is a problem in configured groups where the bot is no administrator."""
        self.server.reads_all = False
        [_, (privacy, is_problem)] = self.check()
        self.assertIn("/setprivacy", privacy)
        self.assertFalse(is_problem)
        self.server.chats[GROUP].members[BOT] = "member"
        [_, _, (found, is_problem)] = self.check()
        self.assertTrue(is_problem)
        self.assertIn(str(GROUP), found)
        self.server.reads_all = True
        [_, (found, is_problem)] = self.check()
        self.assertFalse(is_problem)
        self.assertIn("no reactions", found)

    def test_missing_room(self) -> None:
        """A group without the bot is a problem, with the reason."""
        for status, reason in (("kicked", "kicked"), ("left", "left")):
            self.server.chats[GROUP].members[BOT] = status
            [_, (found, is_problem)] = self.check()
            self.assertIn(reason, found)
            self.assertTrue(is_problem)
        del self.server.chats[GROUP]
        [_, (found, _)] = self.check()
        self.assertIn("chat not found", found)

    def test_webhook(self) -> None:
        """That of another program, and one that fails, are problems."""
        self.server.webhook = {"url": "https://other.example.org/x"}
        self.assertIn("another program", self.check()[1][0])
        self.server.webhook, self.server.webhook_error = {}, "SSL error"
        self.assertIn("SSL error", self.check()[1][0])

    def test_wrong_token(self) -> None:
        """The reason is raised."""
        self.server.revoke()
        assert NETWORK.check is not None
        checking: Any = Deferred.fromCoroutine(NETWORK.check(self.context))  # type: ignore[arg-type]
        self.clock.advance(1)
        self.failureResultOf(checking, Unusable)


class CommandTests(TelegramCase):
    """`errklein network push-commands`."""

    def push(self, *names: str, dry: bool = False) -> list[str]:
        """Push commands, and return the lines."""
        commands = [CommandText(name, f"Does {name}", "") for name in names]
        assert NETWORK.push_commands is not None
        pushing: Any = Deferred.fromCoroutine(NETWORK.push_commands(self.context, commands, dry))  # type: ignore[arg-type]
        self.clock.advance(1)
        return list(self.successResultOf(pushing))

    def names(self, scope: str = "default") -> list[str]:
        """Return the names of the commands in a list."""
        return [one["command"] for one in self.server.commands.get(scope, [])]

    def test_push(self) -> None:
        """Commands are added, changed and removed; those of others stay."""
        other = {"command": "other", "description": "Of BotFather"}
        self.server.commands["default"] = [other, {"command": "echo", "description": "old"}]
        lines = self.push("echo", "Status", dry=True)
        self.assertEqual(lines, ["default: /echo is changed: Does echo", "default: /status is added: Does Status"])
        self.assertEqual(self.names(), ["other", "echo"])
        self.assertEqual(self.push("echo", "Status"), lines)
        self.assertEqual(self.names(), ["other", "echo", "status"])
        self.assertEqual(self.push("echo", "Status"), [])
        self.assertEqual(self.push("echo"), ["default: /status is removed"])
        self.assertEqual(self.names(), ["other", "echo"])

    def test_lists_of_others(self) -> None:
        """A list of its own, such as that for groups, gets them, too; one that isn't there isn't made."""
        self.server.commands["all_group_chats"] = [{"command": "other", "description": "x"}]
        self.push("echo")
        self.assertEqual((self.names("all_group_chats"), self.names("all_private_chats")), (["other", "echo"], []))

    def test_rules(self) -> None:
        """What Telegram doesn't take is left out, and named."""
        lines = self.push("x" * 33, "grüße", *(f"c{number}" for number in range(120)))
        self.assertEqual(sum("is left out" in line for line in lines), 22)
        self.assertEqual(len(self.names()), 100)

    def test_texts(self) -> None:
        """The description is of one line, and never empty."""
        commands = [CommandText("a", "x\n" * 300, ""), CommandText("b", "", "NAME"), CommandText("c", "", "")]
        assert NETWORK.push_commands is not None
        Deferred.fromCoroutine(NETWORK.push_commands(self.context, commands, False))  # type: ignore[arg-type]
        self.clock.advance(1)
        texts = [one["description"] for one in self.server.commands["default"]]
        self.assertEqual((len(texts[0]) <= 256, texts[1:]), (True, ["NAME", "c"]))
