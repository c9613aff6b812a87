"""A test case for trial with a bot in memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, overload

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins import BotPlugin
from errklein.testing._bot import TestBot, is_own
from errklein.testing._client import UNSET, Requests
from errklein.testing._surroundings import StubHTTP, UnexpectedRequest
from errklein.web import ClientResponse


class PluginTestCase(Requests[ClientResponse], SynchronousTestCase):
    """A test case for plugins: sends webhooks and commands to a bot in memory, and returns its responses and replies. For example::

        class BuildsTests(PluginTestCase):
            plugins = (Builds,)

            def test_webhook(self):
                response = self.post("/builds/7", {"status": "ok"})
                self.assertEqual(response.text, "noted")
                self.assertEqual(self.bot.sent_to("#builds"), ["build 7: ok"])

            def test_command(self):
                self.assertEqual(self.command("!builds"), "1 build")

            def test_waiting(self):
                waiting = self.bot.post("/slow")
                self.bot.advance(5)
                self.assertEqual(self.successResultOf(waiting).text, "done")

    Run it with `trial`, by file or by package. Each test has a bot of its own, a `TestBot`, as `self.bot`. It starts before the
    test and stops after it, which fails the test if the plugin leaves a timer, an asyncio task or a thread behind. A request
    fails the test if its handler waits, since no time passes; use the methods of `self.bot` for such handlers. A handler that
    raises logs a failure, which fails the test too unless it calls `self.flushLoggedErrors(ValueError)`."""

    plugins: Sequence[type[BotPlugin]] = ()
    """Classes of plugins."""

    plugin_dirs: Sequence[Path | str] = ()
    """Directories with `.plug` files, as absolute paths."""

    config: Mapping[str, Any] = {}
    """Settings by name, as in config.py."""

    secrets: Mapping[str, str] = {}
    """Secrets by the variable of the environment that names them: with `{"GH_SECRET": "x"}`, `env:GH_SECRET` is "x"."""

    networks: Mapping[str, Mapping[str, Any]] | None = None
    """Several networks: a mapping of names to settings, as in NETWORKS. By default there is one, named "test"."""

    bot: TestBot
    """The bot of the test."""

    def setUp(self) -> None:
        """Start the bot. A subclass that overrides this calls `super().setUp()` first."""
        super().setUp()
        # For `trial --until-failure`, which runs a test of the same instance again.
        self.addCleanup(self.__dict__.pop, "http", None)
        self.bot = TestBot(
            self.plugins, plugin_dirs=self.plugin_dirs, config=self.config, networks=self.networks, http=self.http
        )
        self.bot.secrets = self.secrets
        self.failureException = _explained(self.bot)  # type: ignore[assignment]
        self.addCleanup(self.bot.stop)
        # `stop` raises it, so it needs no second report.
        self.addCleanup(self.flushLoggedErrors, UnexpectedRequest)
        self.bot.start()

    @cached_property
    def http(self) -> StubHTTP:
        """The network of `self.http` in plugins, see `StubHTTP`. What `activate` needs is declared before `super().setUp()`."""
        return StubHTTP()

    @overload
    def patch(self, url: str, body: object = UNSET, **request: Any) -> ClientResponse: ...

    @overload
    def patch(self, obj: object, attribute: str, value: object, /) -> MonkeyPatcher: ...

    def patch(self, *args: Any, **request: Any) -> Any:
        """Send a PATCH request; see `request`. With an object, the name of an attribute and a value, replace the
        attribute until the test ends, as `SynchronousTestCase.patch` does."""
        if len(args) > 2 or "attribute" in request or "value" in request:
            return SynchronousTestCase.patch(self, *args, **request)
        return Requests.patch(self, *args, **request)

    def command(self, text: str, frm: str | None = None) -> str:
        """Send a command to the bot, by default as an administrator, and return the reply; see `TestBot.command`."""
        return self.bot.command(text) if frm is None else self.bot.command(text, frm)

    def _send_request(self, method: str, url: str, body: object = UNSET, **request: Any) -> ClientResponse:
        sent = self.bot._send_request(method, url, body, **request)
        if not sent.called:
            name = method.lower()
            call = f"self.bot.{name}(…)" if hasattr(Requests, name) else f'self.bot.request("{method}", …)'
            remedy = f"use `waiting = {call}`, `self.bot.advance(…)` and `self.successResultOf(waiting)`"
            self.fail(f"{method} {url}: {self.bot.waiting()[-1]} waits; {remedy}")
        response: ClientResponse = self.successResultOf(sent)
        return response


class FailedAssertion(AssertionError):
    """An assertion of a `PluginTestCase` failed. The text begins with the line of the test and the difference, such as
    "test_builds.py:17: 404 != 200". Then follow the last error, the deliveries that wait, the webhooks and the log."""

    # Reports begin with the full name.
    __module__ = "errklein.testing"
    _bot: TestBot

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        # The text may be read after the bot has stopped, when it has no webhooks.
        self._line, self._explanation, self._report = _calling_line(), self._bot.explanation(), self._bot.report()

    def __str__(self) -> str:
        difference = ": ".join(filter(None, (self._line, super().__str__().rstrip("\n"))))
        return "\n".join(part for part in (difference, self._explanation, self._report) if part)


def _explained(bot: TestBot) -> type[AssertionError]:
    return type("FailedAssertion", (FailedAssertion,), {"_bot": bot, "__module__": FailedAssertion.__module__})


def _calling_line() -> str:
    """Return the file and the line of the test or plugin that has called into a library, as "test_builds.py:17"; "" if none has."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
