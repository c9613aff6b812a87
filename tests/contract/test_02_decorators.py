"""Chapter 2: the decorators of commands."""

from __future__ import annotations

import re
import unittest
from typing import Any

from tests.contract.kit import ContractTest, decided


class BotcmdTests(ContractTest):
    """`botcmd`."""

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
        """A command whose name has underscores is given with spaces, underscores or any mix of them."""
        for command in ("!a b c", "!a_b_c", "!a b_c"):
            self.assertEqual(self.ask(command), "''")

    def test_arguments_keep_their_white_space(self) -> None:
        """Arguments are one string, line breaks included."""
        self.assertEqual(self.ask("!a b c x  y\n z"), "'x  y\\n z'")

    def test_name(self) -> None:
        """`name` takes the place of the function's name."""
        self.assertEqual(self.ask("!called"), "called")
        self.assertIn("not found", self.ask("!another"))

    def test_names_are_case_sensitive(self) -> None:
        """Another case is another name."""
        self.assertIn("not found", self.ask("!Called"))

    def test_names_with_dashes_and_letters_of_any_language(self) -> None:
        """Both can be given."""
        self.assertEqual(self.ask("!größe"), "XL")
        self.assertEqual(self.ask("!with-dash"), "dashed")

    def test_split(self) -> None:
        """`split_args_with` takes what str.split takes, a callable, or something with parse_args."""
        self.assertEqual(self.ask("!words a  b"), "['a', 'b']")
        self.assertEqual(self.ask("!words"), "[]")
        self.assertEqual(self.ask("!spaces"), "['']")
        self.assertEqual(self.ask("!number 41"), "42")
        self.assertEqual(self.ask("!split a b"), "['parsed', 'a b']")

    def test_arguments_that_cannot_be_parsed(self) -> None:
        """What the splitter raises is the reply, and the command isn't run."""
        (reply,) = self.replies("!number x")
        self.assertIn("couldn't parse your arguments", reply)
        self.assertIn("invalid literal", reply)

    def test_hidden(self) -> None:
        """A hidden command works; the list of all commands and `!apropos` don't tell of it, its own help does.

        So does the help of its plugin.
        """
        self.assertEqual(self.ask("!secret"), "here I am")
        self.assertIn("!secret", self.ask("!help Tried"))
        self.assertNotIn("secret", self.ask("!help"))
        self.assertNotIn("!secret", self.ask("!apropos secre"))
        self.assertNotIn("not defined", self.ask("!help secret"))

    def test_syntax(self) -> None:
        """`syntax` is for show: arguments are what they are."""
        self.assertEqual(self.ask("!hinted a  b"), "'a  b'")
        self.assertEqual(self.ask("!hinted"), "''")

    def test_flow_only(self) -> None:
        """Outside of a flow nothing answers, not even with an error; such a command is hidden."""
        self.assert_silent("!step")
        self.assertNotIn("!step", self.ask("!help"))


class WhereCommandsComeFromTests(ContractTest):
    """Methods that are commands."""

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
        """Inherited methods and lambdas in the class's body are commands too."""
        self.assertEqual(self.ask("!inherited"), "from the mixin")
        self.assertEqual(self.ask("!short"), "lambda")


class ReBotcmdTests(ContractTest):
    """`re_botcmd` and `botmatch`."""

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
        """The handler gets what `search` finds, anywhere in the text."""
        self.assertEqual(self.ask("!please give me 3 tests"), "tests x 3")

    def test_not_prefixed(self) -> None:
        """With `prefixed=False` no prefix is needed; flags count."""
        self.assertEqual(self.ask("Any COOKIES left?"), "I heard COOKIES")

    def test_prefixed_needs_a_prefix(self) -> None:
        """Otherwise there is no command without the prefix."""
        self.assert_silent("give me 3 tests")

    def test_matchall(self) -> None:
        """The handler gets all matches."""
        self.assertEqual(self.ask("!n1 n2 n3"), "1,2,3")

    def test_botmatch(self) -> None:
        """It needs no prefix."""
        self.assertEqual(self.ask("hello world"), "hello yourself, world")

    def test_every_match_runs(self) -> None:
        """Each regular expression that matches has its command run."""
        self.assertEqual(sorted(self.replies("!give me 2 of")), ["another one", "of x 2"])

    def test_commands_by_name_come_first(self) -> None:
        """A text that is a command by name isn't matched, even by commands that need no prefix."""
        self.assertEqual(self.replies("!echo cookies"), ["cookies"])


