"""Tests for the declarations that decorators store."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import CommandDeclaration, arg_botcmd, botcmd, botmatch, cmdfilter, re_botcmd
from errklein.running import Placement, place


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
            botcmd(aliases="deploy")(lambda self, msg, args: None)
        self.assertIn("('deploy',)", str(raised.exception))

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
            self.assertIs(place(decorate(method)), Placement.REACTOR)
