"""Chapter 2, continued: corner cases of the decorators of commands."""

from __future__ import annotations

import re
import unittest
from typing import Any

from tests.contract.kit import ContractTest, decided


class TaggedTests(unittest.TestCase):
    """Decorators mark functions, and leave them what they are."""

    def test_bare_or_called(self) -> None:
        """Each can be used both ways, and returns the function itself."""
        from errbot import botcmd, botflow, cmdfilter, re_botcmd, webhook

        def function(self: Any, *args: Any) -> str:
            """A function."""
            return "called"

        for decorated in (
            botcmd(function),
            botcmd()(function),
            cmdfilter(function),
            cmdfilter()(function),
            botflow(function),
            botflow()(function),
            webhook(function),
            webhook()(function),
            re_botcmd(pattern="x")(function),
        ):
            self.assertIs(decorated, function)
        self.assertEqual(function(None), "called")

    def test_pattern_is_needed(self) -> None:
        """A command that is given by a pattern can't be declared without one."""
        from errbot import re_botcmd

        def function(self: Any, *args: Any) -> None:
            """A function."""

        with self.assertRaises((TypeError, ValueError)):
            re_botcmd(function)

    def test_syntax_is_kept(self) -> None:
        """Without options there is no syntax, no template, and no flow is needed."""
        from errbot import botcmd

        @botcmd
        def function(self: Any, msg: Any, args: Any) -> None:
            """A function."""

        for name in ("_err_command_syntax", "_err_command_template"):
            self.assertIsNone(getattr(function, name), name)
        self.assertFalse(function._err_command_flow_only)
        self.assertTrue(function._err_command_historize)

    def test_flow_only_is_hidden(self) -> None:
        """`hidden` is as `flow_only`, unless it is given."""
        from errbot import botcmd

        def declared(**options: Any) -> Any:
            @botcmd(**options)
            def function(self: Any, msg: Any, args: Any) -> None:
                """A function."""

            return function

        self.assertTrue(declared(flow_only=True)._err_command_hidden)
        self.assertFalse(declared(flow_only=True, hidden=False)._err_command_hidden)

    def test_botmatch(self) -> None:
        """All of its options are marked."""
        from errbot import botmatch

        @botmatch(r"a(b)?", matchall=True, hidden=True, name="other", admin_only=True, historize=False, template="t")
        def function(self: Any, msg: Any, match: Any) -> None:
            """A function."""

        self.assertEqual(function._err_command_name, "other")
        for name in ("_err_command_matchall", "_err_command_hidden", "_err_command_admin_only", "_err_re_command"):
            self.assertTrue(getattr(function, name), name)
        self.assertFalse(function._err_command_historize)
        self.assertFalse(function._err_command_prefix_required)
        self.assertEqual(function._err_command_template, "t")
        self.assertEqual(function._err_command_re_pattern.pattern, r"a(b)?")

    def test_botmatch_with_flags(self) -> None:
        """`flags` and `flow_only` are heeded too; the pattern is the syntax."""
        from errbot import botmatch

        @botmatch("a+", flags=re.IGNORECASE, flow_only=True)
        def function(self: Any, msg: Any, match: Any) -> None:
            """A function."""

        self.assertEqual(function._err_command_re_pattern, re.compile("a+", re.IGNORECASE))
        self.assertTrue(function._err_command_flow_only)
        self.assertEqual(function._err_command_syntax, "a+")


