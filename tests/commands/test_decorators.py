"""Tests for what decorators write on methods."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import CommandDeclaration, arg_botcmd, botcmd, botmatch, cmdfilter, re_botcmd
from errklein.running import Placement, place

COMMON = {
    "_err_command": True,
    "_err_command_admin_only": False,
    "_err_command_flow_only": False,
    "_err_command_hidden": False,
    "_err_command_historize": True,
    "_err_command_split_args_with": "",
    "_err_command_template": None,
}


def marks(function: Any) -> dict[str, Any]:
    """The attributes that a decorator has left."""
    return {name: value for name, value in vars(function).items() if name.startswith("_err")}


class BotcmdTests(SynchronousTestCase):
    """Commands with a name."""

    def test_attributes(self) -> None:
        """All attributes that plugins and their tests read are there, bare or called."""

        @botcmd
        def hello(self: Any, msg: Any, args: str) -> None: ...

        expected = COMMON | {
            "_err_arg_command": False,
            "_err_re_command": False,
            "_err_command_name": "hello",
            "_err_command_syntax": None,
        }
        self.assertEqual(marks(hello), expected)
        self.assertEqual(marks(botcmd(flow_only=True)(hello))["_err_command_hidden"], True)
        self.assertEqual(marks(botcmd(flow_only=True, hidden=False)(hello))["_err_command_hidden"], False)

    def test_declaration(self) -> None:
        """What was declared is read back; names have underscores where they had spaces."""

        @botcmd(name="bye now", split_args_with=None, admin_only=True, hidden=True, aliases=("see you", "x"))
        def leave(self: Any, msg: Any, args: list[str]) -> None: ...

        expected = CommandDeclaration(
            "bye_now", split_args_with=None, admin_only=True, hidden=True, aliases=("see_you", "x")
        )
        self.assertEqual(CommandDeclaration.of(leave), expected)
        self.assertIsNone(CommandDeclaration.of(str.upper))

    def test_aliases_are_several(self) -> None:
        """One string of aliases would be taken letter by letter, so it is refused when the class is defined."""
        with self.assertRaises(TypeError) as raised:
            botcmd(aliases="deploy")(lambda self, msg, args: None)
        self.assertIn("('deploy',)", str(raised.exception))

    def test_splitting(self) -> None:
        """Arguments are split by separator, white space, callable or parser, or not at all."""

        class Parser:
            def parse_args(self, args: str) -> object:
                return {"parsed": args}

        def split(by: object, args: str) -> object:
            return CommandDeclaration("x", split_args_with=by).split(args)

        self.assertEqual(split("", " a b"), " a b")
        self.assertEqual(split(None, "a  b"), ["a", "b"])
        self.assertEqual(split(None, ""), [])
        self.assertEqual(split(" ", ""), [""])
        self.assertEqual(split(len, "abc"), 3)
        self.assertEqual(split(Parser(), "abc"), {"parsed": "abc"})

    def test_threaded(self) -> None:
        """Every decorator can say where the method runs."""

        def method(self: Any, *args: Any) -> None: ...

        for decorate in (
            botcmd(threaded=False),
            re_botcmd(pattern="x", threaded=False),
            botmatch("x", threaded=False),
            cmdfilter(threaded=False),
            arg_botcmd("x", threaded=False),
        ):
            self.assertIs(place(decorate(method)), Placement.REACTOR)


class PatternTests(SynchronousTestCase):
    """Commands that are found by a pattern."""

    def test_attributes(self) -> None:
        """The attributes of such commands are there too."""

        @re_botcmd(pattern=r"^say (\w+)$", flags=re.IGNORECASE, re_cmd_name_help="say WHAT")
        def say(self: Any, msg: Any, match: Any) -> None: ...

        expected = COMMON | {
            "_err_arg_command": False,
            "_err_re_command": True,
            "_err_command_name": "say",
            "_err_command_syntax": r"^say (\w+)$",
            "_err_command_re_pattern": re.compile(r"^say (\w+)$", re.IGNORECASE),
            "_err_command_matchall": False,
            "_err_command_prefix_required": True,
            "_err_command_re_name_help": "say WHAT",
        }
        self.assertEqual(marks(say), expected)

    def test_pattern_is_needed(self) -> None:
        """Without a pattern the class can't be defined."""
        for make in (
            lambda: re_botcmd(lambda self, msg, match: None),
            lambda: re_botcmd(),
            lambda: botmatch(),
            lambda: botmatch(lambda self, msg, match: None),
        ):
            self.assertRaises(ValueError, make)

    def test_botmatch_forms(self) -> None:
        """A pattern alone gives a decorator; with a function it decorates at once; neither needs a prefix."""

        def duck(self: Any, msg: Any, matches: Any) -> None: ...

        for decorated in (botmatch(r"duck\w*", matchall=True)(duck), botmatch(duck, r"duck\w*", matchall=True)):
            declaration = CommandDeclaration.of(decorated)
            assert declaration is not None
            self.assertFalse(declaration.prefixed)
            self.assertEqual([match.group() for match in declaration.match("a duck, two ducks")], ["duck", "ducks"])
            self.assertIsNone(declaration.match("a goose"))


class FilterTests(SynchronousTestCase):
    """Filters."""

    def test_attributes(self) -> None:
        """A filter says that it is one, and whether it wants what is no command."""

        @cmdfilter
        def plain(self: Any, *args: Any) -> None: ...

        @cmdfilter(catch_unprocessed=True)
        def catching(self: Any, *args: Any) -> None: ...

        self.assertEqual(vars(plain), {"_err_command_filter": True, "catch_unprocessed": False})
        self.assertTrue(catching.catch_unprocessed)
