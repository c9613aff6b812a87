"""The base class of the contract's tests: a bot whose plugins are written as texts in the test."""

from __future__ import annotations

import logging
import queue
import shutil
import sys
import tempfile
import textwrap
import unittest
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from tests.contract import IS_ERRKLEIN

F = TypeVar("F", bound=Callable[..., Any])

ADMIN = "gbin@localhost"
"""The sender of messages, unless a test sets another one."""

LONGEST = 60.0 if IS_ERRKLEIN else 5.0
"""The seconds after which a wait fails. On errbot, some waits must fail, since it does something else."""

KIT = """
    from errbot import BotPlugin, botcmd

    class Kit(BotPlugin):
        @botcmd(hidden=True)
        def kit_done(self, msg, args):
            return "done"

        @botcmd(hidden=True, admin_only=True)
        def kit_done_too(self, msg, args):
            return "done too"
    """
"""A plugin whose replies show that the bot has handled all earlier messages."""


def decided(difference: str) -> Callable[[F], F]:
    """Mark a test of a deliberate difference. `difference` describes errbot's behaviour.

    On errbot the test must fail, so that the mark is removed when errbot changes.
    """
    if not difference:
        raise ValueError("describe what errbot does instead")

    def mark(test: F) -> F:
        return test if IS_ERRKLEIN else unittest.expectedFailure(test)

    return mark


if IS_ERRKLEIN:
    from twisted.trial.unittest import SynchronousTestCase as TestCase
else:
    from unittest import TestCase


class ContractTest(TestCase):
    """A test with its own bot, which runs the plugin whose module is the text `plugin`.

    `plug` is appended to the plugin's `.plug` file, `files` are further files by name, and `config` are settings. The
    plugin is named Tried. Its module must import the names that it uses.
    """

    plugin: ClassVar[str] = ""
    plug: ClassVar[str] = ""
    files: ClassVar[Mapping[str, str]] = {}
    config: ClassVar[Mapping[str, Any]] = {}

    def setUp(self) -> None:
        """Write the plugin's files and start the bot."""
        if IS_ERRKLEIN:
            # Exceptions in plugins are logged, and trial would count them as errors of the test.
            self.addCleanup(self.flushLoggedErrors)
        self.directory = Path(tempfile.mkdtemp(prefix="contract-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.addCleanup(self.forget_modules)
        if self.plugin:
            self.write("tried.plug", f"[Core]\nName = Tried\nModule = tried\n{textwrap.dedent(self.plug)}")
            self.write("tried.py", self.plugin)
        self.write("kit/kit.plug", "[Core]\nName = Kit\nModule = kit\n")
        self.write("kit/kit.py", KIT)
        for name, text in self.files.items():
            self.write(name, text)
        self.start()

    def start(self, **config: Any) -> None:
        """Start the bot with these settings in addition to those of the class."""
        from errbot.backends.test import TestBot

        # With one thread, replies arrive in the order of the messages.
        settings = {"BOT_ASYNC_POOLSIZE": 1, **self.config, **config}
        self.testbot = TestBot(extra_plugin_dir=self.places, loglevel=logging.ERROR, extra_config=settings)
        self.testbot.start()
        self.addCleanup(self.testbot.stop)

    @property
    def places(self) -> str | list[str]:
        """The directories with plugins."""
        return str(self.directory)

    def write(self, name: str, text: str) -> Path:
        """Write a file beside the plugin and return its path; the text may be indented."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def forget_modules(self) -> None:
        """Unload the modules from the test's directory, so that later tests don't see them."""
        here = str(self.directory)
        sys.path[:] = [entry for entry in sys.path if not entry.startswith(here)]
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__dict__", {}).get("__file__")).startswith(here):
                del sys.modules[name]

    # Messages

    def say(self, text: str) -> None:
        """Send the text to the bot."""
        self.testbot.push_message(text)

    def hear(self, timeout: float = LONGEST) -> str:
        """Return the bot's next message."""
        said: str = self.testbot.pop_message(timeout=timeout)
        return said

    def ask(self, text: str) -> str:
        """Send the text and return the bot's next message."""
        self.say(text)
        return self.hear()

    def replies(self, text: str) -> list[str]:
        """Send the text and return all messages of the bot until it has handled it."""
        self.say(text)
        return self.until_quiet()

    def until_quiet(self) -> list[str]:
        """Return the bot's messages until it has handled all commands."""
        self.say("!kit done")
        # Commands for administrators have a separate queue.
        self.say("!kit done too")
        awaited = ["done", "done too"]
        said = []
        while awaited:
            reply = self.hear()
            if reply in awaited:
                awaited.remove(reply)
            else:
                said.append(reply)
        return said

    def assert_silent(self, text: str) -> None:
        """Check that the bot doesn't reply to the text."""
        self.assertEqual(self.replies(text), [])

    def instance(self, name: str = "Tried") -> Any:
        """Return the instance of a plugin."""
        return self.bot.plugin_manager.get_plugin_obj_by_name(name)

    @property
    def bot(self) -> Any:
        """The object that plugins see as `self._bot`."""
        return self.testbot.bot

    @property
    def data(self) -> Path:
        """The bot's BOT_DATA_DIR."""
        return Path(self.testbot.bot_config.BOT_DATA_DIR)

    def drain(self) -> list[str]:
        """Return the bot's messages that no test method has read yet."""
        said = []
        while True:
            try:
                said.append(self.testbot.pop_message(block=False))
            except queue.Empty:
                return said
