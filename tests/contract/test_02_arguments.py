"""Chapter 2: `@arg_botcmd`."""

from __future__ import annotations

import unittest
from typing import Any

from tests.contract.kit import ContractTest


class ArgBotcmdTests(ContractTest):
    """Commands declared with `arg_botcmd`."""

    plugin = """
        from errbot import BotPlugin, arg_botcmd, botcmd

        class Tried(BotPlugin):
            @arg_botcmd("name", type=str)
            @arg_botcmd("--count", dest="count", type=int, default=1)
            def greet(self, msg, name=None, count=None):
                '''Greets somebody.'''
                return " ".join([f"hello {name}"] * count)

            @arg_botcmd("second", type=str)
            @arg_botcmd("first", type=str)
            def order(self, msg, first, second):
                return f"{first} then {second}"

            @arg_botcmd("value", unpack_args=False)
            def packed(self, msg, args):
                return f"{type(args).__name__} {args.value}"

            @arg_botcmd("value", type=str, name="never")
            @arg_botcmd("other", type=str, name="mine", hidden=True)
            def bottom(self, msg, other=None, value=None):
                return f"{other} {value}"

            @arg_botcmd("value", type=str)
            def items(self, msg, value):
                for letter in value:
                    yield letter

            @arg_botcmd("value", type=str)
            def fails(self, msg, value):
                raise ValueError("from the body")
        """

    def test_arguments_are_unpacked(self) -> None:
        """Each argument is a keyword argument, converted by its type, or its default."""
        self.assertEqual(self.ask("!greet you"), "hello you")
        self.assertEqual(self.ask("!greet --count 2 you"), "hello you hello you")

    def test_quotes(self) -> None:
        """Arguments are split as in a shell."""
        self.assertEqual(self.ask("!greet 'the whole world'"), "hello the whole world")

    def test_what_phones_make_of_dashes_and_quotes(self) -> None:
        """Long dashes and curly quotes count as `--` and plain quotes."""
        self.assertEqual(self.ask("!greet \u2014count 2 \u201cthe world\u201d"), "hello the world hello the world")
        self.assertEqual(self.ask("!greet \u2018the world\u2019"), "hello the world")

    def test_the_bottom_decorator_comes_first(self) -> None:
        """Positional arguments have the order from bottom to top, and the options of the bottom decorator count."""
        self.assertEqual(self.ask("!order 1 2"), "1 then 2")
        self.assertEqual(self.ask("!mine 1 2"), "1 2")
        self.assertIn("not found", self.ask("!never 1 2"))
        self.assertNotIn("mine", self.ask("!help"))

    def test_not_unpacked(self) -> None:
        """With `unpack_args=False`, the handler gets the argparse Namespace."""
        self.assertEqual(self.ask("!packed x"), "Namespace x")

    def test_generator(self) -> None:
        """Each item of a generator is a reply."""
        self.assertEqual(self.replies("!items abc"), ["a", "b", "c"])

    def test_error(self) -> None:
        """For invalid arguments there are two replies: the error and the usage."""
        wrong, usage = self.replies("!greet --count x you")
        self.assertIn("couldn't parse the arguments; ", wrong)
        self.assertIn("invalid int value", wrong)
        self.assertIn("usage: greet", usage)

    def test_missing(self) -> None:
        """For a missing argument there are two replies: the error and the usage."""
        wrong, usage = self.replies("!greet")
        self.assertIn("the following arguments are required: name", wrong)
        self.assertIn("usage: greet", usage)

    def test_help(self) -> None:
        """The reply to `--help` is the parser's help."""
        (reply,) = self.replies("!greet --help")
        self.assertIn("usage: greet", reply)
        self.assertIn("Greets somebody.", reply)

    def test_unbalanced_quote(self) -> None:
        """For an unbalanced quote there are two replies: the error and the help."""
        wrong, help_text = self.replies("!greet 'you")
        self.assertIn("couldn't parse this command; ", wrong)
        self.assertIn("No closing quotation", wrong)
        self.assertIn("usage: greet", help_text)
        self.assertIn("Greets somebody.", help_text)

    def test_error_of_the_body(self) -> None:
        """A ValueError in the handler is reported like any other exception."""
        (reply,) = self.replies("!fails x")
        self.assertIn("Computer says nooo", reply)
        self.assertIn("from the body", reply)


