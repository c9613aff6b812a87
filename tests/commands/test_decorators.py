"""Tests for the declarations that decorators store."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import CommandDeclaration, arg_botcmd, botcmd, botflow, botmatch, cmdfilter, re_botcmd
from errklein.running import Placement, placement_of


class Greeter:
    """A class with a method to decorate."""

    def hello(self, msg: Any, args: str) -> None:
        """Do nothing."""


Greeter.hello.__qualname__ = "Greeter.hello"


class BotcmdTests(SynchronousTestCase):
    """Declarations of commands."""

    def test_declaration(self) -> None:
        """The declaration has the decorator's options; names have underscores in place of spaces."""

        @botcmd(name="bye now", split_args_with=None, admin_only=True, hidden=True, aliases=("see you", "x"))
        def leave(self: Any, msg: Any, args: list[str]) -> None: ...

        expected = CommandDeclaration(
            "bye_now", split_args_with=None, admin_only=True, hidden=True, aliases=("see_you", "x")
        )
        self.assertEqual(CommandDeclaration.of(leave), expected)
        self.assertIsNone(CommandDeclaration.of(str.upper))

    def test_aliases_are_several(self) -> None:
        """A string as `aliases` would be read letter by letter, so the decorator raises TypeError."""
        with self.assertRaises(TypeError) as raised:
            botcmd(aliases="deploy")(Greeter.hello)
        said = "Greeter.hello: aliases must be several, not a text; write aliases=('deploy',)"
        self.assertEqual(str(raised.exception), said)

    def test_options_without_names(self) -> None:
        """The error about an argument without a name has a valid call."""
        for decorate, given, said in (
            (botcmd, "hello", "@botcmd: unexpected argument 'hello'; options have names; write @botcmd(name='add up')"),
            (
                re_botcmd,
                "^x",
                "@re_botcmd: unexpected argument '^x'; options have names; write @re_botcmd(pattern=r'…')",
            ),
            (
                cmdfilter,
                "x",
                "@cmdfilter: unexpected argument 'x'; options have names; write @cmdfilter(catch_unprocessed=True)",
            ),
            (botflow, "x", "@botflow: unexpected argument 'x'; options have names; write @botflow"),
        ):
            for arguments in ((given,), (Greeter.hello, given)):
                with self.assertRaises(TypeError) as raised:
                    decorate(*arguments)
                self.assertEqual(str(raised.exception), said)

    def test_arguments_that_argparse_refuses(self) -> None:
        """The error of argparse has the call and the method."""
        for decorate, kind, said in (
            (
                arg_botcmd(5, type=int),
                TypeError,
                r"@arg_botcmd\(5, type=<class 'int'>\) on Greeter.hello: the name of an argument must be a text",
            ),
            (
                arg_botcmd("x", tpye=int),
                TypeError,
                r"@arg_botcmd\('x', tpye=<class 'int'>\) on Greeter.hello: .*'tpye'",
            ),
            (arg_botcmd("x", "y"), ValueError, r"@arg_botcmd\('x', 'y'\) on Greeter.hello: invalid option string 'x'"),
        ):
            with self.assertRaises(kind) as raised:
                decorate(Greeter.hello)
            self.assertRegex(str(raised.exception), said)

    def test_missing_pattern(self) -> None:
        """A pattern is required."""
        with self.assertRaises(ValueError) as raised:
            re_botcmd(Greeter.hello)
        said = "@re_botcmd on Greeter.hello: the pattern is missing; write @re_botcmd(pattern=r'…')"
        self.assertEqual(str(raised.exception), said)

    def test_other_types(self) -> None:
        """What errbot takes as true or false is no error, and patterns may be compiled."""
        for decorate in (
            botcmd(admin_only=1, hidden=None, historize=0, name=None, template=None, split_args_with=str.split),  # type: ignore[call-overload]
            botcmd(aliases=["x"], split_args_with=","),
            re_botcmd(pattern=re.compile("x"), flags=0, re_cmd_name_help="x"),
            botmatch(re.compile("x"), matchall=True),
        ):
            self.assertTrue(CommandDeclaration.of(decorate(Greeter().hello.__func__)))

    def test_unknown_options_are_named(self) -> None:
        """An unknown option raises TypeError with the names of the decorator and the option."""
        for name, decorate in (
            ("botcmd", lambda: botcmd(unknown=1)),  # type: ignore[call-overload]
            ("botcmd", lambda: botcmd(others={})),  # type: ignore[call-overload]
            ("re_botcmd", lambda: re_botcmd(pattern="x", unknown=1)),  # type: ignore[call-arg]
            ("re_botcmd", lambda: re_botcmd(pattern="x", syntax="X")),  # type: ignore[call-arg]
            ("botmatch", lambda: botmatch("x", unknown=1)),
            ("botmatch", lambda: botmatch("x", prefixed=True)),
        ):
            with self.assertRaises(TypeError) as raised:
                decorate()
            self.assertRegex(str(raised.exception), rf"^{name}\(\) got an unexpected keyword argument '\w+'$")

    def test_threaded(self) -> None:
        """Every decorator takes `threaded`."""

        def method(self: Any, *args: Any) -> None: ...

        for decorate in (
            botcmd(threaded=False),
            re_botcmd(pattern="x", threaded=False),
            botmatch("x", threaded=False),
            cmdfilter(threaded=False),
            arg_botcmd("x", threaded=False),
        ):
            self.assertIs(placement_of(decorate(method)), Placement.REACTOR)