class PatternTests(unittest.TestCase):
    """Regular expressions, as they are declared."""

    def test_botmatch_without_a_pattern(self) -> None:
        """It is a ValueError."""
        from errbot import botmatch

        with self.assertRaises(ValueError):
            botmatch()

    def test_botmatch_of_a_function(self) -> None:
        """With two arguments the function comes first."""
        from errbot import botmatch

        def handler(self: Any, msg: Any, match: Any) -> None:
            """A handler."""

        declared = botmatch(handler, "abc")
        self.assertTrue(declared._err_re_command)
        self.assertIsNotNone(declared._err_command_re_pattern.search("abc"))
        self.assertFalse(declared._err_command_prefix_required)

    def test_attributes(self) -> None:
        """Plugins and their tests read what was declared from the function."""
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


class ArgBotcmdTests(ContractTest):
    """`arg_botcmd`."""

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
        """Each is a keyword argument, converted and with its default."""
        self.assertEqual(self.ask("!greet you"), "hello you")
        self.assertEqual(self.ask("!greet --count 2 you"), "hello you hello you")

    def test_quotes(self) -> None:
        """Arguments are split as a shell does."""
        self.assertEqual(self.ask("!greet 'the whole world'"), "hello the whole world")

    def test_what_phones_make_of_dashes_and_quotes(self) -> None:
        """Long dashes and curly quotes are meant as plain ones."""
        self.assertEqual(self.ask("!greet \u2014count 2 \u201cthe world\u201d"), "hello the world hello the world")
        self.assertEqual(self.ask("!greet \u2018the world\u2019"), "hello the world")

    def test_the_bottom_decorator_comes_first(self) -> None:
        """Positional arguments come in the order from bottom to top, and the bottom one's options count."""
        self.assertEqual(self.ask("!order 1 2"), "1 then 2")
        self.assertEqual(self.ask("!mine 1 2"), "1 2")
        self.assertIn("not found", self.ask("!never 1 2"))
        self.assertNotIn("mine", self.ask("!help"))

    def test_not_unpacked(self) -> None:
        """With `unpack_args=False` there is a Namespace."""
        self.assertEqual(self.ask("!packed x"), "Namespace x")

    def test_generator(self) -> None:
        """Each item is a reply."""
        self.assertEqual(self.replies("!items abc"), ["a", "b", "c"])

    def test_error(self) -> None:
        """A mistake is two replies: what is wrong, and the usage."""
        wrong, usage = self.replies("!greet --count x you")
        self.assertIn("couldn't parse the arguments; ", wrong)
        self.assertIn("invalid int value", wrong)
        self.assertIn("usage: greet", usage)

    def test_missing(self) -> None:
        """So is an argument that is missing."""
        wrong, usage = self.replies("!greet")
        self.assertIn("the following arguments are required: name", wrong)
        self.assertIn("usage: greet", usage)

    def test_help(self) -> None:
        """`--help` answers with the parser's help."""
        (reply,) = self.replies("!greet --help")
        self.assertIn("usage: greet", reply)
        self.assertIn("Greets somebody.", reply)

    def test_unbalanced_quote(self) -> None:
        """It can't be split; one reply says so, the other is the help."""
        wrong, help_text = self.replies("!greet 'you")
        self.assertIn("couldn't parse this command; ", wrong)
        self.assertIn("No closing quotation", wrong)
        self.assertIn("usage: greet", help_text)
        self.assertIn("Greets somebody.", help_text)

    def test_error_of_the_body(self) -> None:
        """A ValueError of the command itself is an error like any other."""
        (reply,) = self.replies("!fails x")
        self.assertIn("Computer says nooo", reply)
        self.assertIn("from the body", reply)


class ArgBotcmdDeclarationTests(unittest.TestCase):
    """What `arg_botcmd` leaves on the function."""

    def test_attributes(self) -> None:
        """The parser, the help as documentation, the usage as syntax."""
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
        """What can't be parsed gives the replies and nothing else; what can gives what the method returns."""
        from errbot import arg_botcmd

        @arg_botcmd("name", type=int)
        def double(self: Any, msg: Any, name: int) -> int:
            return 2 * name

        for args, replies in (("--wrong", 2), ("'", 2), ("-h", 1), ("4", 1)):
            self.assertEqual(len(list(double(None, None, args))), replies, args)
        self.assertEqual(list(double(None, None, "4")), [8])


