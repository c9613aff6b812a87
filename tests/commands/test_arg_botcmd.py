"""Tests for commands with declared arguments."""

from __future__ import annotations

import asyncio
import inspect
import shlex
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import (
    ARG_BOTCMD_CHARACTER_REPLACEMENTS,
    ArgumentParseError,
    ArgumentParser,
    Command,
    CommandDeclaration,
    HelpRequested,
    SeparatorArgParser,
    ShlexArgParser,
    arg_botcmd,
    botcmd,
    botmatch,
    re_botcmd,
)
from errklein.running import Placement, place


@arg_botcmd("name", hidden=True, name="on_top")
@arg_botcmd("--count", dest="count", type=int, default=3)
@arg_botcmd("first", help="the first", aliases=("g",))
def greet(self: Any, msg: Any, name: str, count: int, first: str) -> str:
    """Greet somebody."""
    return f"{first} {name} {count}"


def answers(command: Any, text: str | None) -> list[Any]:
    """What the command answers to these arguments."""
    return [answer for answer in command(None, None, text) if answer]


class ArgBotcmdTests(SynchronousTestCase):
    """What methods get, and what is answered instead."""

    def test_order(self) -> None:
        """Positional arguments come from the lowest decorator up; options anywhere."""
        self.assertEqual(answers(greet, "hello bob"), ["hello bob 3"])
        self.assertEqual(answers(greet, "hello --count 7 bob"), ["hello bob 7"])

    def test_the_lowest_decorator_counts(self) -> None:
        """Options of a command count in the lowest decorator only."""
        declaration = CommandDeclaration.of(greet)
        assert declaration is not None
        self.assertEqual((declaration.name, declaration.hidden, declaration.aliases), ("greet", False, ("g",)))

    def test_one_namespace(self) -> None:
        """With unpack_args=False all values come in one object."""

        @arg_botcmd("x", type=int, unpack_args=False)
        def square(self: Any, msg: Any, args: Any) -> int:
            return int(args.x) ** 2

        self.assertEqual(answers(square, "3"), [9])

    def test_typography(self) -> None:
        """What telephones make of dashes and quotes is taken for what was meant."""
        self.assertEqual(answers(greet, "“good day” ‘bob b’ —count 7"), ["good day bob b 7"])
        self.assertEqual(ARG_BOTCMD_CHARACTER_REPLACEMENTS["—"], "--")

    def test_mistakes(self) -> None:
        """A mistake is answered with what is wrong, then the usage; the method isn't called."""
        for text, wrong in (
            ("", "the following arguments are required: first, name"),
            (None, "the following arguments are required: first, name"),
            ("a b c", "unrecognized arguments: c"),
            ("a b --count x", "argument --count: invalid int value: 'x'"),
        ):
            said, usage = answers(greet, text)
            self.assertIn(f"couldn't parse the arguments; {wrong}", said)
            self.assertEqual(usage, "usage: greet [-h] [--count COUNT] first name\n")

    def test_unclosed_quote(self) -> None:
        """What can't be split into words is answered with the whole help."""
        said, described = answers(greet, '"a')
        self.assertIn("couldn't parse this command; No closing quotation", said)
        self.assertIn("Greet somebody.", described)

    def test_help(self) -> None:
        """-h and --help are answered with the help, and so is --version where there is one."""
        for text in ("-h", "--help", "a -h"):
            (described,) = answers(greet, text)
            self.assertEqual(described, greet.__doc__)
            self.assertIn("the first", described)

        @arg_botcmd("--version", action="version", version="1.2")
        def versioned(self: Any, msg: Any) -> str:
            return "not called"

        self.assertEqual(answers(versioned, "--version"), ["1.2\n"])

    def test_documentation(self) -> None:
        """The help is the docstring, the usage without the name is the syntax."""
        self.assertTrue((greet.__doc__ or "").startswith("usage: greet [-h] [--count COUNT] first name\n"))
        self.assertEqual(greet._err_command_syntax, "[-h] [--count COUNT] first name")
        self.assertTrue(greet._err_arg_command)

    def test_errors_of_the_method(self) -> None:
        """A ValueError of the method itself isn't taken for a mistake in the arguments."""

        @arg_botcmd("word")
        def fails(self: Any, msg: Any, word: str) -> None:
            raise ValueError(word)

        self.assertRaises(ValueError, answers, fails, "x")

    def test_generators(self) -> None:
        """The command is a generator always, and yields what a generator yields."""

        @arg_botcmd("n", type=int)
        def count(self: Any, msg: Any, n: int) -> Iterator[str]:
            yield from map(str, range(n))

        self.assertEqual(answers(count, "3"), ["0", "1", "2"])
        self.assertTrue(inspect.isgeneratorfunction(count) and inspect.isgeneratorfunction(greet))

    def test_async(self) -> None:
        """`async def` and async generators stay async; mistakes are answered as ever."""

        @arg_botcmd("x")
        async def one(self: Any, msg: Any, x: str) -> str:
            return x

        @arg_botcmd("x")
        async def two(self: Any, msg: Any, x: str) -> AsyncIterator[str]:
            yield x
            yield x

        async def all_of(command: Any, text: str) -> list[str]:
            return [answer async for answer in command(None, None, text)]

        self.assertEqual(asyncio.run(all_of(one, "a")), ["a"])
        self.assertEqual(asyncio.run(all_of(two, "a")), ["a", "a"])
        self.assertEqual(len(asyncio.run(all_of(two, ""))), 2)

    def test_places(self) -> None:
        """A command runs where its method would."""

        @inlineCallbacks
        def inline(self: Any, msg: Any, x: str) -> Any:
            yield Deferred()

        async def coroutine(self: Any, msg: Any, x: str) -> None: ...

        def blocking(self: Any, msg: Any, x: str) -> None: ...

        places = [place(arg_botcmd("x")(method)) for method in (inline, coroutine, blocking)]
        self.assertEqual(places, [Placement.REACTOR, Placement.REACTOR, Placement.THREAD])

    @given(st.lists(st.text(alphabet=st.characters(exclude_characters="—“”‘’", exclude_categories=["Cs"]))))
    def test_any_words_in_quotes(self, words: list[str]) -> None:
        """Words that are quoted as for a shell arrive as they were."""

        @arg_botcmd("words", nargs="*")
        def echo(self: Any, msg: Any, words: list[str]) -> list[list[str]]:
            return [words]

        self.assertEqual(answers(echo, "-- " + shlex.join(words)), [[words]])


