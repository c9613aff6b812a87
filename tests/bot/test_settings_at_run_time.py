"""Settings that plugins change while the bot runs, on several networks."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotFlow, BotPlugin, botcmd, botflow
from errklein.testing import TestBot


class Vault(BotPlugin):
    """Has a command for administrators."""

    @botcmd(admin_only=True)
    def unlock(self, msg: Any, args: str) -> str:
        """Unlock."""
        return "unlocked"

    @botcmd
    def begin(self, msg: Any, args: str) -> str:
        """Begin a flow."""
        return "begun"


class Flows(BotFlow):
    """A flow whose second step is for administrators."""

    @botflow
    def opening(self, flow: Any) -> None:
        """Open."""
        flow.connect("begin", auto_trigger=True).connect("unlock", predicate=lambda context: True)


class ChangedSettingsTests(SynchronousTestCase):
    """BOT_ADMINS is one list for two networks."""

    def setUp(self) -> None:
        """Start the bot."""
        self.admins = ["root"]
        networks: dict[str, dict[str, Any]] = {"a": {}, "b": {"BOT_ADMINS": ["own"]}}
        self.bot = TestBot(plugins=[Vault], networks=networks, config={"BOT_ADMINS": self.admins})
        self.bot.start()
        self.addCleanup(self.bot.stop)

    def answer(self, text: str, frm: str, network: str = "a") -> str:
        """Return the reply to a person on a network."""
        return "\n".join(self.bot.say(text, frm=frm, network=network))

    def test_access(self) -> None:
        """A change of the list takes effect at once, on the networks that it belongs to."""
        self.assertIn("requires bot-admin privileges", self.answer("!unlock", "alice"))
        self.bot.config.BOT_ADMINS.append("a:alice")
        self.assertEqual(self.answer("!unlock", "alice"), "unlocked")
        self.assertIn("requires bot-admin privileges", self.answer("!unlock", "alice", "b"))
        self.bot.config.networks["b"].BOT_ADMINS.append("alice")
        self.assertEqual(self.answer("!unlock", "alice", "b"), "unlocked")
        self.admins.clear()
        self.assertIn("requires bot-admin privileges", self.answer("!unlock", "alice"))

    def test_explained(self) -> None:
        """`!acl explain` gives the same result as the commands."""
        self.admins.append("alice")
        self.assertIn("may", self.answer("!acl explain alice unlock", "root"))
        self.assertNotIn("may not", self.answer("!acl explain alice unlock", "root"))
        self.admins.remove("alice")
        self.assertNotEqual(
            self.answer("!acl explain alice unlock", "root"), self.answer("!acl explain root unlock", "root")
        )

    def test_flows(self) -> None:
        """A step for administrators is open to people who are administrators at that time."""
        self.bot.bot.inject_flows_from(Flows(self.bot.bot, "Flows"))
        self.assertIn("requires bot-admin privileges", self.answer("!begin", "alice") + self.answer("!begin", "alice"))
        self.admins.append("bob")
        self.assertNotIn("requires bot-admin privileges", self.answer("!begin", "bob") + self.answer("!begin", "bob"))