class CmdfilterTests(ContractTest):
    """`cmdfilter`."""

    plugin = """
        from errbot import BotPlugin, botcmd, cmdfilter, re_botcmd

        class Tried(BotPlugin):
            @botcmd(split_args_with=None)
            def tell(self, msg, args):
                return "/".join(args)

            @botcmd
            def body(self, msg, args):
                return msg.body

            @botcmd
            def stop_here(self, msg, args):
                return "not stopped"

            @re_botcmd(pattern="(some)thing", prefixed=False)
            def something(self, msg, match):
                return "something " + match.group(1)

            @cmdfilter
            def change(self, msg, cmd, args, dry_run):
                self["seen"] = (cmd, args, dry_run)
                if cmd == "stop_here":
                    return None, None, None
                if cmd == "tell" and args == "secret":
                    self.send(msg.frm, "blocked")
                    return None, cmd, args
                if cmd == "tell" and args == "break":
                    raise RuntimeError("broken filter")
                if cmd == "body" and args in ("nothing", "pair"):
                    return None if args == "nothing" else (msg, cmd)
                if cmd == "body" and args == "other":
                    other = msg.clone()
                    other.body = "another message"
                    return other, cmd, args
                if cmd == "tell":
                    args += " changed"
                return msg, cmd, args

            @cmdfilter(catch_unprocessed=True)
            def unprocessed(self, msg, cmd, args, dry_run, emptycmd=False):
                if emptycmd:
                    return f"caught {msg}" if "fish" in str(msg) else None
                return msg, cmd, args
        """

    def test_arguments_are_changed(self) -> None:
        """The filter sees them unsplit and may change them."""
        self.assertEqual(self.ask("!tell a b"), "a/b/changed")
        self.assertEqual(self.instance()["seen"], ("tell", "a b", False))

    def test_blocked(self) -> None:
        """Without a message the command isn't run."""
        self.assert_silent("!stop here")
        self.assertEqual(self.replies("!tell secret"), ["blocked"])

    def test_error_blocks(self) -> None:
        """A filter that raises blocks the command, and so does one that doesn't return three things."""
        for text in ("!tell break", "!body nothing", "!body pair"):
            self.assert_silent(text)
        self.assertEqual(self.ask("!body x"), "!body x")

    def test_message_is_changed(self) -> None:
        """A command gets the message that the filter has returned."""
        self.assertEqual(self.ask("!body other"), "another message")

    def test_regular_expressions(self) -> None:
        """They pass through filters with the whole text."""
        self.assertEqual(self.ask("is there something?"), "something some")
        self.assertEqual(self.instance()["seen"], ("something", "is there something?", False))

    def test_unprocessed(self) -> None:
        """What is no command at all is offered to filters that catch it, and what they return is the reply."""
        said = self.replies("!go fish now")
        self.assertIn("caught !go fish now", said)
        self.assertNotIn("caught", "".join(self.replies("!nothing at all")))


class CommandTests(ContractTest):
    """`Command` and dynamic plugins."""

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
        """The commands of a dynamic plugin can be given as soon as it is made, until it is destroyed."""
        self.assertIn("not found", self.ask("!made"))
        self.assertEqual(self.ask("!make"), "ready")
        self.assertEqual(self.ask("!made x"), "made x by made things")
        self.assertEqual(self.ask("!argued y"), "argued y")
        self.assertEqual(self.ask("xyzz"), "matched xyzz")
        self.assertIn("A thing.", self.ask("!help made"))
        self.assertEqual(self.ask("!unmake"), "gone")
        self.assertIn("not found", self.ask("!made"))

    def test_twice(self) -> None:
        """The same name twice is an error, as is to destroy what isn't there."""
        self.assertEqual(self.ask("!make"), "ready")
        self.assertIn("Computer says nooo", self.ask("!make"))
        self.assertEqual(self.ask("!unmake"), "gone")
        self.assertIn("Computer says nooo", self.ask("!unmake"))

    def test_lambdas_need_names(self) -> None:
        """Without a name it is a ValueError."""
        from errbot import Command

        with self.assertRaises(ValueError):
            Command(lambda plugin, msg, args: "x")

    def test_functions_have_names(self) -> None:
        """A function's own name and documentation are taken unless others are given."""
        from errbot import Command

        def something(plugin: Any, msg: Any, args: Any) -> None:
            """Does something."""

        command = Command(something)
        self.assertEqual(command.definition._err_command_name, "something")
        Command(something, name="other", doc="Other.")
        self.assertEqual((something.__name__, something.__doc__), ("other", "Other."))


