"""Tests for `!acl explain`, and for the functions for access rules that plugins import."""

from __future__ import annotations

from typing import Any

from errklein import BotPlugin, botcmd
from errklein.commands import re_botcmd
from errklein.testing import PluginTestCase


class Shop(BotPlugin):
    """A plugin of a shop."""

    @botcmd
    def buy_tea(self, msg: Any, args: str) -> str:
        """Buy tea."""
        return f"bought {args}"

    @re_botcmd(pattern=r"^haggle (\w+)$")
    def haggle(self, msg: Any, match: Any) -> str:
        """Ask for a better price."""
        return "no"

    @botcmd(admin_only=True)
    def close(self, msg: Any, args: str) -> str:
        """Close the shop."""
        return "closed"


class ExplainTests(PluginTestCase):
    """Explanations of access rules."""

    plugins = (Shop,)
    config = {
        "ACCESS_CONTROLS": {
            "buy tea": {"allowusers": ("alice", "@admin"), "allowargs": "green*", "denyrooms": "#dark"},
            "haggle": {"denyusers": "bob", "denyargs": "haggle tea"},
            "Shop:*": {"allowmuc": True},
        },
        "ACCESS_CONTROLS_DEFAULT": {"denyusers": "mallory"},
    }

    def explained(self, question: str) -> str:
        """Return the reply to `!acl explain`."""
        return self.command(f"!acl explain {question}")

    def test_denied(self) -> None:
        """The reply names the pattern, the key and the value that deny the command, and the reply to the user."""
        answer = self.explained("bob buy tea green")
        self.assertIn("bob may not use !buy tea green in a direct message", answer)
        self.assertIn("ACCESS_CONTROLS['buy tea']['allowusers'] = ('alice', '@admin')", answer)
        self.assertIn("You're not allowed to access this command from this user", answer)
        self.assertIn("['allowargs'] = 'green*'", self.explained("alice !buy tea black"))
        self.assertIn("ACCESS_CONTROLS_DEFAULT['denyusers'] = 'mallory'", self.explained("mallory whoami"))

    def test_allowed(self) -> None:
        """The reply names all rules that allow the command, or that no rule applies."""
        answer = self.explained("alice buy_tea green")
        self.assertIn("alice may use !buy tea green in a direct message", answer)
        self.assertIn("The pattern 'buy tea' of ACCESS_CONTROLS applies", answer)
        self.assertIn("['allowusers'] = ('alice', '@admin')", answer)
        self.assertIn("No pattern of ACCESS_CONTROLS applies", self.explained("alice whoami"))

    def test_rooms(self) -> None:
        """The room may follow the user or be at the end; an occupant needs none."""
        for question in ("alice in #dark buy tea green", "alice buy tea green in #dark", "alice@#dark buy tea green"):
            answer = self.explained(question)
            self.assertIn("may not use !buy tea green in #dark", answer)
            self.assertIn("['denyrooms'] = '#dark'", answer)
        self.assertIn("alice may use !buy tea green in #light", self.explained("alice in #light buy tea green"))

    def test_administrators(self) -> None:
        """The reply names BOT_ADMINS for admin-only commands, and a missing rule for rooms."""
        self.assertIn("BOT_ADMINS denies the command", self.explained("bob close"))
        self.assertIn("@admin (an administrator) may use !close in #ops", self.explained("@admin in #ops close"))
        answer = self.explained("@admin in #ops shutdown")
        self.assertIn("missing allowmuc = True", answer)
        self.assertIn("direct message", answer)

    def test_agrees_with_what_happens(self) -> None:
        """The explanation agrees with the outcome: allowed commands reply, denied ones get the named reply."""
        for user, command in (("alice", "buy tea green"), ("bob", "buy tea green"), ("bob", "close")):
            answer = self.command(f"!{command}", frm=user)
            self.assertEqual(answer in ("bought green", "closed"), "may use" in self.explained(f"{user} {command}"))
            if answer not in ("bought green", "closed"):
                self.assertIn(answer, self.explained(f"{user} {command}"))

    def test_patterns(self) -> None:
        """A command with a pattern is found by a matching text or by its name."""
        self.assertIn("['denyusers'] = 'bob'", self.explained("bob haggle"))
        self.assertIn("alice may use haggle in", self.explained("alice haggle"))
        self.assertIn("alice may use haggle coffee in", self.explained("alice haggle coffee"))
        self.assertIn("alice may not use haggle tea in", self.explained("alice !haggle tea"))

    def test_questions_that_make_no_sense(self) -> None:
        """An unknown person, room or command gets a reply in one line."""
        self.assertIn("Usage: !acl explain PERSON", self.command("!acl explain"))
        self.assertIn("Usage: !acl explain PERSON", self.explained("bob"))
        self.assertEqual(self.explained("bob dance"), "Command dance not found.")
        self.assertIn("#ops is not a person", self.explained("#ops whoami"))

    def test_markdown_in_rules(self) -> None:
        """Markdown in patterns is shown literally."""
        self.bot.config.ACCESS_CONTROLS = {"*_*": {"denyusers": ("_b*b_", "`")}}
        self.assertIn("ACCESS_CONTROLS['*_*']['denyusers'] = ('_b*b_', '`')", self.explained("_b*b_ buy tea"))

    def test_for_administrators(self) -> None:
        """People who aren't administrators get no explanation."""
        self.assertIn("requires bot-admin", self.command("!acl explain bob close", frm="bob"))


class HiddenTests(PluginTestCase):
    """Explanations with HIDE_RESTRICTED_ACCESS."""

    plugins = (Shop,)
    config = {"HIDE_RESTRICTED_ACCESS": True}

    def test_no_answer(self) -> None:
        """The explanation states that there is no reply, and the denied command gets none."""
        self.assertIn("There is no reply", self.command("!acl explain bob close"))
        self.assertEqual(self.bot.say("!close", frm="bob"), [])


class NoCorePluginsTests(PluginTestCase):
    """Access rules with `CORE_PLUGINS = ()`."""

    plugins = (Shop,)
    config = {"CORE_PLUGINS": (), "ACCESS_CONTROLS": {"buy tea": {"denyusers": "bob"}}}

    def test_rules_are_in_force(self) -> None:
        """Without this plugin all access rules still apply; only the explanation is missing."""
        self.assertIn("requires bot-admin", self.command("!close", frm="bob"))
        self.assertIn("from this user", self.command("!buy tea", frm="bob"))
        self.assertEqual(self.command("!close"), "closed")
        # Whoever doesn't want CommandNotFoundFilter either is told nothing.
        self.assertEqual(self.bot.say("!acl explain bob close"), [])