class ParsedArgumentsTests(unittest.TestCase):
    """`arg_botcmd`, as it is declared."""

    def test_only_the_bottom_one_counts(self) -> None:
        """All options of decorators above are passed over."""
        from errbot import arg_botcmd

        @arg_botcmd("b", name="top", admin_only=True, hidden=True, historize=False, template="t", flow_only=True)
        @arg_botcmd("a")
        def greet(self: Any, msg: Any, a: str, b: str) -> None:
            """Greets somebody."""

        self.assertEqual(greet._err_command_name, "greet")
        self.assertIsNone(greet._err_command_template)
        for name in ("_err_command_admin_only", "_err_command_hidden", "_err_command_flow_only"):
            self.assertFalse(getattr(greet, name), name)
        self.assertTrue(greet._err_command_historize)

    def test_help(self) -> None:
        """The documentation is the parser's help, with the function's own as description; the usage is the syntax."""
        from errbot import arg_botcmd

        @arg_botcmd("flow_name", type=str)
        @arg_botcmd("user", type=str, name="flows_kill")
        def kill(self: Any, msg: Any, user: str, flow_name: str) -> None:
            """Ends a flow."""

        self.assertEqual(kill._err_command_parser.prog, "flows_kill")
        self.assertEqual(kill._err_command_parser.description, "Ends a flow.")
        self.assertEqual(kill.__doc__, kill._err_command_parser.format_help())
        self.assertEqual(kill._err_command_syntax.split(), ["[-h]", "user", "flow_name"])
        self.assertTrue(kill.__doc__.split("\n")[0].endswith("user flow_name"))

    def test_generator(self) -> None:
        """Whatever the function is, what is declared is a generator function."""
        import inspect

        from errbot import arg_botcmd

        @arg_botcmd("a")
        def plain(self: Any, msg: Any, a: str) -> str:
            """A function."""
            return a

        self.assertTrue(inspect.isgeneratorfunction(plain))
        self.assertEqual(list(plain(None, None, "x")), ["x"])

    def test_arguments_that_are_added(self) -> None:
        """`Command.append_args` adds arguments to what `arg_botcmd` has made."""
        from errbot import Command, arg_botcmd

        command = Command(
            lambda plugin, msg, first, second: f"{first}{second}",
            cmd_type=arg_botcmd,
            cmd_args=("first",),
            cmd_kwargs={"type": int},
            name="added",
        )
        command.append_args(("--second",), {"type": str, "default": "none"})
        self.assertEqual(list(command.definition(None, None, "1 --second 2")), ["12"])
        self.assertEqual(list(command.definition(None, None, "1")), ["1none"])


class CommandDeclarationTests(unittest.TestCase):
    """`Command`."""

    def test_decorated(self) -> None:
        """The decorator gets its arguments and options."""
        from errbot import Command, botmatch, re_botcmd

        one = Command(lambda p, m, a: "x", cmd_kwargs={"admin_only": True, "syntax": "<y>"}, name="one", doc="Of it.")
        self.assertEqual((one.name, one.definition.__name__, one.definition.__doc__), ("one", "one", "Of it."))
        self.assertTrue(one.definition._err_command_admin_only)
        self.assertEqual(one.definition._err_command_syntax, "<y>")
        two = Command(lambda p, m, a: "x", cmd_type=re_botcmd, cmd_kwargs={"pattern": "x"}, name="two")
        self.assertTrue(two.definition._err_command_prefix_required)
        three = Command(lambda p, m, a: "x", cmd_type=botmatch, cmd_args=("y",), name="three")
        self.assertFalse(three.definition._err_command_prefix_required)


