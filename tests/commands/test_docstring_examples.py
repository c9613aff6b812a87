"""The examples in the docstrings of decorators, Command, CommandError and flows run as written."""

from __future__ import annotations

import inspect
from textwrap import dedent
from typing import Any

from errklein import (
    FLOW_END,
    BotFlow,
    BotPlugin,
    Command,
    CommandError,
    Flow,
    FlowRoot,
    arg_botcmd,
    botcmd,
    botflow,
    botmatch,
    cmdfilter,
    re_botcmd,
)
from errklein.commands import ArgParserBase
from errklein.config import Config
from errklein.testing import TestBot
from tests.plugin_files import PluginFilesTestCase


def source(subject: Any) -> str:
    """Return the first literal block in the docstring of `subject`, after imports."""
    block = ["    from errklein import *", "    from errklein.commands import ArgParserBase"]
    for line in (inspect.getdoc(subject) or "").partition("::\n")[2].splitlines():
        if line and not line.startswith(" "):
            break
        block.append(line)
    return dedent("\n".join(block))


def build(subject: Any, name: str) -> FlowRoot:
    """Run the example, and return the flow that the method of that name in its class builds."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(source(subject), names)
    (flows,) = (one for one in names.values() if isinstance(one, type) and one.__bases__ in ((BotFlow,), (BotPlugin,)))
    root = FlowRoot(name, None)
    getattr(flows, name)(None, root)
    return root


class ExampleTests(PluginFilesTestCase):
    """Examples in docstrings."""

    def talk(self, subject: Any, *lines: tuple[str, str]) -> None:
        """Send each message to a bot with the example as its plugin, and compare the reply."""
        self.plugin(getattr(subject, "__name__", "Example"), source(subject))
        bot = TestBot(plugin_dirs=[self.directory])
        bot.start()
        self.addCleanup(bot.stop)
        for message, reply in lines:
            self.assertIn(reply, "\n".join(bot.say(message)), message)
        bot.stop()

    def test_config(self) -> None:
        """A plugin reads the bot's settings, and its own with a default."""
        self.talk(Config, ("!site", "See https://example.org/, or send !help."))

    def test_botcmd(self) -> None:
        """Both commands reply, the second one by its alias too."""
        self.talk(botcmd, ("!hello", "Hello, "), ("!add up 1 2 3", "6"), ("!plus 4 5", "9"), ("!add_up 1", "1"))

    def test_arg_botcmd(self) -> None:
        """The positional arguments come in the documented order, and errors show the usage."""
        self.talk(
            arg_botcmd,
            ("!deploy main 3 --dry-run", "main on 3 servers (dry run)"),
            ("!deploy main many", "invalid int value"),
            ("!help deploy", "branch to deploy"),
        )

    def test_patterns(self) -> None:
        """The patterns are found with and without a prefix."""
        self.talk(re_botcmd, ("!close #12", "Ticket 12: close"), ("!help re_botcmd", "close|reopen #NUMBER"))
        self.talk(botmatch, ("see ticket 7, please", "https://tickets.example/7"))

    def test_cmdfilter(self) -> None:
        """The filter blocks the command and sends its own message."""
        self.talk(cmdfilter, ("!deploy", "Deployments are frozen."))

    def test_command(self) -> None:
        """The command exists as soon as it is created."""
        self.talk(Command, ("!count sheep", "Try !sheep."), ("!sheep white", "white: 1"), ("!sheep", "total: 2"))

    def test_command_error(self) -> None:
        """The text of the error is the reply."""
        self.talk(CommandError, ("!close x", "Usage: !close NUMBER"), ("!close 1", "Ticket 1 closed."))

    def test_parser(self) -> None:
        """The parser's result or error reaches the sender."""
        self.talk(ArgParserBase, ("!set colour=red", "colour is red."), ("!set colour", "expected KEY=VALUE"))

    def test_flows(self) -> None:
        """The graph has the documented steps; a command outside of the flow has a context too."""
        root = build(FlowRoot, "release")
        flow = Flow(root, None, {"version": "1"})  # type: ignore[arg-type]
        self.assertEqual(root.auto_triggers, {"build"})
        (first,) = flow.next_steps()
        self.assertIs(first, root.first_step("build"))
        flow.advance(first, enforce_predicate=False)
        (tests,) = flow.next_autosteps()
        flow.advance(tests)
        self.assertEqual([str(step) for step in flow.next_steps()], ["publish"])
        self.assertEqual(flow.next_autosteps(), [])
        flow.ctx["failures"] = 1
        self.assertEqual(flow.next_autosteps(), [FLOW_END])
        self.assertEqual(build(botflow, "visit").auto_triggers, {"register"})
        self.talk(Flow, ("!build 1.2", "Built 1.2."))
