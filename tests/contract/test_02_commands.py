"""Chapter 2: `@botcmd`, and the methods that become commands."""

from __future__ import annotations

import re
import unittest
from typing import Any

from tests.contract.kit import ContractTest


class BotcmdTests(ContractTest):
    """Commands declared with `botcmd`."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Splitter:
            def parse_args(self, text):
                return ["parsed", text]

        class Tried(BotPlugin):
            @botcmd
            def a_b_c(self, msg, args):
                return repr(args)

            @botcmd(name="called")
            def another(self, msg, args):
                return "called"

            @botcmd(split_args_with=None)
            def words(self, msg, args):
                return repr(args)

            @botcmd(split_args_with=" ")
            def spaces(self, msg, args):
                return repr(args)

            @botcmd(split_args_with=int)
            def number(self, msg, args):
                return str(args + 1)

            @botcmd(split_args_with=Splitter())
            def split(self, msg, args):
                return repr(args)

            @botcmd(hidden=True)
            def secret(self, msg, args):
                return "here I am"

            @botcmd(flow_only=True)
            def step(self, msg, args):
                return "a step"

            @botcmd(syntax="<what>")
            def hinted(self, msg, args):
                return repr(args)

            @botcmd
            def größe(self, msg, args):
                return "XL"

            @botcmd(name="with-dash")
            def with_dash(self, msg, args):
                return "dashed"

        """

    def test_spaces_and_underscores_are_the_same(self) -> None:
        """A command whose name has underscores can be typed with spaces, underscores or any mix of them."""
        for command in ("!a b c", "!a_b_c", "!a b_c"):
            self.assertEqual(self.ask(command), "''")

    def test_arguments_keep_their_white_space(self) -> None:
        """Arguments are one string with its white space and line breaks."""
        self.assertEqual(self.ask("!a b c x  y\n z"), "'x  y\\n z'")

    def test_name(self) -> None:
        """`name` replaces the function's name."""
        self.assertEqual(self.ask("!called"), "called")
        self.assertIn("not found", self.ask("!another"))

    def test_names_are_case_sensitive(self) -> None:
        """Names of commands are case-sensitive."""
        self.assertIn("not found", self.ask("!Called"))

    def test_names_with_dashes_and_letters_of_any_language(self) -> None:
        """Names may have dashes and letters of any language."""
        self.assertEqual(self.ask("!größe"), "XL")
        self.assertEqual(self.ask("!with-dash"), "dashed")

    def test_split(self) -> None:
        """`split_args_with` takes an argument of `str.split`, a callable, or an object with `parse_args`."""
        self.assertEqual(self.ask("!words a  b"), "['a', 'b']")
        self.assertEqual(self.ask("!words"), "[]")
        self.assertEqual(self.ask("!spaces"), "['']")
        self.assertEqual(self.ask("!number 41"), "42")
        self.assertEqual(self.ask("!split a b"), "['parsed', 'a b']")

    def test_arguments_that_cannot_be_parsed(self) -> None:
        """If the splitter raises an exception, the reply has its text, and the command isn't run."""
        (reply,) = self.replies("!number x")
        self.assertIn("couldn't parse your arguments", reply)
        self.assertIn("invalid literal", reply)

    def test_hidden(self) -> None:
        """A hidden command is left out of the list of all commands and of `!apropos`.

        It can be run, and `!help` shows it for its name and for its plugin.
        """
        self.assertEqual(self.ask("!secret"), "here I am")
        self.assertIn("!secret", self.ask("!help Tried"))
        self.assertNotIn("secret", self.ask("!help"))
        self.assertNotIn("!secret", self.ask("!apropos secre"))
        self.assertNotIn("not defined", self.ask("!help secret"))

    def test_syntax(self) -> None:
        """`syntax` is only displayed and doesn't affect the arguments."""
        self.assertEqual(self.ask("!hinted a  b"), "'a  b'")
        self.assertEqual(self.ask("!hinted"), "''")

    def test_flow_only(self) -> None:
        """With `flow_only=True` the command gets no reply outside of a flow, and is hidden."""
        self.assert_silent("!step")
        self.assertNotIn("!step", self.ask("!help"))


class AttributesTests(unittest.TestCase):
    """The attributes that decorators set on functions."""

    def test_bare_or_called(self) -> None:
        """Each decorator works with and without parentheses, and returns the function itself."""
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
        """`re_botcmd` without a pattern raises an error."""
        from errbot import re_botcmd

        def function(self: Any, *args: Any) -> None:
            """A function."""

        with self.assertRaises((TypeError, ValueError)):
            re_botcmd(function)

    def test_syntax_is_kept(self) -> None:
        """By default a command has no syntax and no template, needs no flow, and is added to the history."""
        from errbot import botcmd

        @botcmd
        def function(self: Any, msg: Any, args: Any) -> None:
            """A function."""

        for name in ("_err_command_syntax", "_err_command_template"):
            self.assertIsNone(getattr(function, name), name)
        self.assertFalse(function._err_command_flow_only)
        self.assertTrue(function._err_command_historize)

    def test_flow_only_is_hidden(self) -> None:
        """By default `hidden` has the value of `flow_only`."""
        from errbot import botcmd

        def declared(**options: Any) -> Any:
            @botcmd(**options)
            def function(self: Any, msg: Any, args: Any) -> None:
                """A function."""

            return function

        self.assertTrue(declared(flow_only=True)._err_command_hidden)
        self.assertFalse(declared(flow_only=True, hidden=False)._err_command_hidden)

    def test_botmatch(self) -> None:
        """`botmatch` stores all its options on the function."""
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
        """`botmatch` accepts `flags` and `flow_only`, and its syntax is the pattern."""
        from errbot import botmatch

        @botmatch("a+", flags=re.IGNORECASE, flow_only=True)
        def function(self: Any, msg: Any, match: Any) -> None:
            """A function."""

        self.assertEqual(function._err_command_re_pattern, re.compile("a+", re.IGNORECASE))
        self.assertTrue(function._err_command_flow_only)
        self.assertEqual(function._err_command_syntax, "a+")