class ReturnedTests(ContractTest):
    """What a command returns."""

    plugin = """
        from errbot import BotPlugin, CommandError, botcmd

        class Tried(BotPlugin):
            @botcmd(split_args_with=None)
            def give(self, msg, args):
                values = {"none": None, "empty": "", "zero": 0, "list": [], "dict": {}, "one": 1, "full": [1, "a"],
                          "map": {"a": 1}}
                return values[args[0]]

            @botcmd(template="greeting")
            def greet(self, msg, args):
                return {"name": args}

            @botcmd(template="greeting")
            def greet_plainly(self, msg, args):
                return "just text"

            @botcmd(template="greeting")
            def greet_many(self, msg, args):
                for name in args.split():
                    yield {"name": name}

            @botcmd(template="missing")
            def missing(self, msg, args):
                return {"name": args}

            @botcmd
            def count(self, msg, args):
                for number in (1, None, 2, "", 3):
                    yield number if number is None else str(number)
                if args:
                    raise RuntimeError("in the middle")

            @botcmd
            def refuse(self, msg, args):
                raise CommandError("I will not.")

            @botcmd
            def refuse_nicely(self, msg, args):
                raise CommandError({"name": "refused"}, template="greeting")

            @botcmd
            def fail(self, msg, args):
                raise RuntimeError("it broke")

            @botcmd
            def started(self, msg, args):
                return (x for x in "ab")
        """
    files = {"templates/greeting.md": "Hello **{{name}}**"}

    def test_nothing(self) -> None:
        """What is false isn't sent."""
        for name in ("none", "empty", "zero", "list", "dict"):
            self.assert_silent(f"!give {name}")

    def test_anything_else(self) -> None:
        """Everything else is sent as str() makes it."""
        self.assertEqual(self.ask("!give one"), "1")
        self.assertEqual(self.ask("!give full"), "[1, 'a']")
        self.assertEqual(self.ask("!give map"), "{'a': 1}")
        self.assertIn("generator object", self.ask("!started"))

    def test_template(self) -> None:
        """A mapping is what the template is rendered with; a text is sent as it is."""
        self.assertEqual(self.ask("!greet you"), "Hello you")
        self.assertEqual(self.ask("!greet plainly"), "just text")
        self.assertEqual(self.replies("!greet many a b"), ["Hello a", "Hello b"])

    def test_missing_template(self) -> None:
        """A template that isn't there is an error."""
        self.assertIn("Computer says nooo", self.ask("!missing"))

    def test_generator(self) -> None:
        """Each item that isn't false is a message; what was sent stays sent when there is an error."""
        self.assertEqual(self.replies("!count"), ["1", "2", "3"])
        *said, error = self.replies("!count x")
        self.assertEqual(said, ["1", "2", "3"])
        self.assertIn("in the middle", error)

    def test_command_error(self) -> None:
        """Its reason is the reply, through a template if it names one."""
        self.assertEqual(self.ask("!refuse"), "I will not.")
        self.assertEqual(self.ask("!refuse nicely"), "Hello refused")

    def test_error(self) -> None:
        """Any other error is told."""
        reply = self.ask("!fail")
        self.assertIn("Computer says nooo", reply)
        self.assertIn("it broke", reply)


class AsyncTests(ContractTest):
    """Commands that are `async def`."""

    plugin = """
        from errbot import BotPlugin, arg_botcmd, botcmd, re_botcmd

        class Tried(BotPlugin):
            @botcmd
            async def later(self, msg, args):
                return f"later {args}"

            @botcmd
            async def items(self, msg, args):
                for letter in args:
                    yield letter

            @arg_botcmd("value", type=int)
            async def argued(self, msg, value):
                return str(value + 1)

            @re_botcmd(pattern="match me")
            async def matched(self, msg, match):
                return match.group()
        """

    @decided("says <coroutine …>")
    def test_coroutines(self) -> None:
        """They are awaited, whatever the decorator."""
        self.assertEqual(self.ask("!later on"), "later on")
        self.assertEqual(self.ask("!argued 1"), "2")
        self.assertEqual(self.ask("!match me"), "match me")

    @decided("says <async_generator …>")
    def test_generators(self) -> None:
        """Each item is a message."""
        self.say("!items ab")
        self.assertEqual([self.hear(), self.hear()], ["a", "b"])