class DeclarationTests(unittest.TestCase):
    """The attributes that `arg_botcmd` sets on a function."""

    def test_attributes(self) -> None:
        """The function has the parser, the help as docstring, and the usage as syntax."""
        from errbot import arg_botcmd

        @arg_botcmd("name", type=str, admin_only=True, template="t")
        def greet(self: Any, msg: Any, name: str) -> None:
            """Greets somebody."""

        self.assertTrue(greet._err_command)
        self.assertTrue(greet._err_arg_command)
        self.assertEqual(greet._err_command_name, "greet")
        self.assertTrue(greet._err_command_admin_only)
        self.assertEqual(greet._err_command_template, "t")
        self.assertEqual(greet._err_command_parser.prog, "greet")
        self.assertEqual(greet.__doc__, greet._err_command_parser.format_help())
        self.assertIn("name", greet._err_command_syntax)
        self.assertNotIn("usage", greet._err_command_syntax)

    def test_called_by_hand(self) -> None:
        """A direct call yields the replies to invalid arguments, and the handler's result for valid ones."""
        from errbot import arg_botcmd

        @arg_botcmd("name", type=int)
        def double(self: Any, msg: Any, name: int) -> int:
            return 2 * name

        for args, replies in (("--wrong", 2), ("'", 2), ("-h", 1), ("4", 1)):
            self.assertEqual(len(list(double(None, None, args))), replies, args)
        self.assertEqual(list(double(None, None, "4")), [8])


class DecoratedMethodTests(unittest.TestCase):
    """Further rules for declarations with `arg_botcmd`."""

    def test_only_the_bottom_one_counts(self) -> None:
        """Options of all decorators except the bottom one are ignored."""
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
        """The docstring is the parser's help with the function's own docstring, and the syntax is the usage."""
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
        """The decorated function is always a generator function."""
        import inspect

        from errbot import arg_botcmd

        @arg_botcmd("a")
        def plain(self: Any, msg: Any, a: str) -> str:
            """A function."""
            return a

        self.assertTrue(inspect.isgeneratorfunction(plain))
        self.assertEqual(list(plain(None, None, "x")), ["x"])

    def test_arguments_that_are_added(self) -> None:
        """`Command.append_args` adds arguments to a command declared with `arg_botcmd`."""
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


class ArgBotcmdRepliesTests(ContractTest):
    """Replies of commands declared with `arg_botcmd`."""

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
        """`unpack_args` of the bottom decorator counts."""
        self.assertEqual(self.ask("!packed a b"), "a b")

    def test_template(self) -> None:
        """The result is rendered by the template."""
        self.assertEqual(self.ask("!valued x"), "the value is x")

    def test_command_error(self) -> None:
        """The text of a CommandError is the reply."""
        self.assertEqual(self.replies("!refused x"), ["not x"])

    def test_nothing(self) -> None:
        """A false result sends no reply."""
        self.assert_silent("!nothing x")

    def test_argparse(self) -> None:
        """All features of argparse are available, such as `nargs` and `action`."""
        self.assertEqual(self.ask("!many"), "False []")
        self.assertEqual(self.ask("!many a 'b c' --flag"), "True ['a', 'b c']")
        self.assertEqual(self.ask("!many \u2014flag"), "True []")

    def test_line_breaks(self) -> None:
        """Line breaks separate arguments, like spaces."""
        self.assertEqual(self.ask("!many a\nb"), "False ['a', 'b']")

    def test_short_help(self) -> None:
        """`-h` is the same as `--help`, with one reply."""
        (reply,) = self.replies("!many -h")
        self.assertIn("usage: many", reply)

    def test_replies_to_mistakes(self) -> None:
        """An unknown argument is an error, and the second reply is the usage without the help."""
        wrong, usage = self.replies("!valued x y")
        self.assertIn("couldn't parse the arguments; unrecognized arguments: y", wrong)
        self.assertIn("usage: valued", usage)
        self.assertNotIn("--help", usage)

    def test_flow_only(self) -> None:
        """With `flow_only=True` the command gets no reply outside of a flow."""
        self.assert_silent("!step x")

    def test_admin_only(self) -> None:
        """With `admin_only=True` the command is refused to all but administrators."""
        self.assertEqual(self.ask("!only admins x"), "done")
        self.testbot.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("admin", self.ask("!only admins x"))

    def test_not_historized(self) -> None:
        """With `historize=False` the command is not added to the history."""
        self.ask("!many before")
        self.ask("!forgotten x")
        self.assertEqual(self.ask("!!"), "False ['before']")
