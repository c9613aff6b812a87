"""Tests for the notices about webhooks, without a bot."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._webhook_warnings import WebhookWarnings
from errklein.plugins.plugin import UnknownPlugin
from errklein.webhooks import Hook, HookDeclaration


def handler(payload: object) -> None:
    """Fail."""
    raise ValueError("two\nlines")


class WebhookWarningsTests(SynchronousTestCase):
    """The notices that administrators get."""

    def test_handler_of_an_application(self) -> None:
        """The failure of a handler that belongs to no plugin, such as a Flask application's, has its file and line too."""
        notices: list[tuple[str, str]] = []

        def unknown(name: str) -> None:
            raise UnknownPlugin(name)

        def notify(text: str, summary: str = "") -> None:
            notices.append((text, summary))

        warnings = WebhookWarnings(Clock(), notify, unknown)  # type: ignore[arg-type]
        hook = Hook("app", "handler", HookDeclaration("/x"), handler)
        try:
            handler("")
        except ValueError:
            warnings.handler_failed(hook, "r1", Failure())
        line = handler.__code__.co_firstlineno + 2
        text = f"The webhook app.handler (/x) failed on request r1. {__file__}, line {line}: ValueError: two lines"
        self.assertEqual(notices, [(text, "The webhook app.handler (/x) failed with ValueError on request r1")])