class MoreArgumentsTests(ContractTest):
    """`arg_botcmd`, as it is used."""

    plugin = """
        from errbot import BotPlugin, CommandError, arg_botcmd, botcmd

        class Tried(BotPlugin):
            @arg_botcmd("second", type=str, unpack_args=True)
            @arg_botcmd("first", type=str, unpack_args=False)
            def packed(self, msg, args):
                return f"{args.first} {args.second}"

            @arg_botcmd("value", type=str, template="valued")
            def valued(self, msg, value):
                return {"value": value}

            @arg_botcmd("value", type=str)
            def refused(self, msg, value):
                raise CommandError(f"not {value}")

            @arg_botcmd("value", type=str, admin_only=True)
            def only_admins(self, msg, value):
                return "done"

            @arg_botcmd("--flag", action="store_true")
            @arg_botcmd("rest", nargs="*")
            def many(self, msg, rest, flag):
                return f"{flag} {rest}"

            @arg_botcmd("value", type=str, flow_only=True)
            def step(self, msg, value):
                return "a step"

            @arg_botcmd("value", type=str, historize=False)
            def forgotten(self, msg, value):
                return value

            @arg_botcmd("value", type=str)
            def nothing(self, msg, value):
                return ""
        """
    files = {"templates/valued.md": "the value is {{value}}"}

    def test_unpacking_is_up_to_the_bottom_one(self) -> None:
        """The one above isn't asked."""
        self.assertEqual(self.ask("!packed a b"), "a b")

    def test_template(self) -> None:
        """What it returns is filled in."""
        self.assertEqual(self.ask("!valued x"), "the value is x")

    def test_command_error(self) -> None:
        """Its text is the reply."""
        self.assertEqual(self.replies("!refused x"), ["not x"])

    def test_nothing(self) -> None:
        """What is false isn't sent."""
        self.assert_silent("!nothing x")

    def test_argparse(self) -> None:
        """Arguments are argparse's, with all that it has."""
        self.assertEqual(self.ask("!many"), "False []")
        self.assertEqual(self.ask("!many a 'b c' --flag"), "True ['a', 'b c']")
        self.assertEqual(self.ask("!many \u2014flag"), "True []")

    def test_line_breaks(self) -> None:
        """They are white space."""
        self.assertEqual(self.ask("!many a\nb"), "False ['a', 'b']")

    def test_short_help(self) -> None:
        """`-h` is `--help`; it is one reply."""
        (reply,) = self.replies("!many -h")
        self.assertIn("usage: many", reply)

    def test_replies_to_mistakes(self) -> None:
        """The usage is the second of two replies, without any help; unknown arguments are mistakes."""
        wrong, usage = self.replies("!valued x y")
        self.assertIn("couldn't parse the arguments; unrecognized arguments: y", wrong)
        self.assertIn("usage: valued", usage)
        self.assertNotIn("--help", usage)

    def test_flow_only(self) -> None:
        """Outside of a flow nobody answers."""
        self.assert_silent("!step x")

    def test_admin_only(self) -> None:
        """Others are refused."""
        self.assertEqual(self.ask("!only admins x"), "done")
        self.testbot.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("admin", self.ask("!only admins x"))

    def test_not_historized(self) -> None:
        """`historize=False` is heeded."""
        self.ask("!many before")
        self.ask("!forgotten x")
        self.assertEqual(self.ask("!!"), "False ['before']")


class MethodsTests(ContractTest):
    """What is registered when a plugin is activated."""

    plugin = """
        import types
        from errbot import BotPlugin, botcmd

        @botcmd
        def of_instance(self, msg, args):
            return f"of {self.name}"

        class Base:
            @botcmd
            def of_base(self, msg, args):
                return "base"

            @botcmd
            def changed(self, msg, args):
                return "of the base"

        class Mixin:
            @botcmd
            def _private(self, msg, args):
                return "private"

        class Tried(Mixin, Base, BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.number = 0
                self.of_instance = types.MethodType(of_instance, self)

            def changed(self, msg, args):
                return "not a command"

            @botcmd
            def twice(self, msg, args):
                return "first"

            @botcmd
            def twice(self, msg, args):
                return "second"

            @staticmethod
            @botcmd
            def static(msg, args):
                return "static"

            @botcmd
            def state(self, msg, args):
                self.number += 1
                return str(self.number)
        """

    def test_inherited(self) -> None:
        """Methods of bases and mixins count, whatever their names; what isn't marked where it is overridden doesn't."""
        self.assertEqual(self.ask("!of base"), "base")
        self.assertEqual(self.ask("!_private"), "private")
        self.assertIn("not found", self.ask("!changed"))

    def test_last_definition(self) -> None:
        """Of two methods of one name there is the last."""
        self.assertEqual(self.ask("!twice"), "second")

    def test_of_the_instance(self) -> None:
        """A method that the instance alone has counts."""
        self.assertEqual(self.ask("!of instance"), "of Tried")

    def test_only_methods(self) -> None:
        """Static methods are none."""
        self.assertIn("not found", self.ask("!static"))

    def test_state(self) -> None:
        """All run on the one instance."""
        self.assertEqual([self.ask("!state"), self.ask("!state")], ["1", "2"])


class MorePatternsTests(ContractTest):
    """Commands that are given by patterns."""

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
        """What is searched is all that comes after the prefix, line breaks and inner white space as they are."""
        self.assertEqual(self.ask("!start  a\n b "), "' a\\n b'")
        self.assertEqual(self.ask("!  start a"), "'a'")

    def test_help(self) -> None:
        """Help shows what `re_cmd_name_help` says in place of the pattern."""
        help_text = self.ask("!help Tried")
        self.assertIn("shown <what>", help_text)
        self.assertNotIn("shown \\w+", help_text)
        self.assertNotIn("be silent", self.ask("!help"))

    def test_items_and_templates(self) -> None:
        """They work as with any command."""
        self.assertEqual(self.replies("yield2"), ["the value is 0", "the value is 1"])

    def test_admin_only(self) -> None:
        """Who isn't one is refused."""
        self.assertEqual(self.ask("for admins"), "for admins")
        self.testbot.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("admin", self.ask("for admins"))

    def test_flow_only(self) -> None:
        """Outside of a flow nobody answers."""
        self.assert_silent("step")

    def test_matchall(self) -> None:
        """There is a list of matches."""
        self.assertEqual(self.ask("v1 and v2"), "['Match1', 'Match2']")

    def test_error(self) -> None:
        """It is told as with any command."""
        self.assertIn("it broke", self.ask("it raises"))


