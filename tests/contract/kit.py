"""A bot for tests of the contract: plugins are texts, what it says are texts."""

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
"""Who says something, unless a test says otherwise."""

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
"""A plugin whose replies show that the bot has done what it was told."""


def decided(difference: str) -> Callable[[F], F]:
    """Mark a test of what errklein does differently on purpose: `difference` says what errbot does instead.

    On errbot the test has to fail, so that the mark goes when errbot changes.
    """
    if not difference:
        raise ValueError("say what errbot does instead")

    def mark(test: F) -> F:
        return test if IS_ERRKLEIN else unittest.expectedFailure(test)

    return mark


if IS_ERRKLEIN:
    from twisted.trial.unittest import SynchronousTestCase as TestCase
else:
    from unittest import TestCase


class ContractTest(TestCase):
    """A test with a bot of its own, running the plugin whose module is the text `plugin`.

    `plug` adds to the plugin's .plug file; `files` are more files beside it, by their names; `config` are settings.
    The plugin is named Tried; its module sees the names of `from errbot import *` only if it imports them.
    """

    plugin: ClassVar[str] = ""
    plug: ClassVar[str] = ""
    files: ClassVar[Mapping[str, str]] = {}
    config: ClassVar[Mapping[str, Any]] = {}

    def setUp(self) -> None:
        """Write the plugin's files and start the bot."""
        if IS_ERRKLEIN:
            # What plugins raise is logged, and trial takes that for errors of the test.
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
        """Start the bot, with these settings besides those of the class."""
        from errbot.backends.test import TestBot

        # With one thread, replies come in the order of what was said.
        settings = {"BOT_ASYNC_POOLSIZE": 1, **self.config, **config}
        self.testbot = TestBot(extra_plugin_dir=self.places, loglevel=logging.ERROR, extra_config=settings)
        self.testbot.start()
        self.addCleanup(self.testbot.stop)

    @property
    def places(self) -> str | list[str]:
        """Where plugins are found."""
        return str(self.directory)

    def write(self, name: str, text: str) -> Path:
        """A file beside the plugin; the text may be indented."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def forget_modules(self) -> None:
        """Take what was imported from the test's directory away from later tests."""
        here = str(self.directory)
        sys.path[:] = [entry for entry in sys.path if not entry.startswith(here)]
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(here):
                del sys.modules[name]

    # Talking

    def say(self, text: str) -> None:
        """Say it to the bot."""
        self.testbot.push_message(text)

    def hear(self, timeout: float = 5) -> str:
        """What the bot says next."""
        said: str = self.testbot.pop_message(timeout=timeout)
        return said

    def ask(self, text: str) -> str:
        """What the bot says to that."""
        self.say(text)
        return self.hear()

    def replies(self, text: str) -> list[str]:
        """All that the bot says to that."""
        self.say(text)
        return self.until_quiet()

    def until_quiet(self) -> list[str]:
        """What the bot says until it has done all commands that it was given."""
        self.say("!kit done")
        # Administrators' commands have a queue of their own.
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
        """The bot has nothing to say to that."""
        self.assertEqual(self.replies(text), [])

    def instance(self, name: str = "Tried") -> Any:
        """The plugin's instance."""
        return self.bot.plugin_manager.get_plugin_obj_by_name(name)

    @property
    def bot(self) -> Any:
        """What plugins see as self._bot."""
        return self.testbot.bot

    @property
    def data(self) -> Path:
        """The bot's BOT_DATA_DIR."""
        return Path(self.testbot.bot_config.BOT_DATA_DIR)

    def drain(self) -> list[str]:
        """What the bot has said and nobody has heard."""
        said = []
        while True:
            try:
                said.append(self.testbot.pop_message(block=False))
            except queue.Empty:
                return said
