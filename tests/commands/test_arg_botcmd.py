"""Tests for `@arg_botcmd`."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import (
    ArgumentParseError,
    ArgumentParser,
    Command,
    HelpRequested,
    arg_botcmd,
)
from errklein.running import Placement, placement_of


def answers(command: Any, text: str | None) -> list[Any]:
    """Return the replies of the command to these arguments."""
    return [answer for answer in command(None, None, text) if answer]


class ArgBotcmdTests(SynchronousTestCase):
    """Parsing of arguments, and the replies to invalid ones."""

    def test_version(self) -> None:
        """`--version` replies with the version, as `--help` replies with the help."""

        @arg_botcmd("--version", action="version", version="1.2")
        def versioned(self: Any, msg: Any) -> str:
            return "not called"

        self.assertEqual(answers(versioned, "--version"), ["1.2\n"])

    def test_async(self) -> None:
        """Coroutine functions and async generators stay async, and invalid arguments get the usual replies."""

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
        """A command runs in a thread or on the reactor as its method would."""

        @inlineCallbacks
        def inline(self: Any, msg: Any, x: str) -> Any:
            yield Deferred()

        async def coroutine(self: Any, msg: Any, x: str) -> None: ...

        def blocking(self: Any, msg: Any, x: str) -> None: ...

        places = [placement_of(arg_botcmd("x")(method)) for method in (inline, coroutine, blocking)]
        self.assertEqual(places, [Placement.REACTOR, Placement.REACTOR, Placement.THREAD])

    @given(st.lists(st.text(alphabet=st.characters(exclude_characters="—“”‘’", exclude_categories=["Cs"]))))
    def test_any_words_in_quotes(self, words: list[str]) -> None:
        """Words that are quoted as in a shell reach the method unchanged."""

        @arg_botcmd("words", nargs="*")
        def echo(self: Any, msg: Any, words: list[str]) -> list[list[str]]:
            return [words]

        self.assertEqual(answers(echo, "-- " + shlex.join(words)), [[words]])


class ParserTests(SynchronousTestCase):
    """The parser classes."""

    def test_argparse_raises(self) -> None:
        """The parser raises exceptions; it neither prints nor exits."""
        parser = ArgumentParser(prog="x")
        self.assertRaises(ArgumentParseError, parser.parse_args, ["y"])
        self.assertRaises(ArgumentParseError, parser.exit)
        self.assertRaises(HelpRequested, parser.parse_args, ["-h"])


class CommandTests(SynchronousTestCase):
    """Commands created at run time."""

    def test_more_arguments(self) -> None:
        """Arguments can't be added to a command without an argument parser."""
        plain = Command(lambda plugin, msg, args: None, name="y")
        self.assertRaises(ValueError, plain.append_args, ("a",), {})