class MoreFiltersTests(ContractTest):
    """`cmdfilter`."""

    plugin = """
        import threading
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            seen = ()

            @botcmd
            def first(self, msg, args):
                return f"first {args}"

            @botcmd
            def second(self, msg, args):
                return f"second {args}"

            @botcmd(split_args_with=None, historize=False)
            def words(self, msg, args):
                return repr(args)

            @cmdfilter
            def a_filter(self, msg, cmd, args, dry_run):
                self.seen += (("a", cmd, args, dry_run),)
                if args == "swap":
                    return msg, "second", "swapped"
                if cmd == "second" and dry_run:
                    return None, None, None
                return msg, cmd, args

            @cmdfilter(catch_unprocessed=True)
            def b_filter(self, msg, cmd, args, dry_run, emptycmd=False):
                self.seen += (("b", cmd, args, dry_run, emptycmd),)
                if emptycmd:
                    return "b caught it"
                return msg, cmd, args

            @cmdfilter(catch_unprocessed=True)
            def c_filter(self, msg, cmd, args, dry_run, emptycmd=False):
                if emptycmd:
                    return "c caught it"
                return msg, cmd, args
        """

    def test_order(self) -> None:
        """Filters see the command one after the other."""
        self.ask("!words x y")
        self.assertEqual(self.instance().seen[-2:], (("a", "words", "x y", False), ("b", "words", "x y", False, False)))

    def test_unprocessed(self) -> None:
        """Each that catches what is no command answers; the command is None."""
        said = self.replies("!nobody knows this")
        self.assertIn("b caught it", said)
        self.assertIn("c caught it", said)
        self.assertLess(said.index("b caught it"), said.index("c caught it"))
        caught = [entry for entry in self.instance().seen if entry[-1] is True]
        self.assertEqual([(entry[1], entry[3]) for entry in caught], [(None, False)])

    def test_not_without_prefix(self) -> None:
        """What has no prefix is nothing to catch."""
        self.assert_silent("nobody knows this")

    def test_no_dry_run_in_help(self) -> None:
        """Without HIDE_RESTRICTED_COMMANDS help asks no filter."""
        self.assertIn("second", self.ask("!help Tried"))
        self.assertEqual([entry for entry in self.instance().seen if entry[3]], [])

    def test_another_command(self) -> None:
        """A filter may have another command run."""
        self.assertEqual(self.ask("!first swap"), "second swapped")


class FiltersOfPluginsTests(ContractTest):
    """Filters of several plugins."""

    plugin = """
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            @botcmd
            def show(self, msg, args):
                return args

            @cmdfilter
            def filtered(self, msg, cmd, args, dry_run):
                return msg, cmd, f"{args} Tried" if cmd == "show" else args
        """
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, cmdfilter

            class Zother(BotPlugin):
                @cmdfilter
                def filtered(self, msg, cmd, args, dry_run):
                    return msg, cmd, f"{args} Zother" if cmd == "show" else args
            """,
    }

    def test_order(self) -> None:
        """They see a command in the order in which their plugins were activated."""
        for last, first in (("Zother", "Tried"), ("Tried", "Zother")):
            for name in (last, first):
                self.replies(f"!plugin deactivate {name}")
            for name in (first, last):
                self.replies(f"!plugin activate {name}")
            self.assertEqual(self.ask("!show x"), f"x {first} {last}")


class DryRunTests(ContractTest):
    """Filters with HIDE_RESTRICTED_COMMANDS."""

    plugin = MoreFiltersTests.plugin
    config = {"HIDE_RESTRICTED_COMMANDS": True}

    def test_help(self) -> None:
        """They are asked about every command without its arguments, and what they would block isn't shown."""
        shown = self.ask("!help")
        self.assertIn("!first", shown)
        self.assertNotIn("!second", shown)
        asked = {entry[1:4] for entry in self.instance().seen if entry[3]}
        self.assertIn(("first", None, True), asked)
        self.assertIn(("second", None, True), asked)

    def test_apropos(self) -> None:
        """So it is with `!apropos`."""
        self.assertIn("first", self.ask("!apropos first"))
        self.assertNotIn("!second", self.ask("!apropos second"))

    def test_still_runs(self) -> None:
        """The command itself can be given, as the filter lets it through."""
        self.assertEqual(self.ask("!second x"), "second x")


