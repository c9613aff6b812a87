"""A trial test case with a bot in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins import BotPlugin
from errklein.testing._bot import TestBot
from errklein.testing._requests import Requests
from errklein.web import ClientResponse


class PluginTestCase(Requests[ClientResponse], SynchronousTestCase):
    """Has `self.bot`, a TestBot with the plugins that the class names; a failed assertion shows its routes and log."""

    plugins: Sequence[type[BotPlugin]] = ()
    """Plugins' classes."""

    plugin_dirs: Sequence[Path | str] = ()
    """Directories with .plug files."""

    config: Mapping[str, Any] = {}
    """Settings by name."""

    networks: Mapping[str, Mapping[str, Any]] | None = None
    """Several networks, each with its own settings; without it there is one, named "test"."""

    def setUp(self) -> None:
        """Start the bot."""
        super().setUp()
        self.bot = TestBot(self.plugins, plugin_dirs=self.plugin_dirs, config=self.config, networks=self.networks)
        self.failureException = _explained(self.bot)  # type: ignore[assignment]
        self.addCleanup(self.bot.stop)
        self.bot.start()

    def request(self, method: str, url: str, **request: Any) -> ClientResponse:
        """Send a request, and return the response; see `WebhookClient.request` for the arguments.

        The test fails if the handler waits, since no time passes; use the methods of `self.bot` for such handlers.
        `get`, `head`, `post`, `put`, `patch`, `delete` and `options` do the same for one HTTP method each.
        """
        return self._send_request(method, url, **request)

    @overload
    def patch(self, url: str, **request: Any) -> ClientResponse: ...

    @overload
    def patch(self, obj: object, attribute: str, value: object, /) -> MonkeyPatcher: ...

    def patch(self, *args: Any, **request: Any) -> Any:
        """Send a PATCH request; see `request`. With an object, an attribute and a value, replace the attribute, as in trial."""
        if len(args) > 1 or "attribute" in request:
            return SynchronousTestCase.patch(self, *args, **request)
        return Requests.patch(self, *args, **request)

    def command(self, text: str, frm: str | None = None) -> str:
        """The answer to a command of an admin, or of `frm`."""
        return self.bot.command(text) if frm is None else self.bot.command(text, frm)

    def _send_request(self, method: str, url: str, **request: Any) -> ClientResponse:
        response: ClientResponse = self.successResultOf(self.bot.request(method, url, **request))
        return response


def _explained(bot: TestBot) -> type[AssertionError]:
    class FailedAssertion(AssertionError):
        """An assertion failed; what the bot had to say about it then follows."""

        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            # Who asks for the text may do it when the bot has stopped, and has no routes any more.
            self._report = bot.report()

        def __str__(self) -> str:
            return f"{super().__str__()}\n{self._report}"

    return FailedAssertion
