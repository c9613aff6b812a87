"""Chapter 2: the decorators of commands."""

from __future__ import annotations

from tests.contract.kit import ContractTest


class BotcmdTests(ContractTest):
    """`botcmd`."""

    plugin = """
        from errbot import BotPlugin, botcmd

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
        """

    def test_spaces_and_underscores_are_the_same(self) -> None:
        """A command whose name has underscores is given with spaces, underscores or any mix of them."""
        for command in ("!a b c", "!a_b_c", "!a b_c"):
            self.assertEqual(self.ask(command), "''")

    def test_arguments_keep_their_white_space(self) -> None:
        """Arguments are one string."""
        self.assertEqual(self.ask("!a b c x  y"), "'x  y'")

    def test_name(self) -> None:
        """`name` takes the place of the function's name."""
        self.assertEqual(self.ask("!called"), "called")
        self.assertIn("not found", self.ask("!another"))

    def test_names_are_case_sensitive(self) -> None:
        """Another case is another name."""
        self.assertIn("not found", self.ask("!Called"))

    def test_split(self) -> None:
        """`split_args_with` takes what str.split takes, or a callable."""
        self.assertEqual(self.ask("!words a  b"), "['a', 'b']")
        self.assertEqual(self.ask("!words"), "[]")
        self.assertEqual(self.ask("!spaces"), "['']")
        self.assertEqual(self.ask("!number 41"), "42")

    def test_arguments_that_cannot_be_parsed(self) -> None:
        """What the splitter raises is the reply, and the command isn't run."""
        (reply,) = self.replies("!number x")
        self.assertIn("couldn't parse your arguments", reply)
        self.assertIn("invalid literal", reply)