class MoreReturnedTests(ContractTest):
    """What commands return."""

    plugin = """
        from collections import OrderedDict
        from errbot import BotPlugin, CommandError, botcmd
        from errbot.backends.base import Message

        class Tried(BotPlugin):
            @botcmd
            def markdown(self, msg, args):
                return "# Title\\n\\nsome **bold** text"

            @botcmd
            def me(self, msg, args):
                return "/me waves"

            @botcmd
            def message(self, msg, args):
                return Message("a message")

            @botcmd
            def false(self, msg, args):
                return False

            @botcmd(template="valued")
            def listed(self, msg, args):
                return ["a", "b"]

            @botcmd(template="valued")
            def ordered(self, msg, args):
                return OrderedDict(value=1)

            @botcmd(template="broken")
            def broken(self, msg, args):
                return {"value": 1}

            @botcmd
            def refused_midway(self, msg, args):
                yield "before"
                raise CommandError("refused")

            @botcmd
            def numbers(self, msg, args):
                yield 1
                yield [2]

            @botcmd
            def fail(self, msg, args):
                raise KeyError("key")

            @botcmd
            def fail_silently(self, msg, args):
                raise RuntimeError
        """
    files = {"templates/valued.md": "the value is {{value}}", "templates/broken.md": "{{ value.nothing.here }}"}

    def test_markdown(self) -> None:
        """A text is Markdown."""
        said = self.ask("!markdown")
        self.assertIn("TITLE", said)
        self.assertIn("some bold text", said)

    def test_me(self) -> None:
        """`/me` is nothing special."""
        self.assertEqual(self.ask("!me"), "/me waves")

    def test_message(self) -> None:
        """A message is sent as str() makes it."""
        self.assertEqual(self.ask("!message"), "a message")

    def test_false(self) -> None:
        """Nothing is sent."""
        self.assert_silent("!false")

    def test_template_of_other_things(self) -> None:
        """A template is for mappings, of whatever class; a list is a text."""
        self.assertEqual(self.ask("!listed"), "['a', 'b']")
        self.assertEqual(self.ask("!ordered"), "the value is 1")

    def test_broken_template(self) -> None:
        """It is an error."""
        self.assertIn("Computer says nooo", self.ask("!broken"))

    def test_refused_midway(self) -> None:
        """What was yielded before stays said."""
        self.assertEqual(self.replies("!refused midway"), ["before", "refused"])

    def test_items_that_are_no_texts(self) -> None:
        """They are sent as str() makes them."""
        self.assertEqual(self.replies("!numbers"), ["1", "[2]"])

    def test_error(self) -> None:
        """The reply has the error's text after a line break."""
        said = self.ask("!fail")
        self.assertTrue(said.startswith("Computer says nooo"), said)
        self.assertIn(":\n", said)
        self.assertIn("'key'", said)
        self.assertIn("Computer says nooo", self.ask("!fail silently"))

    @decided("the text of the exception goes to whoever gave the command")
    def test_error_for_others(self) -> None:
        """Who isn't an administrator gets the same beginning, and nothing of the error's text."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        said = self.ask("!fail")
        self.assertTrue(said.startswith("Computer says nooo"), said)
        self.assertNotIn("'key'", said)

    def test_log(self) -> None:
        """An error is in the log with its traceback; that a command refuses isn't an error."""
        with self.assertLogs(level="ERROR") as logs:
            self.replies("!refused midway")
            self.replies("!fail")
        raised = [record.exc_info[1] for record in logs.records if record.exc_info]
        self.assertEqual([repr(error) for error in raised], ["KeyError('key')"])
        self.assertEqual([record for record in logs.records if "refused" in record.getMessage()], [])