class ParserTests(SynchronousTestCase):
    """The parsers by themselves."""

    def test_splitting(self) -> None:
        """Text is split by a separator so many times, or as a shell does it."""
        self.assertEqual(SeparatorArgParser().parse_args(" a  b "), ["a", "b"])
        self.assertEqual(SeparatorArgParser(",", 1).parse_args("a,b,c"), ["a", "b,c"])
        self.assertEqual(ShlexArgParser().parse_args("'a b' c"), ["a b", "c"])

    def test_argparse_raises(self) -> None:
        """The parser ends nothing but its own work."""
        parser = ArgumentParser(prog="x")
        self.assertRaises(ArgumentParseError, parser.parse_args, ["y"])
        self.assertRaises(ArgumentParseError, parser.exit)
        self.assertRaises(HelpRequested, parser.parse_args, ["-h"])


class CommandTests(SynchronousTestCase):
    """Commands that are made at run time."""

    def test_types(self) -> None:
        """The function is named, described and decorated as is asked for."""

        def plain(plugin: Any, msg: Any, args: str) -> None: ...

        made = Command(plain, name="other", doc="Say so.")
        self.assertEqual((made.name, plain.__name__, plain.__doc__), ("other", "other", "Say so."))
        self.assertEqual(CommandDeclaration.of(made.definition), CommandDeclaration("other"))
        matched = Command(lambda plugin, msg, match: None, botmatch, ("^x$",), name="x").definition
        found = Command(lambda plugin, msg, match: None, re_botcmd, cmd_kwargs={"pattern": "y"}, name="y").definition
        self.assertEqual((matched._err_command_prefix_required, found._err_command_prefix_required), (False, True))

    def test_lambdas_need_a_name(self) -> None:
        """A lambda can't be named after itself."""
        self.assertRaises(ValueError, Command, lambda plugin, msg, args: None)
        self.assertTrue(Command(lambda plugin, msg, args: None, botcmd, name="x").definition._err_command)

    def test_more_arguments(self) -> None:
        """Arguments can be added to a command that has declared ones, and to no other."""
        command = Command(lambda plugin, msg, a, b: f"{a} {b}", arg_botcmd, ("a",), name="x")
        command.append_args(("--b",), {"type": int, "default": 5})
        self.assertEqual(answers(command.definition, "1 --b 2"), ["1 2"])
        self.assertIn("[--b B]", command.definition._err_command_syntax)
        plain = Command(lambda plugin, msg, args: None, name="y")
        self.assertRaises(ValueError, plain.append_args, ("a",), {})
