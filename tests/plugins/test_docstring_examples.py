"""The examples in the docstrings that plugin authors read."""

from __future__ import annotations

import ast
import doctest
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotFlow, BotPlugin, ValidationException, on_reactor, recurse_check_structure
from errklein.commands import FlowRoot
from errklein.plugins.botplugin import build_flows
from errklein.plugins.store_mixin import StoreMixin
from errklein.testing import PluginTestCase


def examples(documented: Any) -> list[str]:
    """The literal blocks in the docstring of a function, class or property."""
    blocks: list[list[str]] = []
    lines = iter((inspect.getdoc(documented) or "").splitlines())
    for line in lines:
        if line.endswith("::"):
            block: list[str] = []
            for following in lines:
                if following and not following.startswith(" "):
                    break
                block.append(following)
            blocks.append(block)
    return [textwrap.dedent("\n".join(block)).strip() + "\n" for block in blocks]


def defined(source: str) -> dict[str, Any]:
    """The names that the source defines when it runs."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(source, names)
    return names


Builds: type[BotPlugin] = defined(examples(BotPlugin)[0])["Builds"]
Counter: type[BotPlugin] = defined(examples(on_reactor)[0])["Counter"]
Polls: type[BotFlow] = defined(examples(BotFlow)[0])["Polls"]


class PluginExampleTests(PluginTestCase):
    """The plugins in the docstrings of BotPlugin and on_reactor, in a bot."""

    plugins = (Builds, Counter)

    def test_botplugin(self) -> None:
        """The webhook stores the build, and the command shows it."""
        self.assertEqual(self.command("!last"), "There was no build yet.")
        response = self.post("/builds/api", json={"status": "passed"})
        self.assertEqual(response.status, 200)
        self.assertEqual(self.command("!last"), "api: passed")

    def test_on_reactor(self) -> None:
        """The callback counts messages."""
        self.command("!last")
        self.assertEqual(self.bot.plugin("Counter").counted, 1)


class ExampleTests(SynchronousTestCase):
    """The other examples."""

    def test_botflow(self) -> None:
        """The flow is built, and begins with the command of its first step."""
        bot: Any = None
        (poll,) = build_flows(Polls(bot))
        self.assertIsInstance(poll, FlowRoot)
        self.assertEqual((poll.name, poll.auto_triggers), ("poll", {"poll_new"}))

    def test_recurse_check_structure(self) -> None:
        """The example raises the exception that it shows."""
        names = {"recurse_check_structure": recurse_check_structure}
        test = doctest.DocTestParser().get_doctest(examples(recurse_check_structure)[0], names, "example", None, None)
        results = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(test)
        self.assertEqual((results.attempted, results.failed), (1, 0))

    def test_syntax(self) -> None:
        """All examples are valid in a class or a method."""
        found = [(name, example) for name, documented in documented_names() for example in examples(documented)]
        self.assertGreater(len(found), 5)
        for name, example in found:
            is_class_body = example.startswith(("def ", "async def ", "@", "class ", "from ", ">>>"))
            head = "class Example:\n" if is_class_body else "async def example(self, msg, args):\n"
            if not example.startswith(">>>"):
                compile(head + textwrap.indent(example, "    "), name, "exec", ast.PyCF_ONLY_AST)


def documented_names() -> Iterator[tuple[str, Any]]:
    """The classes and functions, and the methods of the classes."""
    for documented in (BotPlugin, BotFlow, StoreMixin, ValidationException, on_reactor, recurse_check_structure):
        yield documented.__name__, documented
        if isinstance(documented, type):
            yield from ((f"{documented.__name__}.{name}", value) for name, value in vars(documented).items())
