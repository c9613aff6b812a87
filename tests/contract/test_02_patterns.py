"""Chapter 2: `@re_botcmd` and `@botmatch`."""

from __future__ import annotations

import re
import unittest
from typing import Any

from tests.contract.kit import ContractTest


class ReBotcmdTests(ContractTest):
    """Commands declared with `re_botcmd` and `botmatch`."""

    plugin = r"""
        import re
        from errbot import BotPlugin, botcmd, botmatch, re_botcmd

        class Tried(BotPlugin):
            @re_botcmd(pattern=r"give me (\d+) (\w+)")
            def give(self, msg, match):
                return f"{match.group(2)} x {match.group(1)}"

            @re_botcmd(pattern=r"cookies?", prefixed=False, flags=re.IGNORECASE)
            def cookies(self, msg, match):
                return f"I heard {match.group()}"

            @re_botcmd(pattern=r"\bn(\d)\b", matchall=True)
            def numbers(self, msg, matches):
                return ",".join(match.group(1) for match in matches)

            @botmatch(r"^hello (?P<who>\w+)$")
            def hello(self, msg, match):
                return f"hello yourself, {match.group('who')}"

            @re_botcmd(pattern=r"give me 2 of", name="second")
            def also(self, msg, match):
                return "another one"
        """

    def test_match(self) -> None:
        """The handler gets the result of `search`, so the pattern may match anywhere in the text."""
        self.assertEqual(self.ask("!please give me 3 tests"), "tests x 3")

    def test_not_prefixed(self) -> None:
        """With `prefixed=False` no prefix is needed, and `flags` are used."""
        self.assertEqual(self.ask("Any COOKIES left?"), "I heard COOKIES")

    def test_prefixed_needs_a_prefix(self) -> None:
        """By default a pattern command needs the prefix."""
        self.assert_silent("give me 3 tests")

    def test_matchall(self) -> None:
        """With `matchall=True` the handler gets all matches."""
        self.assertEqual(self.ask("!n1 n2 n3"), "1,2,3")

    def test_botmatch(self) -> None:
        """A command declared with `botmatch` needs no prefix."""
        self.assertEqual(self.ask("hello world"), "hello yourself, world")

    def test_every_match_runs(self) -> None:
        """All pattern commands that match are run."""
        self.assertEqual(sorted(self.replies("!give me 2 of")), ["another one", "of x 2"])

    def test_commands_by_name_come_first(self) -> None:
        """If the text is a named command, no pattern command is run."""
        self.assertEqual(self.replies("!echo cookies"), ["cookies"])


class DeclarationTests(unittest.TestCase):
    """Declarations with `re_botcmd` and `botmatch`."""

    def test_botmatch_without_a_pattern(self) -> None:
        """`botmatch` without a pattern raises ValueError."""
        from errbot import botmatch

        with self.assertRaises(ValueError):
            botmatch()

    def test_botmatch_of_a_function(self) -> None:
        """`botmatch(function, pattern)` is allowed, too."""
        from errbot import botmatch

        def handler(self: Any, msg: Any, match: Any) -> None:
            """A handler."""

        declared = botmatch(handler, "abc")
        self.assertTrue(declared._err_re_command)
        self.assertIsNotNone(declared._err_command_re_pattern.search("abc"))
        self.assertFalse(declared._err_command_prefix_required)

    def test_attributes(self) -> None:
        """`re_botcmd` stores its options on the function."""
        from errbot import re_botcmd

        @re_botcmd(pattern="x+", flags=re.IGNORECASE, matchall=True, re_cmd_name_help="xs", template="t")
        def handler(self: Any, msg: Any, match: Any) -> None:
            """A handler."""

        self.assertTrue(handler._err_command)
        self.assertTrue(handler._err_re_command)
        self.assertEqual(handler._err_command_re_pattern, re.compile("x+", re.IGNORECASE))
        self.assertTrue(handler._err_command_matchall)
        self.assertTrue(handler._err_command_prefix_required)
        self.assertEqual(handler._err_command_re_name_help, "xs")
        self.assertEqual(handler._err_command_template, "t")
        self.assertEqual(handler._err_command_syntax, "x+")
        self.assertEqual(handler._err_command_name, "handler")


class PatternRepliesTests(ContractTest):
    """Replies of pattern commands."""

    plugin = r"""
        import re
        from errbot import BotPlugin, botcmd, botmatch, re_botcmd

        class Tried(BotPlugin):
            @re_botcmd(pattern=r"^start (.*)", flags=re.DOTALL)
            def start(self, msg, match):
                return repr(match.group(1))

            @re_botcmd(pattern=r"silent", hidden=True, re_cmd_name_help="be silent")
            def silent(self, msg, match):
                return None

            @re_botcmd(pattern=r"shown \w+", re_cmd_name_help="shown <what>")
            def shown(self, msg, match):
                '''Shows it.'''
                return "shown"

            @botmatch(r"yield(\d)", template="valued")
            def yields(self, msg, match):
                for number in range(int(match.group(1))):
                    yield {"value": number}

            @botmatch(r"admins", admin_only=True)
            def admins(self, msg, match):
                return "for admins"

            @botmatch(r"step", flow_only=True)
            def step(self, msg, match):
                return "a step"

            @botmatch(r"\bv(\d)", matchall=True)
            def versions(self, msg, matches):
                return repr([type(match).__name__ + match.group(1) for match in matches])

            @botmatch(r"raises")
            def raises(self, msg, match):
                raise RuntimeError("it broke")
        """
    files = {"templates/valued.md": "the value is {{value}}"}

    def test_text(self) -> None:
        """The pattern is applied to the text after the prefix, with its inner white space and line breaks."""
        self.assertEqual(self.ask("!start  a\n b "), "' a\\n b'")
        self.assertEqual(self.ask("!  start a"), "'a'")

    def test_help(self) -> None:
        """`!help` shows `re_cmd_name_help` in place of the pattern."""
        help_text = self.ask("!help Tried")
        self.assertIn("shown <what>", help_text)
        self.assertNotIn("shown \\w+", help_text)
        self.assertNotIn("be silent", self.ask("!help"))

    def test_items_and_templates(self) -> None:
        """Generators and templates work as for named commands."""
        self.assertEqual(self.replies("yield2"), ["the value is 0", "the value is 1"])

    def test_admin_only(self) -> None:
        """With `admin_only=True` the command is refused to all but administrators."""
        self.assertEqual(self.ask("for admins"), "for admins")
        self.testbot.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("admin", self.ask("for admins"))

    def test_flow_only(self) -> None:
        """With `flow_only=True` the command gets no reply outside of a flow."""
        self.assert_silent("step")

    def test_matchall(self) -> None:
        """With `matchall=True` the handler gets a list of match objects."""
        self.assertEqual(self.ask("v1 and v2"), "['Match1', 'Match2']")

    def test_error(self) -> None:
        """An exception is reported as for named commands."""
        self.assertIn("it broke", self.ask("it raises"))