class WhereCommandsComeFromTests(ContractTest):
    """Methods that become commands."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Mixin:
            @botcmd
            def inherited(self, msg, args):
                return "from the mixin"

        class Tried(Mixin, BotPlugin):
            short = botcmd(name="short")(lambda self, msg, args: "lambda")
        """

    def test_methods_from_anywhere(self) -> None:
        """Inherited methods and lambdas in the class body are commands, too."""
        self.assertEqual(self.ask("!inherited"), "from the mixin")
        self.assertEqual(self.ask("!short"), "lambda")


class MethodsTests(ContractTest):
    """The methods that are registered when a plugin is activated."""

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
        """Marked methods of base classes and mixins are commands, even private ones; an unmarked override is not."""
        self.assertEqual(self.ask("!of base"), "base")
        self.assertEqual(self.ask("!_private"), "private")
        self.assertIn("not found", self.ask("!changed"))

    def test_last_definition(self) -> None:
        """If a class defines two methods of the same name, the last one counts."""
        self.assertEqual(self.ask("!twice"), "second")

    def test_of_the_instance(self) -> None:
        """A marked method that is set on the instance is a command."""
        self.assertEqual(self.ask("!of instance"), "of Tried")

    def test_only_methods(self) -> None:
        """A static method is not a command."""
        self.assertIn("not found", self.ask("!static"))

    def test_state(self) -> None:
        """All commands of a plugin are called on the same instance."""
        self.assertEqual([self.ask("!state"), self.ask("!state")], ["1", "2"])


class DynamicCommandTests(ContractTest):
    """Commands that are created at run time with `Command`."""

    plugin = """
        from errbot import BotPlugin, Command, arg_botcmd, botcmd, botmatch

        class Tried(BotPlugin):
            @botcmd
            def make(self, msg, args):
                by_argument = Command(lambda plugin, msg, value: f"argued {value}", cmd_type=arg_botcmd,
                                      cmd_args=("value",), name="argued", doc="by argument")
                self.create_dynamic_plugin("made things", [
                    Command(lambda plugin, msg, args: f"made {args} by {plugin.name}", name="made", doc="A thing."),
                    by_argument,
                    Command(lambda plugin, msg, match: f"matched {match.group()}", cmd_type=botmatch,
                            cmd_args=(r"^xyz+$",), name="matched"),
                ], doc="All that was made.")
                return "ready"

            @botcmd
            def unmake(self, msg, args):
                self.destroy_dynamic_plugin("made things")
                return "gone"
        """

    def test_made(self) -> None:
        """The commands of a dynamic plugin can be used from its creation until it is destroyed."""
        self.assertIn("not found", self.ask("!made"))
        self.assertEqual(self.ask("!make"), "ready")
        self.assertEqual(self.ask("!made x"), "made x by made things")
        self.assertEqual(self.ask("!argued y"), "argued y")
        self.assertEqual(self.ask("xyzz"), "matched xyzz")
        self.assertIn("A thing.", self.ask("!help made"))
        self.assertEqual(self.ask("!unmake"), "gone")
        self.assertIn("not found", self.ask("!made"))

    def test_twice(self) -> None:
        """It is an error to create a dynamic plugin twice, or to destroy one that doesn't exist."""
        self.assertEqual(self.ask("!make"), "ready")
        self.assertIn("Computer says nooo", self.ask("!make"))
        self.assertEqual(self.ask("!unmake"), "gone")
        self.assertIn("Computer says nooo", self.ask("!unmake"))

    def test_lambdas_need_names(self) -> None:
        """A Command of a lambda without a name raises ValueError."""
        from errbot import Command

        with self.assertRaises(ValueError):
            Command(lambda plugin, msg, args: "x")

    def test_functions_have_names(self) -> None:
        """A Command has the function's own name and docstring, unless `name` and `doc` are given."""
        from errbot import Command

        def something(plugin: Any, msg: Any, args: Any) -> None:
            """Does something."""

        command = Command(something)
        self.assertEqual(command.definition._err_command_name, "something")
        Command(something, name="other", doc="Other.")
        self.assertEqual((something.__name__, something.__doc__), ("other", "Other."))


class DynamicDeclarationTests(unittest.TestCase):
    """Declarations with `Command`."""

    def test_decorated(self) -> None:
        """`cmd_type` is called with `cmd_args` and `cmd_kwargs`."""
        from errbot import Command, botmatch, re_botcmd

        one = Command(lambda p, m, a: "x", cmd_kwargs={"admin_only": True, "syntax": "<y>"}, name="one", doc="Of it.")
        self.assertEqual((one.name, one.definition.__name__, one.definition.__doc__), ("one", "one", "Of it."))
        self.assertTrue(one.definition._err_command_admin_only)
        self.assertEqual(one.definition._err_command_syntax, "<y>")
        two = Command(lambda p, m, a: "x", cmd_type=re_botcmd, cmd_kwargs={"pattern": "x"}, name="two")
        self.assertTrue(two.definition._err_command_prefix_required)
        three = Command(lambda p, m, a: "x", cmd_type=botmatch, cmd_args=("y",), name="three")
        self.assertFalse(three.definition._err_command_prefix_required)
